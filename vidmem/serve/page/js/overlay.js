/** Boxes over a picture that is shown letterboxed: a canvas that covers the stage. */
import { el } from "./dom.js";

const BOX = "#ff4d63";
const OTHER = "#ffffff";

/** Where a picture of this size lies in a stage of that size, in CSS pixels. */
export function contained(/** @type {number} */ width, /** @type {number} */ height, /** @type {number} */ stageW, /** @type {number} */ stageH) {
  const scale = Math.min(stageW / width, stageH / height);
  return { scale, x: (stageW - width * scale) / 2, y: (stageH - height * scale) / 2, w: width * scale, h: height * scale };
}

/** @typedef {{box: number[], label?: string, other?: boolean}} Drawn */

export class Overlay {
  /** @param {HTMLElement} stage @param {() => [number, number]} size width and height of the picture, in its pixels */
  constructor(stage, size) {
    this.stage = stage;
    this.size = size;
    this.canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { class: "stage-boxes", "aria-hidden": "true" }));
    /** @type {Drawn[]} */
    this.boxes = [];
    this.observer = new ResizeObserver(() => this.draw(this.boxes));
    this.observer.observe(stage);
  }

  /** @param {Drawn[]} boxes in pixels of the picture */
  draw(boxes) {
    this.boxes = boxes;
    const { clientWidth: w, clientHeight: h } = this.stage;
    const ratio = devicePixelRatio;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    const [width, height] = this.size();
    if (!width || !height) return;
    const place = contained(width, height, w, h);
    for (const one of boxes) drawBox(context, one, place);
  }

  close() {
    this.observer.disconnect();
  }
}

/** A line that shows on any picture: coloured, between two dark ones. */
function drawBox(/** @type {CanvasRenderingContext2D} */ context, /** @type {Drawn} */ drawn, /** @type {any} */ place) {
  const [x0, y0, x1, y1] = drawn.box;
  const inset = 2;
  const left = Math.max(place.x + inset, place.x + x0 * place.scale);
  const top = Math.max(place.y + inset, place.y + y0 * place.scale);
  const right = Math.min(place.x + place.w - inset, place.x + x1 * place.scale);
  const bottom = Math.min(place.y + place.h - inset, place.y + y1 * place.scale);
  if (right <= left || bottom <= top) return;
  const radius = Math.min(6, (right - left) / 4, (bottom - top) / 4);
  context.beginPath();
  context.roundRect(left, top, right - left, bottom - top, radius);
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / .55)";
  context.lineWidth = drawn.other ? 4 : 6;
  context.stroke();
  context.strokeStyle = drawn.other ? OTHER : BOX;
  context.lineWidth = drawn.other ? 2 : 3;
  context.stroke();
  if (!drawn.label) return;
  context.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
  const wide = context.measureText(drawn.label).width + 14;
  const y = top > 26 ? top - 25 : top + 3;
  const x = Math.min(left, place.x + place.w - wide - inset);
  context.beginPath();
  context.roundRect(x, y, wide, 22, 5);
  context.fillStyle = drawn.other ? "rgb(10 10 12 / .85)" : "#c4163a";
  context.fill();
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(drawn.label, x + 7, y + 11.5);
}
