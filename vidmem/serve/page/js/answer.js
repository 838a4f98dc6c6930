/** One sighting on show: the player with its timeline, when and where in words, and what can be done with it. */
import { clipUrl, frameUrl, once } from "./api.js";
import { el, icon } from "./dom.js";
import { count, dateDoubt, percent, sourceName, sureness, when } from "./format.js";
import { href } from "./router.js";
import { Photo } from "./photo_stage.js";
import { cropOf } from "./question.js";
import { lengthOf, whenOf, whereOf } from "./sighting.js";
import { showVideo } from "./video.js";

/** @typedef {import("./types.js").Sighting} Sighting */

const MARGIN_NS = 1_000_000_000;
const LONGEST_CLIP_NS = 60_000_000_000;
const WAIT_MS = 100;

/**
 * Show a sighting.
 * @param {Sighting} s @param {import("./types.js").Source} source
 * @param {{search: (crop: string) => void}} then
 * @returns {{stage: HTMLElement, close: () => void}}
 */
export function showSighting(s, source, then) {
  return s.picture !== null ? showPhoto(s, then) : showVideo(source, s, then);
}

/** A photo has no time: the photo alone. */
function showPhoto(/** @type {Sighting} */ s, /** @type {{search: (crop: string) => void}} */ then) {
  const photo = new Photo(s);
  photo.addEventListener("search", (/** @type {any} */ event) => then.search(cropOf(s.source_id, event.detail.ns, event.detail.box)));
  return { stage: el("div", { class: "show" }, photo.node), close: () => photo.close() };
}

/**
 * The words about a sighting: when, where, for how long, how sure.
 * @param {Sighting} s @param {{over?: string, level?: 1 | 2}} [options] over: what stands above it; level: of the heading
 */
export function sightingWords(s, options = {}) {
  const doubt = when(s.recorded, s.recorded_by) ? dateDoubt(s.recorded_by) : "";
  const p = s.probability;
  const length = lengthOf(s);
  return el("header", { class: "words" },
    options.over && el("p", { class: "words-over", text: options.over }),
    el(`h${options.level ?? 1}`, { class: "words-when num", id: "when" }, whenOf(s), doubt && el("span", { class: "doubt", title: `By ${doubt}`, "aria-hidden": "true" }, " ≈")),
    el("p", { class: "words-where num anywhere" }, whereOf(s), length && [", ", el("span", { class: "nowrap", text: `seen for ${length}` })]),
    el("p", { class: "words-sure num" }, el("span", { class: "meter", "aria-hidden": "true", vars: { "--p": p ?? Math.max(0, s.score) } }), el("span", { text: sureness(s) })),
    doubt && el("p", { class: "words-doubt small quiet", text: `≈ by ${doubt}` }));
}

/** Buttons that save the frame, the clip and the JSON, and search for more like it. */
export function sightingActions(/** @type {Sighting} */ s) {
  const name = `${sourceName(s.picture ?? s.source).replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+/, "")}-${s.frame_ns}`;
  const json = el("a", { class: "button is-small", download: `${name}.json`, href: "#", on: { click: (/** @type {Event} */ event) => {
    const address = URL.createObjectURL(new Blob([`${JSON.stringify(s, null, 1)}\n`], { type: "application/json" }));
    json.setAttribute("href", address);
    setTimeout(() => { URL.revokeObjectURL(address); json.setAttribute("href", "#"); }, 1000);
    event.stopPropagation();
  } } }, "JSON");
  return el("div", { class: "actions" },
    el("a", { class: "button is-small is-primary", href: href("search", { crop: cropOf(s.source_id, s.frame_ns, s.box) }) }, icon("search"), "More like this"),
    el("span", { class: "actions-save", role: "group", "aria-label": "Save" }, el("span", { class: "small quiet", text: "Save" }),
      el("a", { class: "button is-small", download: `${name}.jpg`, href: frameUrl(s.source_id, s.frame_ns, { box: s.box }) }, s.picture === null ? "Frame" : "Photo"),
      s.picture === null && el("a", { class: "button is-small", download: `${name}.mp4`, href: clipOf(s) }, "Clip"), json));
}

/** The clip of a sighting with a second more at each end; of a long one, the part around the evidence. */
function clipOf(/** @type {Sighting} */ s) {
  let start = Math.max(0, Number(s.start_ns) - MARGIN_NS);
  let end = Number(s.end_ns) + MARGIN_NS;
  if (end - start > LONGEST_CLIP_NS) {
    start = Math.max(start, Math.min(Number(s.frame_ns) - LONGEST_CLIP_NS / 2, end - LONGEST_CLIP_NS));
    end = start + LONGEST_CLIP_NS;
  }
  return clipUrl(s.source_id, Math.round(start), Math.round(end), s.tracks);
}

/** The source of a sighting, from the list that is asked once. @param {Sighting} s */
export async function sourceOf(s) {
  const late = new Promise((done) => { setTimeout(done, WAIT_MS, []); }); // a long list of sources takes its time
  const all = await Promise.race([sources(), late]);
  const found = all.find((/** @type {import("./types.js").Source} */ one) => one.id === s.source_id);
  return found && found.playable !== null ? found : once(`/sources/${s.source_id}`); // null: not looked into yet
}

/** @returns {Promise<import("./types.js").Source[]>} */
export async function sources() {
  return (await once("/sources")).sources;
}

/** `3 sightings`, `The 40 newest`. @param {boolean} all whether these are all */
export function howMany(/** @type {number} */ shown, all) {
  return all ? count(shown, "sighting") : `The ${shown} newest`;
}
