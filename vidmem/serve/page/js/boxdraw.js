/** Drawing a box on a paused frame, by pointer or by keys, to search for what is in it. */
import { announce, button, el, setVars } from "./dom.js";
import { contained } from "./overlay.js";

const SMALLEST = 12;

/**
 * @param {HTMLElement} stage @param {[number, number]} size of the picture, in its pixels
 * @param {number[] | null} first a box to begin with, in pixels of the picture
 * @param {{search: (box: number[]) => void, end: () => void}} then
 * @returns {() => void} takes it away
 */
export function drawBox(stage, size, first, then) {
  const [width, height] = size;
  let box = first ? [...first] : [width * 0.35, height * 0.3, width * 0.65, height * 0.7];
  let drawn = first !== null;
  const frame = el("div", { class: "draw-box" });
  const search = button("Search for this", { class: "is-primary", on: { click: () => then.search(box) } }, "search");
  const help = el("p", { class: "draw-help" },
    el("span", { class: "by-pointer", text: "Draw a box around a thing. " }),
    el("span", null, el("kbd", { text: "←↑↓→" }), " move it, ", el("kbd", { text: "Shift" }), " resizes"));
  const layer = el("div", { class: "draw", role: "group", tabindex: "0", "aria-label":
    "Box to search for. Arrow keys move it, with Shift they resize it. Enter searches, Escape ends." }, frame);
  const foot = el("div", { class: "draw-foot" }, help, search, button("Cancel", { on: { click: () => then.end() } }));
  const place = () => contained(width, height, stage.clientWidth, stage.clientHeight);

  function show() {
    const p = place();
    setVars(frame, { "--left": `${p.x + box[0] * p.scale}px`, "--top": `${p.y + box[1] * p.scale}px`,
      "--width": `${(box[2] - box[0]) * p.scale}px`, "--height": `${(box[3] - box[1]) * p.scale}px` });
    frame.classList.toggle("is-first", !drawn);
    search.disabled = box[2] - box[0] < SMALLEST || box[3] - box[1] < SMALLEST;
  }

  function set(/** @type {number[]} */ to) {
    const clip = (/** @type {number} */ v, /** @type {number} */ most) => Math.max(0, Math.min(most, v));
    box = [clip(to[0], width), clip(to[1], height), clip(to[2], width), clip(to[3], height)];
    drawn = true;
    show();
  }

  /** @type {number[] | null} */
  let start = null;
  const point = (/** @type {PointerEvent} */ event) => {
    const edge = layer.getBoundingClientRect();
    const p = place();
    return [(event.clientX - edge.left - p.x) / p.scale, (event.clientY - edge.top - p.y) / p.scale];
  };
  layer.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = point(event);
    layer.setPointerCapture(event.pointerId);
  });
  layer.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = point(event);
    set([Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)]);
  });
  const stop = () => { start = null; };
  layer.addEventListener("pointerup", stop);
  layer.addEventListener("pointercancel", stop);
  layer.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) {
      const by = Math.max(2, Math.round(width / 80));
      let [dx, dy] = [move[0] * by, move[1] * by];
      if (event.shiftKey) {
        set([box[0], box[1], Math.max(box[0] + SMALLEST, box[2] + dx), Math.max(box[1] + SMALLEST, box[3] + dy)]);
      } else {
        dx = Math.max(-box[0], Math.min(width - box[2], dx));
        dy = Math.max(-box[1], Math.min(height - box[3], dy));
        set([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]);
      }
    } else if (event.key === "Enter") { if (!search.disabled) then.search(box); } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const escape = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    then.end();
  };
  addEventListener("keydown", escape, true);
  const observer = new ResizeObserver(show);
  observer.observe(stage);
  stage.append(layer);
  stage.after(foot);
  show();
  layer.focus({ preventScroll: true });
  announce("Draw a box around the thing to search for.");
  return () => {
    observer.disconnect();
    removeEventListener("keydown", escape, true);
    layer.remove();
    foot.remove();
  };
}
