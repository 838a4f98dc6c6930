/** When there is no answer: why, what is nearest, and what to do. */
import { get } from "./api.js";
import { button, el, fill, icon } from "./dom.js";
import { count, percent } from "./format.js";
import { asksNothing, hasConditions, inWords, parameters, withoutConditions } from "./question.js";
import { href } from "./router.js";
import { cropShot, inOneLine, whenNode, whereOf } from "./sighting.js";
import { capital } from "./format.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./types.js").Where} Where */

const USUAL = 0.5;

/**
 * Not found. @param {Question} question @param {Where} answer @param {(s: import("./types.js").Sighting) => string} to
 */
export function notFound(question, answer, to) {
  const what = inWords(question);
  const sure = (/** @type {import("./types.js").Sighting} */ s) => s.probability ?? s.score;
  const misses = answer.near_misses.toSorted((a, b) => sure(b) - sure(a));
  const without = el("div", { class: "without", "aria-live": "polite" });
  if (hasConditions(question)) askWithout(question, without);
  return el("section", { class: "notfound" },
    el("header", { class: "words" }, el("h1", { class: "anywhere", text: `${capital(what)} was not found` }),
      el("p", { class: "words-where", text: reason(question, answer) })),
    without,
    answer.near_misses.length > 0 && [el("h2", { text: "The nearest misses" }),
      el("ul", { class: "misses" }, misses.map((s) => el("li", null, el("a", { class: "miss", href: to(s), data: { sighting: s.id },
        "aria-label": inOneLine(s) }, cropShot(s, 320),
        el("span", { class: "miss-words num" }, el("b", { text: s.probability === null ? `score ${s.score.toFixed(2)}` : percent(s.probability) }),
          el("span", { class: "cut" }, whenNode(s)), el("span", { class: "cut quiet", text: whereOf(s) }))))))],
    el("ul", { class: "advice small" },
      question.text && !question.picture && !question.crop && el("li", null, "A picture of the thing finds more than its name: drop one here, or draw a box in a video."),
      el("li", null, "See what is in the memory: ", el("a", { href: href("things"), text: "all things" }), ".")));
}

/** Why nothing was found, in one sentence. */
function reason(/** @type {Question} */ question, /** @type {Where} */ answer) {
  const best = Math.max(-1, ...answer.near_misses.map((s) => s.probability ?? -1));
  const least = Number(question.min_probability || USUAL);
  if (!answer.near_misses.length) {
    return hasConditions(question) ? "Nothing that meets the conditions looks like it." : "Nothing in this memory looks like it.";
  }
  if (best >= least) {
    return question.near.length ? `It was seen, but not near ${question.near.join(" and ")}.` : "It was seen, but not so that all conditions are met.";
  }
  if (best >= 0) return `The nearest is only ${percent(best)} sure. An answer has to be at least ${percent(least)} sure.`;
  return "What is nearest is not near enough to count as an answer.";
}

/** Say whether the conditions are why: ask the same without them. */
async function askWithout(/** @type {Question} */ question, /** @type {HTMLElement} */ place) {
  const free = withoutConditions(question);
  if (asksNothing(free)) return;
  let answer;
  try { answer = await get("/where", { ...parameters(free), top: 1 }); } catch { return; }
  const again = el("a", { class: "button is-small", href: href("search", parameters(free)), text: "Ask without conditions" });
  fill(place, icon("filter"), answer.found
    ? [el("p", null, "The conditions leave it out. Without them it was seen ", el("b", { text: `${count(answer.total, "time")}` }), ", last ", el("b", { text: inOneLine(answer.sightings[0]) }), "."), again]
    : [el("p", { text: "It is not found without the conditions either." })]);
  place.classList.add("is-there");
}

/**
 * An error in place of an answer. @param {any} error @param {Question} question
 * @param {{ask: (q: Question) => void, again: () => void}} then
 */
export function failed(error, question, then) {
  if (error.kind === "unknown_word") {
    return el("section", { class: "notfound" }, el("header", { class: "words" },
      el("h1", { class: "anywhere", text: `I don't know the word “${unknownPart(error.message, question.text)}”` }),
      el("p", { class: "words-where", text: "The encoder of this memory knows a fixed list of names, and this is none of them. So this is not the same as not found." })),
    error.near.length > 0 && [el("h2", { text: "Did you mean" }), el("ul", { class: "chips is-large" }, error.near.map((/** @type {string} */ name) => el("li", null,
      el("button", { type: "button", class: "chip", text: name, on: { click: () => then.ask({ ...question, text: replaced(question.text, error.message, name) }) } }))))],
    el("ul", { class: "advice small" }, el("li", { text: "A picture needs no name: drop one here, paste it, or draw a box in a video." })));
  }
  const heading = { gone: "The server does not answer", busy: "The server is busy", usage: "This question cannot be answered",
    not_found: question.picture ? "The picture is no longer kept" : "This is no longer in the memory" }[error.kind] ?? "That did not work";
  const words = error.kind === "gone" ? "This page asks again as soon as it is back."
    : error.kind === "not_found" && question.picture ? "The server keeps pictures for a while only. Choose or drop it again." : readable(error.message);
  return el("section", { class: "notfound", role: "alert" }, el("header", { class: "words" }, el("h1", { text: heading }), el("p", { class: "words-where anywhere", text: words })),
    ["gone", "busy", "locked", "server", "store"].includes(error.kind) && button("Try again", { class: "is-primary", on: { click: then.again } }, "refresh"));
}

/** A message of the API without the names of its parameters. @param {string} message */
const readable = (message) => capital(message.replace(/ \(`[^`]*`\)/g, "").replaceAll("`", ""));

/** The word that the message quotes, or all of the question. */
function unknownPart(/** @type {string} */ message, /** @type {string} */ text) {
  return /word ['"‘“](.+?)['"’”]/.exec(message)?.[1] ?? text;
}

/** The question with the unknown word replaced. */
function replaced(/** @type {string} */ text, /** @type {string} */ message, /** @type {string} */ name) {
  const part = unknownPart(message, text);
  return text.includes(part) ? text.replace(part, () => name) : name;
}
