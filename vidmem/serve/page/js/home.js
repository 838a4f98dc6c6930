/** The first screen: the field in the centre, and under it what was seen most. */
import { cropUrl, get, once } from "./api.js";
import { button, el, fill, icon, shot, toast } from "./dom.js";
import { count, span } from "./format.js";
import { href } from "./router.js";
import { sources } from "./answer.js";

const TILES = 24;
const WANTED = 60;
/** Below this width or height in pixels, a thing cannot be made out. */
const SMALL = 56;

/** @param {HTMLElement} place @param {AbortSignal} signal @param {import("./question.js").Question} question its source, if it names one */
export async function showHome(place, signal, question) {
  const source = question.source.length === 1 ? question.source[0] : "";
  const head = (/** @type {HTMLElement | null} */ all) => el("div", { class: "home-head" }, el("h2", { text: "Seen most" }), all);
  fill(place, head(null), el("div", { class: "tiles", "aria-hidden": "true" }, Array.from({ length: 16 }, () => el("div", { class: "tile" }, el("div", { class: "skeleton tile-blank" }), el("div", { class: "tile-words" })))));
  try {
    const [all, server] = await Promise.all([sources(), once("/server")]);
    if (signal.aborted) return;
    if (!all.length) { fill(place, emptyMemory(server)); return; }
    let answer = await get("/things", { top: WANTED, named: 1, source }, { signal });
    const sure = answer.total > 0;
    if (!sure) answer = await get("/things", { top: WANTED, source }, { signal });
    const shown = clear(distinct(answer.things)).slice(0, TILES);
    if (!shown.length) { fill(place, el("p", { class: "home-none quiet", text: "No things were seen yet." })); return; }
    fill(place, head(el("a", { class: "small", href: href("things", { source, names: sure ? "" : "all" }) }, `All ${count(answer.total, "thing")}`)), el("ul", { class: "tiles" }, shown.map((/** @type {any} */ thing) => tile(thing, source))));
  } catch (error) {
    if (!signal.aborted) fill(place, el("p", { class: "home-none quiet", text: error.message }));
  }
}

/** One tile for each name. */
function distinct(/** @type {import("./types.js").Thing[]} */ things) {
  const seen = new Set();
  return things.filter((thing) => !seen.has(thing.name) && seen.add(thing.name));
}

/** Those that can be made out, if there are enough. */
function clear(/** @type {import("./types.js").Thing[]} */ things) {
  const large = things.filter((thing) => side(view(thing)) >= SMALL);
  return large.length >= 8 ? large : things;
}

/** The shorter side of the box, in pixels of the frame. */
const side = (/** @type {import("./types.js").Sighting} */ { box }) => Math.min(box[2] - box[0], box[3] - box[1]);

/** The sighting whose picture stands for a thing: its best one, or where that is tiny, the last one if it is larger. */
function view(/** @type {import("./types.js").Thing} */ { best, last }) {
  return side(best) < SMALL && side(last) > side(best) ? last : best;
}

function tile(/** @type {import("./types.js").Thing} */ thing, /** @type {string} */ source) {
  const s = view(thing);
  const to = thing.named ? { text: thing.name } : { crop: `${s.source_id}@${s.frame_ns}ns:${boxOf(s.box)}` };
  return el("li", null, el("a", { class: "tile", href: href("search", { ...to, source }) }, shot(cropUrl(s.source_id, s.frame_ns, s.box, 320), 1, 1, ""),
    el("span", { class: "tile-words" }, el("b", { class: "cut", text: thing.named ? thing.name : `${thing.name}?` }), el("span", { class: "num quiet", text: span(thing.seen_s) }))));
}

const boxOf = (/** @type {number[]} */ [x0, y0, x1, y1]) => [x0, y0, x1 - x0, y1 - y0].map(Math.round).join(",");

/** What to do when nothing is indexed yet. @param {{allow_write: boolean}} server */
function emptyMemory(server) {
  const command = "vidmem index film.mp4";
  return el("div", { class: "home-empty" }, el("h2", { text: "Nothing is in this memory yet" }),
    el("p", { class: "quiet", text: "Index a video or a folder of photos. Then ask here when and where a thing was last seen." }),
    el("p", { class: "command" }, el("code", { text: command }), el("button", { type: "button", class: "icon-button", "aria-label": "Copy the command", on: { click: async () => {
      await navigator.clipboard.writeText(command);
      toast("Copied.");
    } } }, icon("copy"))),
    server.allow_write && el("a", { class: "button is-primary", href: href("sources") }, icon("plus"), "Index from here"),
    el("p", { class: "small quiet", text: "This page shows it as soon as it is there." }));
}
