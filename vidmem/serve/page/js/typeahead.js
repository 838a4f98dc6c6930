/** Suggestions under a text field: the names that the encoder knows, as an ARIA combobox with a list. */
import { get } from "./api.js";
import { el, fill } from "./dom.js";

const WAIT_MS = 70;
const MOST = 8;
let numbers = 0;

/**
 * Make `input` a combobox. @param {HTMLInputElement} input @param {(name: string) => void} choose
 * @returns {{list: HTMLElement, close: () => void}} put the list after the field
 */
export function suggestNames(input, choose) {
  const id = `names-${++numbers}`;
  const list = el("ul", { class: "names", id, role: "listbox", "aria-label": "Names that are known", hidden: true });
  Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": id, "aria-expanded": "false",
    autocomplete: "off", autocapitalize: "off", spellcheck: "false" }).forEach(([name, value]) => input.setAttribute(name, value));
  /** @type {{name: string, another_name_for: string | null}[]} */
  let names = [];
  let at = -1;
  let timer = 0;
  /** @type {AbortController | null} */
  let asking = null;

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(/** @type {number} */ to) {
    at = to;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", `${id}-${at}`);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function take(/** @type {number} */ i) {
    const { name } = names[i];
    close();
    choose(name);
  }

  async function ask() {
    const prefix = input.value.trim();
    asking?.abort();
    if (!prefix) { close(); return; }
    asking = new AbortController();
    try {
      const answer = await get("/names", { prefix, limit: MOST }, { signal: asking.signal });
      if (document.activeElement !== input) return;
      names = answer.names;
    } catch { return; } // no suggestions: the question itself tells what is wrong
    if (!names.length || (names.length === 1 && names[0].name === prefix.toLowerCase())) { close(); return; }
    fill(list, names.map((one, i) => el("li", { role: "option", id: `${id}-${i}`, "aria-selected": "false", on: {
      pointerdown: (/** @type {Event} */ event) => event.preventDefault(), click: () => take(i) } },
      marked(one.name, prefix), one.another_name_for && el("span", { class: "names-of", text: one.another_name_for }))));
    list.hidden = false;
    at = -1;
    input.setAttribute("aria-expanded", "true");
  }

  input.addEventListener("input", () => { clearTimeout(timer); timer = window.setTimeout(ask, WAIT_MS); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden || event.isComposing) return;
    const n = names.length;
    if (event.key === "ArrowDown") mark(at + 1 < n ? at + 1 : -1);
    else if (event.key === "ArrowUp") mark(at < 0 ? n - 1 : at - 1);
    else if (event.key === "Enter" && at >= 0) take(at);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  });
  return { list, close };
}

/** @param {string} name @param {string} part in bold where it is in the name */
function marked(name, part) {
  const from = name.toLowerCase().indexOf(part.toLowerCase());
  if (from < 0) return el("span", { text: name });
  return el("span", null, name.slice(0, from), el("b", { text: name.slice(from, from + part.length) }), name.slice(from + part.length));
}
