/** The panel of conditions: sources, times, nearness, probability. Each change asks again. */
import { button, el, fill, icon } from "./dom.js";
import { percent, sourceName } from "./format.js";
import { suggestNames } from "./typeahead.js";

/** @typedef {import("./question.js").Question} Question */

/**
 * @param {Question} question @param {import("./types.js").Source[]} sources
 * @param {(change: Partial<Question>) => void} change
 */
export function conditionsPanel(question, sources, change) {
  const panel = el("fieldset", { class: "conditions panel", id: "conditions" }, el("legend", { class: "unseen", text: "Conditions" }));
  panel.append(sourceField(question, sources, change),
    timeField("After", "after", question, change), timeField("Before", "before", question, change),
    nearField(question, change), sureField(question, change),
    el("datalist", { id: "moments" }, ["today", "yesterday", "2d", "7d", "30d", "12h", "1:00"].map((v) => el("option", { value: v }))));
  return panel;
}

function sourceField(/** @type {Question} */ question, /** @type {any[]} */ sources, /** @type {any} */ change) {
  const free = sources.filter((s) => !question.source.includes(String(s.id)));
  const select = el("select", { class: "input", id: "in-source", disabled: free.length === 0, on: { change: () => {
    change({ source: [...question.source, select.value] });
  } } }, el("option", { value: "", text: question.source.length ? "and another…" : "all" }),
    free.map((s) => el("option", { value: s.id, text: sourceName(s.source) })));
  return el("div", { class: "field field-source" }, el("label", { for: "in-source", text: "Sources" }), select);
}

function timeField(/** @type {string} */ label, /** @type {"after" | "before"} */ name, /** @type {Question} */ question, /** @type {any} */ change) {
  const input = el("input", { class: "input num", id: `in-${name}`, value: question[name], list: "moments", autocomplete: "off",
    placeholder: "yesterday, 12h, 1:02", "aria-describedby": "moments-help",
    on: { change: () => change({ [name]: input.value.trim().replace(/^(\d+) (min|[hds])$/, "$1$2") }) } });
  return el("div", { class: "field" }, el("label", { for: `in-${name}`, text: label }), input,
    name === "after" && el("span", { class: "unseen", id: "moments-help", text: "A date, an age such as 2d or 12h, or a time in the video such as 1:02" }));
}

function nearField(/** @type {Question} */ question, /** @type {any} */ change) {
  const input = /** @type {HTMLInputElement} */ (el("input", { class: "input", id: "in-near", placeholder: question.near.length ? "and another thing" : "another thing" }));
  let added = false; // the field goes with the answer, which is a change too
  const add = (/** @type {string} */ name) => {
    if (added || !name.trim()) return;
    added = true;
    change({ near: [...question.near, name.trim()] });
  };
  const { list } = suggestNames(input, add);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); add(input.value); } });
  input.addEventListener("change", () => add(input.value));
  const extra = question.near.length > 0 && el("div", { class: "near-more" },
    smallField("within", "within", question.within, "2s", change), smallField("apart", "apart", question.apart, "1", change));
  return el("div", { class: "field field-near" }, el("label", { for: "in-near", text: "Near" }),
    el("div", { class: "has-names" }, input, list), extra);
}

function smallField(/** @type {string} */ label, /** @type {string} */ name, /** @type {string} */ value, /** @type {string} */ usual, /** @type {any} */ change) {
  const input = el("input", { class: "input num", value, placeholder: usual, on: { change: () => change({ [name]: input.value.trim() }) } });
  const help = name === "within" ? "The longest time between the two" : "The largest gap between their boxes, in their longest side";
  return el("label", { class: "near-small", title: help }, el("span", { text: label }), input);
}

function sureField(/** @type {Question} */ question, /** @type {any} */ change) {
  const value = Number(question.min_probability || 0.5);
  const output = el("output", { class: "num", for: "in-sure" });
  const say = (/** @type {number} */ p) => fill(output, percent(p));
  const range = el("input", { type: "range", id: "in-sure", min: 0.05, max: 0.95, step: 0.05, value, on: {
    input: () => say(Number(range.value)),
    change: () => change({ min_probability: range.value === "0.5" ? "" : range.value }) } });
  say(value);
  return el("div", { class: "field field-sure" }, el("label", { for: "in-sure" }, "At least this sure: ", output), range);
}

/** The conditions in force, each with a button that takes it away. */
export function conditionChips(/** @type {{words: string, without: Question}[]} */ conditions, /** @type {(q: Question) => void} */ ask) {
  return el("ul", { class: "chips", "aria-label": "Conditions in force" }, conditions.map(({ words, without }) => el("li", null,
    el("button", { type: "button", class: "chip is-on", "aria-label": `Remove: ${words}`, on: { click: () => ask(without) } },
      el("span", { class: "cut", text: words }), icon("close")))),
    conditions.length > 1 && el("li", null, button("Clear all", { class: "is-plain is-small",
      on: { click: () => ask({ ...conditions[0].without, source: [], after: "", before: "", near: [], within: "", apart: "", min_probability: "" }) } })));
}
