/** One photo: what it shows, when it was taken, where its files are. */
import { get } from "./api.js";
import { announce, el, fill, icon, iconButton } from "./dom.js";
import { count, dateDoubt, percent, sourceName, when } from "./format.js";
import { boxed } from "./haystack.js";
import { emptyView, facts, failure } from "./parts.js";
import { cropOf } from "./question.js";
import { href, title } from "./router.js";

let turn = 0;

/**
 * @param {HTMLElement} root @param {string} place `source@ns`
 * @param {{at: number, total: number, step: (by: number) => void} | null} among its place in the gallery
 */
export async function showPhoto(root, place, among) {
  const mine = ++turn;
  const [source, ns] = place.split("@");
  if (!root.childElementCount) fill(root, el("div", { class: "photo-bar" }, back()), el("div", { class: "skeleton photo-blank" }));
  let photo;
  try {
    photo = await get(`/photos/${encodeURIComponent(source)}/${encodeURIComponent(ns ?? "")}`);
  } catch (error) {
    if (mine !== turn) return;
    const gone = /** @type {any} */ (error).status === 404;
    fill(root, back(), gone ? emptyView("This photo is not in the memory", ["It may have been forgotten."])
      : failure(error, () => void showPhoto(root, place, among)));
    return;
  }
  if (mine !== turn) return;
  const name = photo.image ? sourceName(photo.image) : "A photo whose file is gone";
  title(name);
  announce(name);
  const named = photo.things.filter((/** @type {any} */ thing) => thing.named);
  const picture = boxed(photo, photo.width, photo.height, [], 1920);
  const doubt = dateDoubt(photo.recorded_by);
  fill(root, el("div", { class: "photo-bar" }, back(), among && el("div", { class: "photo-steps" },
      el("span", { class: "num small quiet", text: among.total ? `${among.at + 1} of ${among.total.toLocaleString("en-GB")}` : "" }),
      iconButton("left", "The photo before", { disabled: among.at === 0, on: { click: () => among.step(-1) } }),
      iconButton("right", "The photo after", { disabled: among.at + 1 === among.total, on: { click: () => among.step(1) } }))),
    el("div", { class: "photo-page" },
      el("div", { class: "photo-large" }, picture),
      el("div", { class: "photo-words" },
        el("h1", { class: "anywhere", text: name }),
        facts([["Taken", [when(photo.recorded, photo.recorded_by) || "No date", doubt && el("span", { class: "quiet", text: ` (${doubt})` })]],
          ["Size", `${photo.width} × ${photo.height}`],
          [photo.paths.length > 1 ? `${photo.paths.length} files` : "File", photo.paths.map((/** @type {string} */ path) => el("span", { class: "photo-path", text: path }))]]),
        el("h2", { class: "section-head", text: named.length ? count(named.length, "thing") + " with a name" : "No thing with a sure name" }),
        el("ul", { class: "photo-things" }, named.map((/** @type {any} */ thing) => thingRow(photo, thing, picture))))));
}

/** @param {any} photo @param {any} thing @param {HTMLElement} picture */
function thingRow(photo, thing, picture) {
  /** @type {HTMLElement | null} */ let mark = null;
  const show = () => {
    mark ??= /** @type {HTMLElement} */ (boxed(photo, photo.width, photo.height, [{ box: thing.box, words: thing.name, kind: "anchor" }], 1).lastElementChild);
    picture.append(mark);
  };
  const hide = () => mark?.remove();
  return el("li", null, el("a", { class: "chip", href: href("search", { crop: cropOf(photo.source_id, photo.frame_ns, thing.box) }),
    on: { pointerenter: show, pointerleave: hide, focus: show, blur: hide } },
    thing.name, el("span", { class: "num quiet", text: thing.probability === null ? "" : percent(thing.probability) })));
}

function back() {
  return el("a", { class: "button is-plain is-small page-back", href: href("photos") }, icon("left"), "All photos");
}
