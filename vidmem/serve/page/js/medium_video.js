/**
 * A video that the browser plays. A medium is what the player drives: `node`, `time()`, `paused()`, `play()`, `pause()`,
 * `seek(s)`, `step(±1)`, `close()`, and events: "frame" (a picture is on show), "state" (plays or not), "broken".
 */
import { videoUrl } from "./api.js";
import { el } from "./dom.js";

const FRAME_S = 1 / 30;
/** So much past the time of a picture it is surely on show; at the time itself, it may be the one before. */
const SURELY_S = 0.001;

export class VideoMedium extends EventTarget {
  hasSound = true;

  /** @param {import("./types.js").Source} source */
  constructor(source) {
    super();
    this.node = /** @type {HTMLVideoElement} */ (el("video", { class: "stage-media", preload: "auto", playsinline: true,
      disablepictureinpicture: true, disableremoteplayback: true, tabindex: "-1", "aria-hidden": "true" }));
    this.node.muted = true;
    /** Seconds from the clock of the video element to that of the source. */
    this.offset = Number(source.offset_ns) / 1e9;
    this.shown = 0;
    this.frame = FRAME_S;
    this.wanted = -1;
    this.fresh = false;
    /** The seek under way is the second to the same place. */
    this.again = false;
    /** @type {{from: number, to: number} | null} */
    this.stepped = null;
    this.closed = false;
    this.node.addEventListener("play", () => this.#tell("state"));
    this.node.addEventListener("pause", () => this.#tell("state"));
    this.node.addEventListener("ended", () => this.#tell("state"));
    this.node.addEventListener("error", () => { if (!this.closed) this.#tell("broken"); });
    this.node.addEventListener("loadedmetadata", () => { if (this.wanted >= 0) this.#go(); });
    this.node.addEventListener("seeked", () => {
      if (this.node.seeking) return; // of a seek that another has overtaken
      const away = Math.abs(this.node.currentTime - this.#target());
      if (this.wanted >= 0 && away > FRAME_S && !this.again) { // it ended where the one before it went
        this.again = true;
        this.#go();
        return;
      }
      this.again = false;
      this.wanted = -1;
      if (!("requestVideoFrameCallback" in this.node)) this.shown = this.#clock(this.node.currentTime);
      else if (!this.fresh) return; // the picture is yet to come
      this.#tell("frame"); // its own time may be well before the one that was wanted
    });
    this.#follow();
    this.node.src = videoUrl(source.id);
  }

  #tell(/** @type {string} */ name) {
    this.dispatchEvent(new Event(name));
  }

  #clock(/** @type {number} */ seconds) {
    return seconds + this.offset;
  }

  #follow() {
    if (!("requestVideoFrameCallback" in this.node)) {
      this.node.addEventListener("timeupdate", () => { this.shown = this.#clock(this.node.currentTime); this.#tell("frame"); });
      return;
    }
    const presented = (/** @type {number} */ _, /** @type {{mediaTime: number}} */ { mediaTime }) => {
      const passed = this.#clock(mediaTime) - this.shown;
      if (!this.node.paused && passed > 0.004 && passed < 0.2) this.frame = Math.min(passed, this.frame * 1.5);
      this.shown = this.#clock(mediaTime);
      this.fresh = true;
      this.#tell("frame");
      if (!this.closed) this.node.requestVideoFrameCallback(presented);
    };
    this.node.requestVideoFrameCallback(presented);
  }

  /** The time of the picture on show, in seconds; where it goes, while it is on its way. */
  time() {
    return this.wanted >= 0 ? this.wanted : this.shown;
  }

  paused() {
    return this.node.paused || this.node.ended;
  }

  play() {
    this.node.play().catch((error) => { if (error.name === "NotSupportedError") this.#tell("broken"); });
  }

  pause() {
    this.node.pause();
  }

  seek(/** @type {number} */ seconds) {
    const end = Number.isFinite(this.node.duration) ? this.#clock(this.node.duration) - SURELY_S : Infinity;
    this.wanted = Math.max(0, Math.min(seconds, end));
    if (this.node.readyState > 0) this.#go();
  }

  /** Where the clock of the video element is to be. */
  #target() {
    return Math.max(0, this.wanted - this.offset) + SURELY_S;
  }

  #go() {
    this.fresh = false;
    this.node.currentTime = this.#target();
  }

  step(/** @type {number} */ by) {
    this.pause();
    const now = this.time();
    // A picture may last longer than others: then the step before led nowhere, and this one goes on from there.
    const from = by > 0 && this.stepped?.from === now ? this.stepped.to : now;
    const to = from + by * this.frame + (by > 0 ? 0.001 : 0);
    this.stepped = { from: now, to };
    this.seek(to);
  }

  mute(/** @type {boolean} */ muted) {
    this.node.muted = muted;
  }

  rate(/** @type {number} */ rate) {
    this.node.playbackRate = rate;
  }

  close() {
    this.closed = true;
    this.node.pause();
    this.node.removeAttribute("src");
    this.node.load();
  }
}
