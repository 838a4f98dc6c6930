/** The first screen: the field in the centre, and under it what was seen most. */
import { cropUrl, get, once } from "./api.js";
import { button, el, fill, icon, shot, toast } from "./dom.js";
import { count, span } from "./format.js";
import { href } from "./router.js";
import { sources } from "./answer.js";

const TILES = 24;
const WANTED = 60;

/** @param {HTMLElement} place @param {AbortSignal} signal */
export async function showHome(place, signal) {
  fill(place, el("div", { class: "tiles", "aria-hidden": "true" }, Array.from({ length: 12 }, () => el("div", { class: "tile" }, el("div", { class: "skeleton tile-blank" }), el("div", { class: "tile-words" })))));
  try {
    const [all, server] = await Promise.all([sources(), once("/server")]);
    if (signal.aborted) return;
    if (!all.length) { fill(place, emptyMemory(server)); return; }
    const answer = await get("/things", { top: WANTED }, { signal });
    const named = answer.things.filter((/** @type {any} */ thing) => thing.named);
    const shown = distinct(named.length ? named : answer.things).slice(0, TILES);
    if (!shown.length) { fill(place, el("p", { class: "home-none quiet", text: "No things were seen yet." })); return; }
    fill(place, el("div", { class: "home-head" }, el("h2", { text: "Seen most" }),
      el("a", { class: "small", href: href("things") }, `All ${count(answer.total, "thing")}`)), el("ul", { class: "tiles" }, shown.map(tile)));
  } catch (error) {
    if (!signal.aborted) fill(place, el("p", { class: "home-none quiet", text: error.message }));
  }
}

/** One tile for each name. */
function distinct(/** @type {import("./types.js").Thing[]} */ things) {
  const seen = new Set();
  return things.filter((thing) => !seen.has(thing.name) && seen.add(thing.name));
}

function tile(/** @type {import("./types.js").Thing} */ thing) {
  const s = thing.best;
  const to = thing.named ? { text: thing.name } : { crop: `${s.source_id}@${s.frame_ns}ns:${boxOf(s.box)}` };
  return el("li", null, el("a", { class: "tile", href: href("search", to) }, shot(cropUrl(s.source_id, s.frame_ns, s.box, 320), 1, 1, ""),
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
