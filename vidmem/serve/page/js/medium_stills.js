/** A source that the browser cannot play, as stills from the API: the same medium as VideoMedium. */
import { frameUrl } from "./api.js";
import { el } from "./dom.js";
import { endOf } from "./format.js";

const WIDTH = 1280;
const AHEAD = 4;
const KEPT = 40;

export class StillsMedium extends EventTarget {
  hasSound = false;

  /** @param {import("./types.js").Source} source */
  constructor(source) {
    super();
    this.source = source;
    this.end = endOf(source);
    this.node = el("div", { class: "stage-media stage-stills" });
    /** The time between two stills: that of the sampled frames. */
    this.frame = source.frames > 1 ? Math.max(0.04, source.duration_s / source.frames) : 1;
    this.playing = false;
    this.shown = 0;
    this.wanted = -1;
    this.turn = 0;
    this.speed = 1;
    /** @type {Map<number, Promise<HTMLImageElement>>} */
    this.images = new Map();
  }

  /** The still at a time, fetched once. @param {number} seconds */
  #load(seconds) {
    const ms = Math.round(seconds * 1000);
    let image = this.images.get(ms);
    if (!image) {
      const img = /** @type {HTMLImageElement} */ (el("img", { alt: "" }));
      img.src = frameUrl(this.source.id, ms * 1_000_000, { width: WIDTH });
      image = img.decode().then(() => img);
      image.catch(() => this.images.delete(ms));
      this.images.set(ms, image);
      for (const old of [...this.images.keys()].slice(0, Math.max(0, this.images.size - KEPT))) this.images.delete(old);
    }
    return image;
  }

  async #show(/** @type {number} */ seconds) {
    const mine = ++this.turn;
    this.wanted = Math.max(0, Math.min(seconds, Math.max(0, this.end - 0.001)));
    let image;
    try {
      image = await this.#load(this.wanted);
    } catch {
      if (mine === this.turn) { this.pause(); this.dispatchEvent(new Event("broken")); }
      return;
    }
    if (mine !== this.turn) return;
    this.node.replaceChildren(image);
    this.shown = this.wanted;
    this.wanted = -1;
    this.dispatchEvent(new Event("frame"));
  }

  time() {
    return this.wanted >= 0 ? this.wanted : this.shown;
  }

  paused() {
    return !this.playing;
  }

  async play() {
    if (this.playing) return;
    this.playing = true;
    this.dispatchEvent(new Event("state"));
    while (this.playing) {
      const began = performance.now();
      const next = this.time() + this.frame;
      if (next >= this.end) break;
      for (let i = 1; i <= AHEAD; i++) this.#load(Math.min(next + i * this.frame, this.end - 0.001)).catch(() => {});
      await this.#show(next);
      await new Promise((done) => { setTimeout(done, Math.max(0, (1000 * this.frame) / this.speed - (performance.now() - began))); });
    }
    this.pause();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.dispatchEvent(new Event("state"));
  }

  seek(/** @type {number} */ seconds) {
    this.#show(seconds);
  }

  step(/** @type {number} */ by) {
    this.pause();
    this.#show(this.time() + by * this.frame);
  }

  mute() { /* stills have no sound */ }

  rate(/** @type {number} */ rate) {
    this.speed = rate;
  }

  close() {
    this.playing = false;
    this.turn++;
    this.images.clear();
  }
}
