/** The search field: words with suggestions, a picture or a box beside them, and the conditions below. */
import { cropUrl } from "./api.js";
import { conditionChips, conditionsPanel } from "./conditions.js";
import { el, fill, icon, iconButton, shot } from "./dom.js";
import { sourceName } from "./format.js";
import { thumbnail } from "./pictures.js";
import { conditionsInWords, readCrop } from "./question.js";
import { suggestNames } from "./typeahead.js";

/** @typedef {import("./question.js").Question} Question */

export class SearchBar {
  /**
   * @param {{ask: (question: Question, refine?: boolean) => void, picture: (file: File) => void}} then
   */
  constructor(then) {
    this.then = then;
    /** @type {Question | null} */
    this.question = null;
    /** @type {import("./types.js").Source[]} */
    this.sources = [];
    this.open = false;
    this.input = /** @type {HTMLInputElement} */ (el("input", { class: "ask-input", id: "ask", name: "text", type: "text", maxlength: 200,
      "aria-label": "What to look for", placeholder: matchMedia("(max-width: 34rem)").matches ? "Name a thing" : "Name a thing, or drop its picture here", enterkeyhint: "search", "aria-keyshortcuts": "/" }));
    this.names = suggestNames(this.input, (name) => { this.input.value = name; this.#submit(); });
    this.file = /** @type {HTMLInputElement} */ (el("input", { type: "file", accept: "image/*", class: "unseen", tabindex: "-1", "aria-hidden": "true",
      on: { change: () => { const [file] = this.file.files ?? []; if (file) then.picture(file); this.file.value = ""; } } }));
    this.parts = el("span", { class: "ask-parts" });
    this.clear = iconButton("close", "Clear", { class: "ask-clear", on: { click: () => { this.input.value = ""; this.#shown(); this.input.focus(); } } });
    this.toggle = iconButton("filter", "Conditions", { class: "ask-filter", "aria-expanded": "false", "aria-controls": "conditions",
      on: { click: () => this.setOpen(!this.open) } });
    this.form = el("form", { class: "ask", role: "search", on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); this.#submit(); } } },
      el("div", { class: "ask-field" }, el("span", { class: "ask-icon" }, icon("search")), this.parts, this.input, this.clear,
        iconButton("picture", "Search by a picture", { class: "ask-picture", on: { click: () => this.file.click() } }), this.toggle,
        el("button", { type: "submit", class: "button is-primary ask-go" }, el("span", { class: "ask-go-icon" }, icon("right")), el("span", { class: "ask-go-word", text: "Search" })), this.file),
      this.names.list);
    this.under = el("div", { class: "ask-under", on: { keydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !this.open) return;
      this.setOpen(false);
      this.toggle.focus();
      event.preventDefault();
    } } });
    this.node = el("div", { class: "ask-box" }, this.form, this.under);
    this.input.addEventListener("input", () => this.#shown());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { this.input.blur(); event.preventDefault(); }
      else if (event.key === "Backspace" && !this.input.value) this.#dropPart();
    });
  }

  #submit() {
    this.names.close();
    if (!this.question) return;
    this.then.ask({ ...this.question, text: this.input.value.trim() });
    this.input.blur();
  }

  #dropPart() {
    if (this.question?.picture || this.question?.crop) this.then.ask({ ...this.question, picture: "", crop: "" }, true);
  }

  #shown() {
    this.clear.hidden = !this.input.value;
  }

  setOpen(/** @type {boolean} */ open) {
    this.open = open;
    this.#under();
    if (open) /** @type {HTMLElement | null} */ (this.under.querySelector("select:not(:disabled), input"))?.focus();
  }

  /** @param {Question} question @param {import("./types.js").Source[]} sources */
  show(question, sources) {
    this.question = question;
    this.sources = sources;
    if (document.activeElement !== this.input || question.text) this.input.value = question.text;
    this.#shown();
    fill(this.parts, this.#part(question));
    this.#under();
  }

  #part(/** @type {Question} */ question) {
    const without = () => this.then.ask({ ...question, text: this.input.value.trim(), picture: "", crop: "" }, true);
    const place = question.crop ? readCrop(question.crop) : null;
    if (!question.picture && !place) return null;
    const words = question.picture ? "picture" : "box";
    const look = question.picture ? thumbnail(question.picture) ?? el("span", { class: "ask-thumb" }, icon("picture"))
      : shot(cropUrl(place.source, place.ns, place.box, 160), 1, 1, "", { class: "ask-thumb" });
    return el("span", { class: "ask-part" }, look, el("span", { class: "ask-part-name", text: words }),
      iconButton("close", `Remove the ${words}`, { on: { click: without } }));
  }

  #under() {
    const question = this.question;
    if (!question) return;
    const held = document.activeElement?.id;
    const conditions = conditionsInWords(question, (id) => {
      const source = this.sources.find((one) => String(one.id) === id);
      return source ? sourceName(source.source) : `source ${id}`;
    });
    this.toggle.setAttribute("aria-expanded", String(this.open));
    this.toggle.classList.toggle("is-on", conditions.length > 0);
    fill(this.under, this.open && conditionsPanel(question, this.sources, (change) => this.then.ask({ ...question, text: this.input.value.trim(), ...change }, true)),
      conditions.length > 0 && conditionChips(conditions, (to) => this.then.ask(to, true)));
    if (held && this.open) /** @type {HTMLElement | null} */ (this.under.querySelector(`#${CSS.escape(held)}`))?.focus();
  }
}
