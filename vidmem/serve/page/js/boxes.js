/** Where tracks are while a video plays: boxes of sampled frames from the API, and in between by interpolation. */
import { get } from "./api.js";

const PIECE_NS = 30_000_000_000;
const GAP_S = 2;
/** The most tracks that the API takes at once. */
const MOST_TRACKS = 2000;
const HALF_FRAME_S = 0.016;

/**
 * The box of one thing over time. Where several of its tracks are in a frame, it is the box of the track that the evidence
 * shows, or else the largest box, as in clips that are saved.
 */
export class TrackBoxes {
  /**
   * @param {number} source @param {number[]} tracks @param {() => void} arrived called when a piece has come
   * @param {{t: number, box: number[]} | null} [evidence]
   */
  constructor(source, tracks, arrived, evidence = null) {
    this.source = source;
    this.tracks = tracks;
    this.arrived = arrived;
    this.evidence = evidence;
    this.preferred = -1;
    /** @type {Map<number, import("./types.js").BoxFrame[] | null>} null while it is fetched */
    this.pieces = new Map();
    this.stop = new AbortController();
  }

  /** Fetch what is around a time, in seconds. */
  need(/** @type {number} */ t) {
    if (!this.tracks.length) return;
    const piece = Math.floor((t * 1e9) / PIECE_NS);
    this.#fetch(piece);
    if (t * 1e9 > (piece + 0.7) * PIECE_NS) this.#fetch(piece + 1);
  }

  async #fetch(/** @type {number} */ piece) {
    if (this.pieces.has(piece) || piece < 0) return;
    this.pieces.set(piece, null);
    try {
      const margin = GAP_S * 1e9;
      const answer = await get(`/sources/${this.source}/boxes`, { tracks: this.tracks.slice(0, MOST_TRACKS).join(","),
        start_ns: Math.max(0, piece * PIECE_NS - margin), end_ns: (piece + 1) * PIECE_NS + margin }, { signal: this.stop.signal });
      this.pieces.set(piece, answer.frames);
      this.#prefer(answer.frames);
      this.arrived();
    } catch {
      if (!this.stop.signal.aborted) setTimeout(() => this.pieces.delete(piece), 3000); // asked again later
    }
  }

  /** Find the track that the evidence shows. */
  #prefer(/** @type {import("./types.js").BoxFrame[]} */ frames) {
    const { evidence } = this;
    if (!evidence) return;
    const frame = frames.find((one) => Math.abs(one.t_s - evidence.t) < 0.01);
    const off = (/** @type {number[]} */ box) => Math.max(...box.map((v, i) => Math.abs(v - evidence.box[i])));
    const same = frame?.boxes.find((one) => off(one.box) < 2);
    if (same) this.preferred = same.track;
  }

  #best(/** @type {import("./types.js").BoxFrame} */ frame) {
    const area = (/** @type {{track: number, box: number[]}} */ { track, box }) =>
      track === this.preferred ? Infinity : (box[2] - box[0]) * (box[3] - box[1]);
    return frame.boxes.reduce((a, b) => (area(b) > area(a) ? b : a)).box;
  }

  /**
   * The box at a time, between the sampled frames before and after it; null where the thing is out of view.
   * @param {number} t seconds @returns {number[] | null}
   */
  at(t) {
    const frames = this.pieces.get(Math.floor((t * 1e9) / PIECE_NS));
    if (!frames?.length) return null;
    const after = lowerBound(frames, t - HALF_FRAME_S);
    if (after < frames.length && Math.abs(frames[after].t_s - t) <= HALF_FRAME_S) return this.#best(frames[after]);
    if (after === 0 || after === frames.length) return null;
    const [a, b] = [frames[after - 1], frames[after]];
    if (b.t_s - a.t_s > GAP_S) return null;
    const share = (t - a.t_s) / (b.t_s - a.t_s);
    const to = this.#best(b);
    return this.#best(a).map((v, i) => v + share * (to[i] - v));
  }

  close() {
    this.stop.abort();
  }
}

/** The first frame at or after t, or their number. */
function lowerBound(/** @type {{t_s: number}[]} */ frames, /** @type {number} */ t) {
  let [low, high] = [0, frames.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle].t_s < t - 1e-6) low = middle + 1;
    else high = middle;
  }
  return low;
}
