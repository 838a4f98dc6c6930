/** A video with its things as lanes under it: for a sighting, and for the page of a source. */
import { get } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { percent } from "./format.js";
import { Lanes, laneName } from "./lanes.js";
import { Player } from "./player.js";
import { cropOf } from "./question.js";
import { href } from "./router.js";

const MOST_LANES = 1000;

/**
 * @param {import("./types.js").Source} source @param {import("./types.js").Sighting | null} s null: the whole video
 * @param {{search: (crop: string) => void}} then
 * @returns {{stage: HTMLElement, close: () => void, renew: () => void}} renew: ask for the things again
 */
export function showVideo(source, s, then) {
  const player = new Player(source, s);
  const lanes = new Lanes(source, s?.tracks ?? []);
  const stop = new AbortController();
  const hint = () => el("span", { class: "small quiet", text: `Choose a thing on the timeline to see its box${s ? " too" : ""}.` });
  const more = el("div", { class: "lanes-more" }, hint());
  player.addEventListener("time", () => lanes.setTime(player.time()));
  player.addEventListener("search", (/** @type {any} */ event) => then.search(cropOf(source.id, event.detail.ns, event.detail.box)));
  lanes.addEventListener("seek", (/** @type {any} */ event) => player.seek(event.detail));
  lanes.addEventListener("lane", (/** @type {any} */ event) => {
    const lane = event.detail;
    player.showOther(lane?.tracks ?? null, lane ? laneName(lane) : "");
    fill(more, lane ? [el("span", { class: "cut" }, el("b", { text: laneName(lane) }), lane.probability !== null && el("span", { class: "quiet num", text: ` ${percent(lane.probability)}` })),
      el("a", { class: "button is-small", href: href("search", { crop: cropOf(lane.best.source_id, lane.best.frame_ns, lane.best.box) }) }, icon("search"), "Search for this thing")] : hint());
  });
  lanes.setTime(player.time());
  const renew = () => void get(`/sources/${source.id}/things`, { top: MOST_LANES }, { signal: stop.signal }).then((answer) => {
    lanes.set(answer.things);
    for (const one of [lanes.node, more]) one.classList.toggle("is-gone", !answer.things.length);
  }, () => { for (const one of [lanes.node, more]) one.classList.add("is-gone"); });
  renew();
  return { stage: el("div", { class: "show" }, player.node, lanes.node, more), renew,
    close: () => { stop.abort(); player.close(); lanes.close(); } };
}
