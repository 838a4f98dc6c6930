/**
 * The player: the evidence first, as a picture with its box; the video, or stills of it, from the first command on. The
 * box of the track is drawn over what plays.
 */
import { ApiError, frameUrl } from "./api.js";
import { drawBox } from "./boxdraw.js";
import { TrackBoxes } from "./boxes.js";
import { announce, button, el, fill, icon, iconButton, setVars } from "./dom.js";
import { capital, clock, endOf } from "./format.js";
import { bindKeys } from "./keys.js";
import { StillsMedium } from "./medium_stills.js";
import { VideoMedium } from "./medium_video.js";
import { Overlay } from "./overlay.js";
import { remember, remembered } from "./store.js";

const STILL_WIDTH = 1280;
const BEFORE_S = 0.5;
/** Browsers give times in microseconds: so much later, it is surely the same picture. */
const SURELY_S = 0.001;

/** Events: "time" (a picture is on show; `time()` says which), "search" (detail: {ns, box}). */
export class Player extends EventTarget {
  /**
   * @param {import("./types.js").Source} source
   * @param {import("./types.js").Sighting | null} sighting the evidence; null: the whole video, with a picture of its middle
   */
  constructor(source, sighting) {
    super();
    const length = endOf(source);
    const middle = Math.floor(length / 2 * 1e3) / 1e3;
    this.source = source;
    this.length = length;
    this.stillNs = sighting ? sighting.frame_ns : Math.round(middle * 1e9);
    this.box = sighting?.box ?? null;
    /** @type {VideoMedium | StillsMedium | null} */
    this.medium = null;
    this.loop = false;
    this.showBoxes = remembered("boxes") !== "off";
    this.evidence = sighting ? sighting.frame_s ?? 0 : middle;
    this.start = sighting?.start_s ?? 0;
    this.end = sighting ? sighting.end_s ?? this.start : length;
    this.boxes = new TrackBoxes(source.id, sighting?.tracks ?? [], () => this.#draw(), this.box && { t: this.evidence, box: this.box });
    /** @type {{boxes: TrackBoxes, label: string} | null} */
    this.other = null;
    /** @type {(() => void) | null} */
    this.drawing = null;
    this.broken = false;
    this.#build(sighting !== null);
    this.unbind = bindKeys(this.#keys(sighting !== null));
  }

  /** @param {boolean} part whether a sighting is shown rather than the whole video */
  #build(part) {
    const { source } = this;
    this.still = /** @type {HTMLImageElement} */ (el("img", { class: "stage-media", alt: "", decoding: "async", fetchpriority: "high",
      width: source.width, height: source.height }));
    this.still.addEventListener("load", () => { this.stage.classList.add("is-there"); this.#draw(); });
    this.still.addEventListener("error", () => this.#tellWhy());
    this.big = iconButton("play", "Play", { class: "stage-play", tabindex: "-1", "aria-hidden": "true", on: { click: () => this.toggle() } });
    this.message = el("p", { class: "stage-message", hidden: true });
    this.stage = el("div", { class: "stage", vars: { "--w": source.width || 16, "--h": source.height || 9 } }, this.still);
    this.overlay = new Overlay(this.stage, () => [source.width, source.height]);
    this.stage.append(this.overlay.canvas, this.message, this.big);
    this.stage.addEventListener("click", (event) => {
      if (event.target instanceof Element && !event.target.closest("button, .draw") && !this.drawing) this.toggle();
    });
    this.playButton = iconButton("play", "Play", { on: { click: () => this.toggle() }, "aria-keyshortcuts": "Space" });
    this.scrub = /** @type {HTMLInputElement} */ (el("input", { type: "range", class: "scrub", min: 0, max: this.length || 1, step: 0.01,
      value: this.evidence, "aria-label": "Place in the video" }));
    const length = this.length || 1;
    if (part) setVars(this.scrub, { "--from": this.start / length, "--to": Math.max(this.end / length, this.start / length + 0.004) });
    this.scrub.addEventListener("input", () => this.seek(Number(this.scrub.value)));
    this.clock = el("span", { class: "player-clock num" });
    this.loopButton = part && iconButton("loop", "Repeat this sighting", { "aria-pressed": "false", on: { click: () => this.toggleLoop() } });
    this.boxButton = iconButton("eye", "Show the box", { "aria-pressed": String(this.showBoxes), on: { click: () => this.toggleBoxes() } });
    this.soundButton = source.playable && iconButton("mute", "Sound", { "aria-pressed": "false", on: { click: () => this.toggleSound() } });
    const speed = el("select", { class: "player-speed", "aria-label": "Speed", on: { change: () => this.#medium().rate(Number(speed.value)) } },
      [0.25, 0.5, 1, 2, 4].map((rate) => el("option", { value: rate, selected: rate === 1, text: `${rate}×` })));
    this.speed = speed;
    this.node = el("div", { class: "player", role: "group", "aria-label": "Player" }, this.stage,
      el("div", { class: "player-scrub" }, this.scrub),
      el("div", { class: "player-bar" }, this.playButton,
        iconButton("back", "One frame back", { on: { click: () => this.step(-1) }, "aria-keyshortcuts": "ArrowLeft" }),
        iconButton("forward", "One frame on", { on: { click: () => this.step(1) }, "aria-keyshortcuts": "ArrowRight" }),
        this.clock, this.#stillsBadge(), el("span", { class: "player-gap" }),
        button("Box search", { class: "is-small is-plain player-draw", "aria-keyshortcuts": "b", title: "Draw a box and search for what is in it",
          on: { click: () => this.draw() } }, "box"),
        this.boxButton, this.loopButton, this.soundButton, speed,
        iconButton("full", "Full screen", { class: "player-full", on: { click: () => this.toggleFull() } })));
    this.still.src = frameUrl(source.id, this.stillNs, { width: STILL_WIDTH });
    this.#showTime();
    if (source.playable) this.node.addEventListener("pointerenter", () => { if (!this.broken) this.#medium(); }, { once: true });
  }

  #stillsBadge() {
    const { source } = this;
    return !source.playable && el("span", { class: "badge", tabindex: "0", title: `Shown as still frames: ${source.unplayable ?? "browsers do not play it"}` },
      "stills", el("span", { class: "unseen", text: `: ${source.unplayable ?? "browsers do not play it"}` }));
  }

  #keys(/** @type {boolean} */ part) {
    /** @type {import("./keys.js").Key[]} */
    const keys = [
      { keys: [" "], does: "Play or pause", run: () => this.toggle() },
      { keys: ["ArrowLeft"], does: "One frame back", run: () => this.step(-1) },
      { keys: ["ArrowRight"], does: "One frame on", run: () => this.step(1) },
      { keys: ["b"], does: "Draw a box to search for", run: () => this.draw() },
      ...(part ? [{ keys: ["l"], does: "Repeat the sighting", run: () => this.toggleLoop() }] : []),
      { keys: ["f"], does: "Full screen", run: () => this.toggleFull() },
    ];
    return keys.map((key) => ({ ...key, group: "Player", when: () => !this.drawing }));
  }

  /** The medium, made when it is first needed. It takes the place of the still once it shows a picture. */
  #medium() {
    if (this.medium) return this.medium;
    const medium = this.source.playable && !this.broken ? new VideoMedium(this.source) : new StillsMedium(this.source);
    this.medium = medium;
    this.still.before(medium.node);
    medium.addEventListener("frame", () => this.#frame());
    medium.addEventListener("state", () => this.#state());
    medium.addEventListener("broken", () => this.#becomeStills(medium));
    medium.mute(remembered("sound") !== "on");
    medium.rate(Number(this.speed.value));
    medium.seek(this.evidence);
    this.#state();
    return medium;
  }

  /** The browser cannot play it after all: go on with stills. */
  #becomeStills(/** @type {VideoMedium | StillsMedium} */ medium) {
    if (medium instanceof StillsMedium) { this.#tellWhy(); return; }
    const at = medium.time();
    medium.close();
    medium.node.remove();
    this.broken = true;
    this.medium = null;
    this.#medium().seek(at);
    announce("This browser cannot play the video; it is shown as stills.");
  }

  async #tellWhy() {
    let words = "The picture cannot be shown.";
    try {
      const response = await fetch(this.still.src);
      if (!response.ok) words = (await response.json()).error?.message ?? words;
    } catch { words = new ApiError("gone", "The server does not answer.").message; }
    this.message.textContent = capital(words);
    this.message.hidden = false;
    this.still.hidden = true;
    this.node.classList.add("is-gone");
  }

  time() {
    return this.medium ? this.medium.time() : this.evidence;
  }

  playing() {
    return this.medium !== null && !this.medium.paused();
  }

  /** Play or pause. The first time, it plays from where the thing comes into view. */
  toggle() {
    if (this.drawing || this.node.classList.contains("is-gone")) return;
    if (this.playing()) { this.medium?.pause(); return; }
    const medium = this.#medium();
    if (!this.touched) medium.seek(Math.max(0, this.start - BEFORE_S));
    this.touched = true;
    this.stage.classList.add("is-waiting");
    medium.play();
  }

  seek(/** @type {number} */ seconds) {
    this.touched = true;
    this.#medium().seek(seconds);
    this.#showTime();
    this.#tell();
  }

  step(/** @type {number} */ by) {
    if (this.drawing) return;
    this.touched = true;
    this.#medium().step(by);
  }

  toggleLoop() {
    this.loop = !this.loop;
    this.loopButton && this.loopButton.setAttribute("aria-pressed", String(this.loop));
    announce(this.loop ? "The sighting repeats." : "The sighting does not repeat.");
  }

  toggleBoxes() {
    this.showBoxes = !this.showBoxes;
    remember("boxes", this.showBoxes ? null : "off");
    this.boxButton.setAttribute("aria-pressed", String(this.showBoxes));
    this.#draw();
  }

  toggleSound() {
    const on = remembered("sound") !== "on";
    remember("sound", on ? "on" : null);
    this.#medium().mute(!on);
    this.#state();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.node.requestFullscreen?.().catch(() => {});
  }

  /** Also draw the boxes of another thing. @param {number[] | null} tracks @param {string} [label] */
  showOther(tracks, label = "") {
    this.other?.boxes.close();
    this.other = tracks && { label, boxes: new TrackBoxes(this.source.id, tracks, () => this.#draw()) };
    this.other?.boxes.need(this.time());
    this.#draw();
  }

  /** Let a box be drawn on the frame on show. */
  draw() {
    if (this.drawing) { this.endDrawing(); return; }
    if (this.node.classList.contains("is-gone")) return;
    this.medium?.pause();
    const ns = this.medium ? Math.round((this.time() + SURELY_S) * 1e9) : this.stillNs;
    const at = this.#boxesNow()[0]?.box ?? null;
    this.big.hidden = true;
    this.overlay.draw([]);
    this.drawing = drawBox(this.stage, [this.source.width, this.source.height], at, {
      search: (box) => { this.endDrawing(); this.dispatchEvent(new CustomEvent("search", { detail: { ns, box } })); },
      end: () => this.endDrawing() });
    this.node.classList.add("is-drawing");
  }

  endDrawing() {
    this.drawing?.();
    this.drawing = null;
    this.big.hidden = false;
    this.node.classList.remove("is-drawing");
    this.#draw();
  }

  #frame() {
    const t = this.time();
    this.stage.classList.add("is-live");
    this.stage.classList.remove("is-waiting");
    if (this.loop && this.playing() && t > this.end + BEFORE_S) this.medium?.seek(Math.max(0, this.start - BEFORE_S));
    this.#draw();
    this.#showTime();
    this.#tell();
  }

  #state() {
    const playing = this.playing();
    for (const one of [this.playButton, this.big]) {
      fill(one, icon(playing ? "pause" : "play"));
      one.setAttribute("aria-label", playing ? "Pause" : "Play");
      one.title = playing ? "Pause" : "Play";
    }
    this.stage.classList.toggle("is-playing", playing);
    const loud = remembered("sound") === "on";
    if (this.soundButton) { fill(this.soundButton, icon(loud ? "sound" : "mute")); this.soundButton.setAttribute("aria-pressed", String(loud)); }
  }

  #boxesNow() {
    const t = this.time();
    const isEvidence = !this.stage.classList.contains("is-live") || Math.abs(t - this.evidence) < 0.02;
    this.boxes.need(t);
    this.other?.boxes.need(t);
    const mine = isEvidence && this.box ? this.box : this.boxes.at(t);
    const other = this.other?.boxes.at(t) ?? null;
    return [...(mine ? [{ box: mine }] : []), ...(other ? [{ box: other, other: true, label: this.other?.label }] : [])];
  }

  #draw() {
    if (this.drawing) return;
    this.overlay.draw(this.showBoxes && this.stage.classList.contains("is-there") ? this.#boxesNow() : []);
  }

  #showTime() {
    const t = this.time();
    fill(this.clock, el("span", { text: clock(t, true) }), el("span", { class: "quiet", text: ` / ${clock(this.length, true)}` }));
    if (document.activeElement !== this.scrub || this.playing()) this.scrub.value = String(t);
    this.scrub.setAttribute("aria-valuetext", clock(t, true));
    setVars(this.scrub, { "--at": t / (this.length || 1) });
  }

  #tell() {
    this.dispatchEvent(new Event("time"));
  }

  close() {
    this.endDrawing();
    this.unbind();
    this.medium?.close();
    this.boxes.close();
    this.other?.boxes.close();
    this.overlay.close();
  }
}
