/** The answer to a question about one photo of many, with both boxes drawn. */
import { frameUrl, get } from "./api.js";
import { announce, el, fill, shot } from "./dom.js";
import { count, sourceName, when } from "./format.js";
import { href } from "./router.js";

let turn = 0;

/** @param {HTMLElement} root @param {string} anchor @param {string} target */
export async function showAnswer(root, anchor, target) {
  const mine = ++turn;
  root.setAttribute("aria-busy", "true");
  if (!root.childElementCount) fill(root, el("div", { class: "panel haystack" }, el("div", { class: "skeleton haystack-shot" })));
  let found;
  try {
    found = await get("/haystack", { anchor, target });
  } catch (error) {
    if (mine === turn) fill(root, failed(/** @type {any} */ (error), anchor, target));
    return;
  } finally {
    if (mine === turn) root.setAttribute("aria-busy", "false");
  }
  if (mine !== turn) return;
  const heading = { yes: `Yes: there is ${a(target)}`, no: `No ${target} in it`, "not found": `No photo with ${a(anchor)}` }[found.answer] ?? "";
  announce(heading);
  if (found.answer === "not found") {
    fill(root, el("div", { class: "panel haystack is-none" }, el("h2", { text: heading }),
      el("p", { class: "quiet", text: found.near_misses.length ? "These come nearest, and none is near enough to count:"
        : "Nothing comes near." }),
      el("ul", { class: "haystack-near" }, found.near_misses.map((/** @type {any} */ near) => el("li", null,
        el("a", { class: "haystack-miss", href: toPhoto(near) },
          boxed(near, near.width, near.height, [{ box: near.box, words: anchor, kind: "anchor" }], 320, !near.width),
          el("span", { class: "num small cut", text: near.image ? sourceName(near.image) : "" }),
          el("span", { class: "num small quiet", text: `score ${near.score.toFixed(2)}` })))))));
    return;
  }
  const yes = found.answer === "yes";
  const boxes = [{ box: found.anchor_box, words: anchor, kind: "anchor" }];
  if (yes && found.target_box) boxes.push({ box: found.target_box, words: target, kind: "target" });
  const others = found.pictures > 1 ? `${count(found.pictures, "photo")} have ${a(anchor)}; this one is most like it.` : "";
  fill(root, el("div", { class: "panel haystack" },
    el("a", { class: "haystack-shot", href: toPhoto(found), "aria-label": `Open ${name(found)}` }, boxed(found, found.width, found.height, boxes, 960)),
    el("div", { class: "haystack-words" },
      el("h2", { class: yes ? "is-yes" : "", text: heading }),
      el("p", { class: "anywhere", text: `In ${name(found)}` }),
      el("p", { class: "quiet num", text: when(found.recorded, found.recorded_by) }),
      others && el("p", { class: "quiet", text: others }),
      el("ul", { class: "haystack-scores" },
        score(anchor, found.anchor_score, "anchor"),
        found.target_score !== null && score(target, found.target_score, "target", yes ? "" : "not enough")))));
}

/** @param {string} word @param {number} value @param {string} kind @param {string} [why] */
function score(word, value, kind, why = "") {
  return el("li", null, el("span", { class: `swatch is-${kind}`, "aria-hidden": "true" }), el("span", { class: "cut", text: word }),
    el("span", { class: "num quiet", text: [`score ${value.toFixed(2)}`, why].filter(Boolean).join(", ") }));
}

/**
 * A photo with boxes over it. @param {{source_id: number, frame_ns: string}} photo @param {number} width @param {number} height
 * @param {{box: number[], words: string, kind: string}[]} boxes in pixels of the photo @param {number} wide
 */
export function boxed(photo, width, height, boxes, wide, drawn = false) {
  const url = frameUrl(photo.source_id, photo.frame_ns, { width: wide, box: drawn ? boxes[0]?.box : undefined });
  const picture = shot(url, width || 4, height || 3, "", { whole: true, eager: true, class: "boxed" });
  for (const { box, words, kind } of drawn ? [] : boxes) {
    const [x0, y0, x1, y1] = box;
    picture.append(el("span", { class: `boxed-box is-${kind}`, vars: { "--x": x0 / width, "--y": y0 / height,
      "--bw": (x1 - x0) / width, "--bh": (y1 - y0) / height } },
      el("span", { class: y0 / height > 0.1 ? "boxed-label" : "boxed-label is-inside", text: words })));
  }
  return picture;
}

/** @param {any} error @param {string} anchor @param {string} target */
function failed(error, anchor, target) {
  const [before, after] = error.near?.length ? [" Known names near it: ", "."] : ["", ""];
  const wrong = error.message?.includes(target) ? "target" : "anchor";
  return el("div", { class: "panel haystack is-none", role: "alert" }, el("p", null, error.message, before,
    error.near?.map((/** @type {string} */ near, /** @type {number} */ i) => [i > 0 && ", ",
      el("a", { href: href("photos", wrong === "target" ? { anchor, target: near } : { anchor: near, target }), text: near })]), after));
}

/** @param {string} word */
function a(word) {
  return /^[aeiou]/i.test(word) ? `an ${word}` : `a ${word}`;
}

/** @param {any} found */
function name(found) {
  return found.image ? sourceName(found.image) : "a photo whose file is gone";
}

/** @param {any} photo */
function toPhoto(photo) {
  return href("photos", { photo: `${photo.source_id}@${photo.frame_ns}` });
}
