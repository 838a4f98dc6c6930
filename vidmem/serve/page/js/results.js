/** The list of sightings beside the answer, in groups by day. */
import { append, el, fill } from "./dom.js";
import { day, sourceName } from "./format.js";
import { sightingRow } from "./sighting.js";

/** @typedef {import("./types.js").Sighting} Sighting */

/**
 * @param {Sighting[]} sightings newest first @param {(s: Sighting) => string} to the address of each
 * @param {string} current the id of the one on show
 */
export function sightingList(sightings, to, current) {
  const groupOf = (/** @type {Sighting} */ s) => (s.recorded ? day(new Date(s.recorded)) : sourceName(s.source));
  const several = new Set(sightings.map(groupOf)).size > 1;
  const list = el("div", { class: "sightings" });
  let group = "";
  /** @type {HTMLElement | null} */
  let rows = null;
  for (const s of sightings) {
    const name = groupOf(s);
    if (name !== group || !rows) {
      group = name;
      rows = el("ol", { class: "sightings-rows", "aria-label": name });
      append(list, [several && el("h3", { class: "sightings-day", text: name }), rows]);
    }
    rows.append(el("li", null, sightingRow(s, to(s), { current: s.id === current, underDay: several && s.recorded !== null })));
  }
  return list;
}

/** Mark the one on show. @param {HTMLElement} root @param {string} id */
export function markCurrent(root, id) {
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-sighting]"))) {
    if (row.dataset.sighting === id) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

/** Move the focus through the rows. @param {HTMLElement} root @param {number} by @returns {boolean} whether there is one */
export function moveFocus(root, by) {
  const rows = /** @type {HTMLElement[]} */ ([...root.querySelectorAll("[data-sighting]")]);
  if (!rows.length) return false;
  const at = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const from = at >= 0 ? at : rows.findIndex((row) => row.hasAttribute("aria-current"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, from + by))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  return true;
}

/** Rows without pictures, for the time of waiting. */
export function waitingList(/** @type {number} */ n = 4) {
  return fill(el("div", { class: "sightings", "aria-hidden": "true" }), Array.from({ length: n }, () => el("div", { class: "sighting is-waiting" },
    el("div", { class: "skeleton sighting-blank" }), el("div", { class: "sighting-words" }, el("div", { class: "skeleton line" }), el("div", { class: "skeleton line is-short" })))));
}
