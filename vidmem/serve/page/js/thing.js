/** One thing: a sighting of it that plays, what it may be called, and every other sighting. */
import { get } from "./api.js";
import { showSighting, sourceOf } from "./answer.js";
import { announce, el, fill, icon } from "./dom.js";
import { capital, count, percent, span } from "./format.js";
import { emptyView, facts, failure, rem } from "./parts.js";
import { cropOf } from "./question.js";
import { go, href, title } from "./router.js";
import { sightingRow, whenOf, whereOf } from "./sighting.js";
import { virtualGrid } from "./virtual.js";

const MOST_TRACKS = 2000;

/** @typedef {import("./types.js").Sighting} Sighting */

export class ThingPage {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.turn = 0;
    this.track = "";
    /** @type {any} */ this.thing = null;
    /** @type {Sighting[]} */ this.sightings = [];
    /** @type {ReturnType<typeof virtualGrid> | null} */ this.grid = null;
    /** @type {(() => void) | null} */ this.closeShown = null;
  }

  /**
   * @param {string} track one of the tracks of the thing @param {string} id of the sighting to play; "" for the best one
   * @param {Object<string, any>} list the parameters of the gallery that it was opened from
   */
  async show(track, id, list) {
    if (this.track === track && this.thing) { title(nameOf(this.thing)); await this.play(id); return; }
    this.close();
    const mine = ++this.turn;
    this.track = track;
    const up = el("a", { class: "button is-plain is-small page-back", href: href("things", list) }, icon("left"), "All things");
    fill(this.root, up, el("div", { class: "thing-head" }, el("div", { class: "skeleton thing-blank" })));
    let thing, sightings = [];
    try {
      thing = (await get("/things", { track, top: 1 })).things[0];
      if (thing) ({ sightings } = await get("/sightings", { tracks: thing.tracks.slice(0, MOST_TRACKS).join(",") }));
    } catch (error) {
      if (mine !== this.turn) return;
      this.track = "";
      fill(this.root, up, failure(error, () => void this.show(track, id, list)));
      return;
    }
    if (mine !== this.turn) return;
    if (!thing) {
      fill(this.root, up, emptyView("This thing is not in the memory", ["It may have been forgotten, or its source was indexed again."]));
      return;
    }
    this.thing = thing;
    this.sightings = sightings;
    this.list = list;
    title(nameOf(thing));
    announce(`${nameOf(thing)}, ${count(sightings.length, "sighting")}`);
    this.stage = el("div", { class: "thing-stage" });
    const others = el("section", { class: "thing-others", "aria-labelledby": "thing-others" },
      el("h2", { id: "thing-others", class: "section-head", text: count(sightings.length, "sighting") }));
    await this.play(id);  // before anything is shown, so that nothing moves
    if (mine !== this.turn) return;
    fill(this.root, up, el("div", { class: "thing-head" }, this.stage, words(thing), others));
    this.grid = virtualGrid(others, {
      label: "Sightings",
      gap: 8,
      size: (wide) => ({ columns: Math.max(1, Math.floor(wide / (22 * rem()))), height: Math.round(5 * rem()) }),
      load: async (offset, top) => ({ total: sightings.length, items: sightings.slice(offset, offset + top) }),
      cell: (s) => sightingRow(s, href("things", { ...list, thing: track, id: s.id }), { current: s.id === this.marked }),
    });
  }

  /** @param {string} id */
  async play(id) {
    const s = this.sightings.find((one) => one.id === id) ?? this.thing.best;
    if (this.playing === s.id && this.closeShown) return;
    this.playing = s.id;
    this.marked = this.sightings.find((one) => one.id === s.id || sameMoment(one, s))?.id;
    const source = await sourceOf(s);
    if (this.playing !== s.id || !this.stage) return;
    this.closeShown?.();
    const shown = showSighting(s, source, { search: (crop) => go("search", { crop }) });
    this.closeShown = shown.close;
    fill(this.stage, shown.stage);
    for (const row of this.root.querySelectorAll("[data-sighting]")) {
      if (/** @type {HTMLElement} */ (row).dataset.sighting === this.marked) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    if (this.grid && this.root.getBoundingClientRect().top < 0) this.root.scrollIntoView();
  }

  close() {
    this.turn++;
    this.closeShown?.();
    this.grid?.destroy();
    this.closeShown = this.grid = this.thing = this.stage = null;
    this.track = this.playing = "";
    fill(this.root);
  }
}

/** True for two sightings of one stretch of time, or of one photo. @param {Sighting} a @param {Sighting} b */
function sameMoment(a, b) {
  return a.source_id === b.source_id && (a.picture ? a.frame_ns === b.frame_ns : a.start_ns === b.start_ns);
}

/** @param {any} thing */
function nameOf(thing) {
  return thing.named ? capital(thing.name) : `Perhaps ${thing.name}`;
}

/** @param {any} thing */
function words(thing) {
  const { best, last } = thing;
  return el("div", { class: "thing-words" },
    el("h1", { text: nameOf(thing) }),
    thing.probability !== null && el("ul", { class: "guesses", "aria-label": "What it may be called" },
      thing.guesses.map((/** @type {any} */ guess) => el("li", null, el("span", { class: "cut", text: guess.name }),
        el("span", { class: "meter", "aria-hidden": "true", vars: { "--p": guess.probability ?? 0 } }),
        el("span", { class: "num", text: guess.probability === null ? "" : percent(guess.probability) })))),
    facts([["In view", thing.seen_s ? `${span(thing.seen_s)}, ${count(thing.sightings, "time")}` : `in ${count(thing.frames, "photo")}`],
      ["Last seen", `${whenOf(last)}, ${whereOf(last)}`],
      ["Best view", `${whenOf(best)}, ${whereOf(best)}`]]),
    el("div", { class: "chips" },
      el("a", { class: "button is-primary", href: href("search", { crop: cropOf(best.source_id, best.frame_ns, best.box) }) },
        icon("search"), "Find what looks like it"),
      thing.named && el("a", { class: "button", href: href("search", { text: thing.name }) }, `Search “${thing.name}”`)));
}
