/** A sighting in words, and as a row of a list: used by every view. */
import { cropUrl, frameUrl } from "./api.js";
import { el, shot } from "./dom.js";
import { clock, dateDoubt, percent, sourceName, span, sureness, timeOfDay, when } from "./format.js";

/** @typedef {import("./types.js").Sighting} Sighting */

/** When, as a heading: `Yesterday 18:02`, or the place in the video where there is no date. @param {Sighting} s */
export function whenOf(s) {
  return when(s.recorded, s.recorded_by) || (s.picture ? "No date" : `At ${clock(s.start_s ?? 0)}`);
}

/** Where: `0:12 into walk.mp4`, or the name of the photo. @param {Sighting} s */
export function whereOf(s) {
  return s.picture ? sourceName(s.picture) : `${clock(s.start_s ?? 0)} into ${sourceName(s.source)}`;
}

/** For how long: `4 s`; "" for a photo. @param {Sighting} s */
export function lengthOf(s) {
  return s.picture ? "" : span((s.end_s ?? 0) - (s.start_s ?? 0));
}

/** All of it in one line, for screen readers and titles. @param {Sighting} s */
export function inOneLine(s) {
  const length = lengthOf(s);
  return [whenOf(s), whereOf(s), length && `seen for ${length}`, sureness(s)].filter(Boolean).join(", ");
}

/** The date with a mark where it may be wrong. @param {Sighting} s */
export function whenNode(s) {
  const doubt = dateDoubt(s.recorded_by);
  return [whenOf(s), doubt && when(s.recorded, s.recorded_by) && el("span", { class: "doubt", title: `By ${doubt}` }, " ≈",
    el("span", { class: "unseen", text: ` (by ${doubt})` }))];
}

/** The thing, cut out of its frame. @param {Sighting} s @param {number} [width] */
export function cropShot(s, width = 160, options = {}) {
  return shot(cropUrl(s.source_id, s.frame_ns, s.box, width), 1, 1, "", options);
}

/** The whole frame with the box drawn by the server. @param {Sighting} s @param {number} [width] */
export function frameShot(s, width = 640, ratio = [16, 9], options = {}) {
  return shot(frameUrl(s.source_id, s.frame_ns, { width, box: s.box }), ratio[0], ratio[1], "", { whole: true, ...options });
}

/**
 * A row of a list of sightings: a picture, when, where, how sure.
 * @param {Sighting} s @param {string} to its address
 * @param {{current?: boolean, underDay?: boolean}} [options] underDay: the day stands above it
 */
export function sightingRow(s, to, options = {}) {
  const p = s.probability;
  return el("a", { class: "sighting", href: to, "aria-current": options.current ? "true" : null, data: { sighting: s.id } },
    cropShot(s),
    el("span", { class: "sighting-words" },
      el("span", { class: "sighting-when num", text: (options.underDay && timeOfDay(s.recorded, s.recorded_by)) || whenOf(s) }),
      el("span", { class: "sighting-where num cut", title: s.picture ?? s.source }, s.picture ? whereOf(s)
        : `${clock(s.start_s ?? 0)} · ${lengthOf(s)} · ${sourceName(s.source)}`)),
    el("span", { class: "sighting-sure num" }, p === null ? s.score.toFixed(2) : percent(p),
      p !== null && el("span", { class: "unseen", text: " sure" }),
      el("span", { class: "meter", "aria-hidden": "true", vars: { "--p": p ?? Math.max(0, s.score) } })));
}
