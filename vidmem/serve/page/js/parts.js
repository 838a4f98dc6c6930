/** Parts that the galleries share. */
import { once } from "./api.js";
import { button, el, fill, iconButton, toast } from "./dom.js";
import { sourceName } from "./format.js";

/** The size of 1rem in px. */
export function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/**
 * A choice of one of a few, as radio buttons side by side.
 * @param {string} label @param {string} name @param {string[][]} choices values and their words
 * @param {(value: string) => void} chosen
 */
export function segmented(label, name, choices, chosen) {
  const inputs = choices.map(([value]) => /** @type {HTMLInputElement} */ (el("input", { type: "radio", name, value,
    on: { change: () => chosen(value) } })));
  const node = el("fieldset", { class: "segmented" }, el("legend", { class: "unseen", text: label }),
    choices.map(([, words], i) => el("label", null, inputs[i], el("span", { text: words }))));
  return { node, set: (/** @type {string} */ value) => { for (const input of inputs) input.checked = input.value === value; } };
}

/** A choice of one source, or of all. @param {string} id @param {(value: string) => void} chosen */
export function sourceChoice(id, chosen) {
  const select = /** @type {HTMLSelectElement} */ (el("select", { class: "input", id, "aria-label": "Source",
    on: { change: () => chosen(select.value) } }, el("option", { value: "", text: "All sources" })));
  const node = el("div", { class: "source-choice" }, select);
  let value = "";
  once("/sources").then(({ sources }) => {
    for (const one of sources) select.append(el("option", { value: one.id, text: sourceName(one.source) }));
    select.value = value;
  }, () => {});
  return { node, set: (/** @type {string} */ to) => { value = to; select.value = to; } };
}

/** A command to copy. @param {string} command */
export function commandLine(command) {
  const copy = iconButton("copy", "Copy the command", { on: { click: async () => {
    try { await navigator.clipboard.writeText(command); toast("Copied."); } catch { toast("The browser does not allow to copy."); }
  } } });
  return el("p", { class: "command" }, el("code", { text: command, tabindex: "0" }), copy);
}

/** What stands where there is nothing. @param {string} heading @param {any[]} lines @param {...any} more */
export function emptyView(heading, lines, ...more) {
  return el("div", { class: "empty" }, el("h2", { text: heading }), lines.map((line) => el("p", null, line)), more);
}

/** For a memory with nothing in it. @param {any} server @param {string} heading @param {string} words */
export function noMemory(server, heading, words, what = "FOLDER") {
  return emptyView(heading, [words], server.allow_write
    ? el("a", { class: "button is-primary", href: "#/sources", text: "Index something" })
    : [el("p", { text: "Index videos or photos, and this page fills by itself:" }), commandLine(`vidmem index ${what}`)]);
}

/** What went wrong, and a button to try again. @param {any} error @param {() => void} again */
export function failure(error, again) {
  const node = emptyView("That did not work", [error?.message ?? String(error)],
    button("Try again", { on: { click: () => { node.remove(); again(); } } }, "refresh"));
  node.setAttribute("role", "alert");
  return node;
}

/** A list of terms and what they are; without a value a term is left out. @param {[string, any][]} facts */
export function facts(facts) {
  return el("dl", { class: "facts" }, facts.filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false)
    .map(([term, value]) => el("div", null, el("dt", { text: term }), fill(el("dd", { class: "num anywhere" }), value))));
}
