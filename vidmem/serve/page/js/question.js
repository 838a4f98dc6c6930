/**
 * A question: what is looked for, and the conditions. It is read from the address of the page and written to it.
 * @typedef {{text: string, picture: string, crop: string, source: string[], after: string, before: string,
 *   near: string[], within: string, apart: string, min_probability: string}} Question
 */
import { percent } from "./format.js";

const ONE = ["text", "picture", "crop", "after", "before", "within", "apart", "min_probability"];
const SEVERAL = ["source", "near"];
const CONDITIONS = ["source", "after", "before", "near", "within", "apart", "min_probability"];

/** @param {URLSearchParams} [params] @returns {Question} */
export function readQuestion(params = new URLSearchParams()) {
  /** @type {any} */
  const question = {};
  for (const name of ONE) question[name] = (params.get(name) ?? "").trim();
  for (const name of SEVERAL) question[name] = [...new Set(params.getAll(name).map((v) => v.trim()).filter(Boolean))];
  return question;
}

/** The parameters of a question, for the API and for the address. Conditions on nearness need something to be near. */
export function parameters(/** @type {Question} */ question) {
  const { within, apart, ...rest } = question;
  return question.near.length ? { ...rest, within, apart } : rest;
}

/** @param {Question} question */
export function asksNothing(question) {
  return !question.text && !question.picture && !question.crop;
}

/** @param {Question} question */
export function hasConditions(question) {
  return ["source", "after", "before", "near", "min_probability"].some((name) => question[name].length > 0);
}

/** @param {Question} question @returns {Question} the same without conditions */
export function withoutConditions(question) {
  return { ...question, ...Object.fromEntries(CONDITIONS.map((name) => [name, SEVERAL.includes(name) ? [] : ""])) };
}

/** What is asked, in words: `"cup"`, `this picture`, `"cup" and this picture`. @param {Question} question */
export function inWords(question) {
  const seen = question.picture ? "this picture" : question.crop ? "what is in this box" : "";
  const words = question.text ? `“${question.text}”` : "";
  return words && seen ? `${words} and ${seen}` : words || seen;
}

/** For the title of the page. @param {Question} question */
export function shortly(question) {
  return question.text || (question.picture ? "a picture" : question.crop ? "a box" : "");
}

/**
 * The conditions as chips: words, and the question without this one.
 * @param {Question} question @param {(id: string) => string} nameOf the name of a source
 * @returns {{words: string, without: Question}[]}
 */
export function conditionsInWords(question, nameOf) {
  const out = question.source.map((id) => ({ words: `in ${nameOf(id)}`,
    without: { ...question, source: question.source.filter((other) => other !== id) } }));
  if (question.after) out.push({ words: `after ${question.after}`, without: { ...question, after: "" } });
  if (question.before) out.push({ words: `before ${question.before}`, without: { ...question, before: "" } });
  for (const thing of question.near) {
    out.push({ words: `near ${thing}`, without: { ...question, near: question.near.filter((other) => other !== thing) } });
  }
  if (question.min_probability) {
    out.push({ words: `at least ${percent(Number(question.min_probability))} sure`,
      without: { ...question, min_probability: "" } });
  }
  return out;
}

/** A box of a source as the API takes it. @param {number} source @param {string | number} ns @param {number[]} box */
export function cropOf(source, ns, box) {
  const [x0, y0, x1, y1] = box.map(Math.round);
  return `${source}@${ns}ns:${x0},${y0},${Math.max(1, x1 - x0)},${Math.max(1, y1 - y0)}`;
}

/** The parts of what `cropOf` wrote, or null. @param {string} crop */
export function readCrop(crop) {
  const match = /^(\d+)@(-?\d+)ns:(-?\d+),(-?\d+),(\d+),(\d+)$/.exec(crop);
  if (!match) return null;
  const [x, y, w, h] = match.slice(3).map(Number);
  return { source: Number(match[1]), ns: match[2], box: [x, y, x + w, y + h] };
}
