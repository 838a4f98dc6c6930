/**
 * The timeline under the player: a lane for each thing of the source, with a bar for each time that it was in view. It is
 * one canvas of the size of what is in view, so a thousand lanes cost no more than ten.
 */
import { colours, whenColoursChange } from "./colours.js";
import { el } from "./dom.js";
import { clock, endOf, span } from "./format.js";

const ROW = 26;
const AXIS = 26;
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

/** Events: "seek" (detail: seconds), "lane" (detail: Lane or null). */
export class Lanes extends EventTarget {
  /** @param {import("./types.js").Source} source @param {number[]} tracks of the answer */
  constructor(source, tracks) {
    super();
    this.length = endOf(source);
    this.mine = new Set(tracks);
    /** @type {import("./types.js").Lane[]} */
    this.lanes = [];
    this.at = 0;
    this.picked = -1;
    this.due = false;
    this.canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { class: "lanes-canvas", "aria-hidden": "true" }));
    this.height = el("div", { class: "lanes-height" });
    this.scroller = el("div", { class: "lanes-scroll", tabindex: "0", role: "slider", "aria-orientation": "horizontal",
      "aria-label": "Things over time", "aria-valuemin": 0, "aria-valuemax": Math.round(this.length), "aria-valuenow": 0 },
      el("div", { class: "lanes-stick" }, this.canvas), this.height);
    this.tip = el("div", { class: "lanes-tip", hidden: true });
    this.node = el("div", { class: "lanes" }, this.scroller, this.tip);
    this.scroller.addEventListener("scroll", () => { this.tip.hidden = true; this.draw(); }, { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.#key(event));
    this.scroller.addEventListener("pointerdown", (event) => this.#press(event));
    this.scroller.addEventListener("pointermove", (event) => this.#hover(event));
    this.scroller.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.scroller);
    this.unwatch = whenColoursChange(() => { this.palette = null; this.draw(); });
    /** @type {Object<string, string> | null} */
    this.palette = null;
  }

  /** @param {import("./types.js").Lane[]} lanes the answer's own comes first */
  set(lanes) {
    const own = (/** @type {any} */ lane) => lane.tracks.some((/** @type {number} */ track) => this.mine.has(track));
    this.lanes = [...lanes.filter(own), ...lanes.filter((lane) => !own(lane))];
    this.own = lanes.filter(own).length;
    this.height.style.setProperty("height", `${this.lanes.length * ROW + AXIS}px`);
    this.node.classList.add("is-there");
    this.draw();
  }

  /** @param {number} seconds */
  setTime(seconds) {
    this.at = seconds;
    const lane = this.lanes[this.picked];
    this.scroller.setAttribute("aria-valuenow", String(Math.round(seconds)));
    this.scroller.setAttribute("aria-valuetext", clock(seconds, true) + (lane ? `, ${laneName(lane)}, lane ${this.picked + 1} of ${this.lanes.length}` : ""));
    this.draw();
  }

  #label() {
    return this.scroller.clientWidth < 520 ? 100 : 150;
  }

  #x(/** @type {number} */ seconds) {
    const label = this.#label();
    return label + (seconds / (this.length || 1)) * (this.scroller.clientWidth - label - 12);
  }

  /** @param {PointerEvent} event @returns {{seconds: number, lane: number, inLabel: boolean, x: number, y: number}} */
  #point(event) {
    const edge = this.scroller.getBoundingClientRect();
    const [x, y] = [event.clientX - edge.left, event.clientY - edge.top];
    const label = this.#label();
    const share = (x - label) / (this.scroller.clientWidth - label - 12);
    const row = Math.floor((y - AXIS + this.scroller.scrollTop) / ROW);
    return { seconds: Math.max(0, Math.min(1, share)) * this.length, inLabel: x < label, x, y,
      lane: y > AXIS && row >= 0 && row < this.lanes.length ? row : -1 };
  }

  #press(/** @type {PointerEvent} */ event) {
    if (event.button !== 0 || event.offsetX > this.scroller.clientWidth) return;
    const { seconds, lane, inLabel } = this.#point(event);
    if (lane >= 0) this.pick(lane);
    if (inLabel && lane >= 0) this.#seek(nearest(this.lanes[lane], this.at));
    else if (!inLabel) this.#seek(seconds);
  }

  #hover(/** @type {PointerEvent} */ event) {
    const { seconds, lane, x, y } = this.#point(event);
    const row = this.lanes[lane];
    this.tip.hidden = !row || event.pointerType === "touch";
    if (!row) return;
    const bar = row.spans.find((one) => seconds >= one.start_s - 0.2 && seconds <= one.end_s + 0.2);
    this.tip.textContent = bar ? `${laneName(row)} · ${clock(bar.start_s)}, ${span(bar.end_s - bar.start_s)}` : `${laneName(row)} · ${clock(seconds)}`;
    const wide = this.tip.offsetWidth;
    this.tip.style.setProperty("--x", `${Math.max(4, Math.min(x + 12, this.scroller.clientWidth - wide - 4))}px`);
    this.tip.style.setProperty("--y", `${y + 18}px`);
  }

  #key(/** @type {KeyboardEvent} */ event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const rows = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page }[event.key];
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (rows) this.pick(Math.max(0, Math.min(this.lanes.length - 1, this.picked + rows)));
    else if (by) this.#seek(this.at + by * (event.shiftKey ? 10 : 1));
    else if (event.key === "Home") this.#seek(0);
    else if (event.key === "End") this.#seek(this.length);
    else if (event.key === "Enter" && this.lanes[this.picked]) this.#seek(nearest(this.lanes[this.picked], this.at));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #seek(/** @type {number} */ seconds) {
    this.setTime(Math.max(0, Math.min(this.length, seconds)));
    this.dispatchEvent(new CustomEvent("seek", { detail: this.at }));
  }

  /** Choose a lane. @param {number} lane */
  pick(lane) {
    if (!this.lanes.length) return;
    this.picked = lane;
    const top = lane * ROW;
    const seen = this.scroller.clientHeight - AXIS;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW > this.scroller.scrollTop + seen) this.scroller.scrollTop = top + ROW - seen;
    this.setTime(this.at);
    this.dispatchEvent(new CustomEvent("lane", { detail: lane < (this.own ?? 0) ? null : this.lanes[lane] }));
  }

  /** Draw before the next frame. */
  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.#paint(); });
  }

  #paint() {
    const [w, h] = [this.scroller.clientWidth, this.scroller.clientHeight];
    if (!w || !h) return;
    this.palette ??= colours({ ink: "--ink", soft: "--ink-3", line: "--line", bar: "--line-strong", mine: "--accent-fill",
      back: "--surface", hover: "--hover", accent: "--accent" });
    const c = this.palette;
    const ratio = devicePixelRatio;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
      this.canvas.style.setProperty("width", `${w}px`);
      this.canvas.style.setProperty("height", `${h}px`);
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    const font = getComputedStyle(document.body).fontFamily;
    const label = this.#label();
    const first = Math.floor(this.scroller.scrollTop / ROW);
    const last = Math.min(this.lanes.length, Math.ceil((this.scroller.scrollTop + h) / ROW));
    this.#axis(context, c, w, h, font);
    context.save();
    context.beginPath();
    context.rect(0, AXIS, w, h - AXIS);
    context.clip();
    context.textBaseline = "middle";
    for (let i = first; i < last; i++) {
      const lane = this.lanes[i];
      const y = AXIS + i * ROW - this.scroller.scrollTop;
      const own = i < (this.own ?? 0);
      if (i === this.picked) { context.fillStyle = c.hover; context.fillRect(0, y, w, ROW); }
      context.font = `${own ? 650 : 450} 13px ${font}`;
      context.fillStyle = own ? c.accent : lane.named ? c.ink : c.soft;
      context.fillText(short(context, laneName(lane), label - 22), 12, y + ROW / 2 + 1);
      context.fillStyle = own ? c.mine : c.bar;
      for (const bar of lane.spans) {
        const x = this.#x(bar.start_s);
        context.beginPath();
        context.roundRect(x, y + 7, Math.max(3, this.#x(bar.end_s) - x), ROW - 14, 3);
        context.fill();
      }
    }
    context.restore();
    const x = Math.round(this.#x(this.at)) + 0.5;
    context.fillStyle = c.ink;
    context.fillRect(x - 0.75, AXIS - 9, 1.5, h);
    context.beginPath();
    context.moveTo(x - 5, AXIS - 12);
    context.lineTo(x + 5, AXIS - 12);
    context.lineTo(x, AXIS - 5);
    context.fill();
  }

  #axis(/** @type {CanvasRenderingContext2D} */ context, /** @type {any} */ c, /** @type {number} */ w, /** @type {number} */ h, /** @type {string} */ font) {
    const pixels = this.#x(1) - this.#x(0);
    const step = STEPS.find((one) => one * pixels >= 64) ?? STEPS[STEPS.length - 1];
    context.font = `500 11px ${font}`;
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (let t = 0; t <= this.length; t += step) {
      const x = Math.round(this.#x(t)) + 0.5;
      context.fillStyle = c.line;
      context.fillRect(x - 0.5, AXIS - 4, 1, h);
      context.fillStyle = c.soft;
      if (x < w - 14) context.fillText(clock(t, step < 1), x, 9);
    }
    context.textAlign = "left";
  }

  close() {
    this.observer.disconnect();
    this.unwatch();
  }
}

/** @param {import("./types.js").Lane} lane */
export function laneName(lane) {
  return lane.named ? lane.name : `${lane.name}?`;
}

/** Where a lane is seen next to a time: there if it is in view then. */
function nearest(/** @type {import("./types.js").Lane} */ lane, /** @type {number} */ at) {
  if (lane.spans.some((one) => at >= one.start_s && at <= one.end_s)) return at;
  const starts = lane.spans.map((one) => one.start_s);
  return starts.find((start) => start > at) ?? starts[0] ?? at;
}

/** @param {CanvasRenderingContext2D} context @param {string} text @param {number} width */
function short(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}
