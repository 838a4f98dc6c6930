/** A photo that shows a thing: the picture with its box, which can be moved to search for something else in it. */
import { frameUrl, get } from "./api.js";
import { drawBox } from "./boxdraw.js";
import { button, el, iconButton } from "./dom.js";
import { capital, sourceName } from "./format.js";
import { bindKeys } from "./keys.js";
import { Overlay } from "./overlay.js";
import { remember, remembered } from "./store.js";

const WIDTH = 1280;

/** Events: "search" (detail: {ns, box}). */
export class Photo extends EventTarget {
  /** @param {import("./types.js").Sighting} sighting */
  constructor(sighting) {
    super();
    this.sighting = sighting;
    this.size = /** @type {[number, number]} */ ([0, 0]);
    this.showBox = remembered("boxes") !== "off";
    /** @type {(() => void) | null} */
    this.drawing = null;
    this.stop = new AbortController();
    const img = el("img", { class: "stage-media", alt: `The photo ${sourceName(sighting.picture ?? "")}`, decoding: "async", fetchpriority: "high" });
    this.message = el("p", { class: "stage-message", hidden: true });
    this.stage = el("div", { class: "stage is-photo", vars: { "--w": 4, "--h": 3 } }, img, this.message);
    this.overlay = new Overlay(this.stage, () => this.size);
    this.stage.append(this.overlay.canvas);
    this.drawButton = button("Box search", { class: "is-small is-plain player-draw", "aria-keyshortcuts": "b", disabled: true,
      title: "Draw a box and search for what is in it", on: { click: () => this.draw() } }, "box");
    this.boxButton = iconButton("eye", "Show the box", { "aria-pressed": String(this.showBox), on: { click: () => this.toggleBox() } });
    this.node = el("div", { class: "player", role: "group", "aria-label": "Photo" }, this.stage,
      el("div", { class: "player-bar is-photo" }, el("span", { class: "player-gap" }), this.drawButton, this.boxButton,
        iconButton("full", "Full screen", { class: "player-full", on: { click: () => this.toggleFull() } })));
    img.addEventListener("load", () => { this.stage.classList.add("is-there"); this.#show(); });
    img.addEventListener("error", () => { img.hidden = true; this.#tellWhy(img.src); });
    img.src = frameUrl(sighting.source_id, sighting.frame_ns, { width: WIDTH });
    this.#askSize();
    this.unbind = bindKeys([
      { keys: ["b"], does: "Draw a box to search for", group: "Photo", when: () => !this.drawing, run: () => this.draw() },
      { keys: ["f"], does: "Full screen", group: "Photo", run: () => this.toggleFull() },
    ]);
  }

  /** Boxes are in pixels of the photo, which comes smaller; its size comes with its boxes. */
  async #askSize() {
    const { source_id: source, frame_ns: ns, tracks } = this.sighting;
    try {
      const answer = await get(`/sources/${source}/boxes`, { tracks: tracks.join(","), start_ns: ns, end_ns: ns }, { signal: this.stop.signal });
      this.size = [answer.width, answer.height];
    } catch { return; } // without its size the photo is shown without a box
    this.drawButton.disabled = false;
    this.#show();
  }

  async #tellWhy(/** @type {string} */ address) {
    let words = "The photo cannot be shown.";
    try { words = (await (await fetch(address)).json()).error?.message ?? words; } catch { /* these words will do */ }
    this.message.textContent = capital(words);
    this.message.hidden = false;
    this.node.classList.add("is-gone");
  }

  #show() {
    if (!this.drawing) this.overlay.draw(this.showBox && this.stage.classList.contains("is-there") ? [{ box: this.sighting.box }] : []);
  }

  toggleBox() {
    this.showBox = !this.showBox;
    remember("boxes", this.showBox ? null : "off");
    this.boxButton.setAttribute("aria-pressed", String(this.showBox));
    this.#show();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.node.requestFullscreen?.().catch(() => {});
  }

  draw() {
    if (!this.size[0]) return;
    this.overlay.draw([]);
    this.node.classList.add("is-drawing");
    this.drawing = drawBox(this.stage, this.size, this.sighting.box, {
      search: (box) => { this.#end(); this.dispatchEvent(new CustomEvent("search", { detail: { ns: this.sighting.frame_ns, box } })); },
      end: () => this.#end() });
  }

  #end() {
    this.drawing?.();
    this.drawing = null;
    this.node.classList.remove("is-drawing");
    this.#show();
  }

  close() {
    this.stop.abort();
    this.#end();
    this.unbind();
    this.overlay.close();
  }
}
