/** The view "Search": the field, and under it the first screen, an answer, or why there is none. */
import { get, listen } from "./api.js";
import { howMany, showSighting, sightingActions, sightingWords, sourceOf, sources } from "./answer.js";
import { announce, button, el, fill, toast } from "./dom.js";
import { showHome } from "./home.js";
import { bindKeys } from "./keys.js";
import { failed, notFound } from "./notfound.js";
import { sendPicture } from "./pictures.js";
import { asksNothing, inWords, parameters, readQuestion, shortly } from "./question.js";
import { markCurrent, moveFocus, sightingList, waitingList } from "./results.js";
import { go, here, href, title } from "./router.js";
import { SearchBar } from "./searchbar.js";
import { inOneLine, sightingRow } from "./sighting.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./types.js").Sighting} Sighting */

const FIRST = 40;
const WAIT_MS = 140;
const NARROW = matchMedia("(max-width: 63.99rem)");

/** @param {HTMLElement} root @param {import("./router.js").Context} context @returns {import("./router.js").View} */
export function mount(root, context) {
  const view = new SearchView(root);
  shown = view;
  return { update: (params) => view.update(params), unmount: () => { shown = null; view.close(); }, ready: view.update(context.params) };
}

/** @type {SearchView | null} */
let shown = null;

/** Search by a picture, from any view. @param {File} file */
export async function searchByPicture(file) {
  if (shown) { await shown.send(file); return; }
  try {
    go("search", { picture: await sendPicture(file) });
  } catch (error) {
    toast(error.message);
  }
}

/** Put the cursor into the search field. */
export function focusField() {
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById("ask"));
  field?.focus();
  field?.select();
}

/** Whether the answer has all sightings. `total` counts the times that it was seen, which may be less. */
function isAll(/** @type {import("./types.js").Where} */ { sightings }) {
  return sightings.length < FIRST || here().params.has("all");
}

class SearchView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.bar = new SearchBar({ ask: (question, refine) => this.ask(question, refine), picture: (file) => this.send(file) });
    this.heading = el("h1", { class: "home-title", text: "When did you last see it?" });
    this.below = el("div", { class: "below" });
    this.node = el("div", { class: "search is-home" }, el("div", { class: "search-head" }, this.heading, this.bar.node), this.below);
    root.append(this.node);
    this.stop = new AbortController();
    /** @type {{key: string, answer: import("./types.js").Where} | null} */
    this.last = null;
    /** @type {(() => void) | null} */
    this.closeShown = null;
    this.question = readQuestion();
    this.selection = 0;
    this.ends = [bindKeys(this.#keys()), listen("memory", () => this.#changed())];
    this.back = () => { this.last = null; this.update(here().params); };
    addEventListener("vidmem:back", this.back);
    this.placeWords = () => this.#placeWords();
    NARROW.addEventListener("change", this.placeWords);
  }

  #keys() {
    return [
      { keys: ["j", "ArrowDown"], does: "Next sighting", group: "Sightings", run: () => moveFocus(this.below, 1) },
      { keys: ["k", "ArrowUp"], does: "Sighting before", group: "Sightings", run: () => moveFocus(this.below, -1) },
      { keys: ["Enter"], does: "Show the sighting", group: "Sightings", run: () => false },
      { keys: ["c"], does: "Conditions", group: "Search", run: () => this.bar.setOpen(!this.bar.open) },
      { keys: ["Escape"], does: "Close what is open", group: "Search", run: () => { if (!this.bar.open) return false; this.bar.setOpen(false); return true; } },
    ];
  }

  /** Ask. refine: the same question with other conditions, which makes no step in the history. */
  ask(/** @type {Question} */ question, refine = false) {
    if (!refine) this.bar.input.blur();
    go("search", parameters(question), { replace: refine && !asksNothing(question) && !asksNothing(this.question) });
  }

  async send(/** @type {File} */ file) {
    try {
      this.bar.node.classList.add("is-sending");
      const picture = await sendPicture(file);
      this.ask({ ...this.question, text: this.bar.input.value.trim(), picture, crop: "" });
    } catch (error) {
      toast(error.message);
    } finally {
      this.bar.node.classList.remove("is-sending");
    }
  }

  #changed() {
    if (this.last && !this.node.querySelector(".fresh")) {
      this.below.prepend(el("div", { class: "fresh" }, "The memory has changed. ", button("Ask again", { class: "is-small", on: { click: this.back } })));
    } else if (!this.last) this.update(here().params);
  }

  /** @param {URLSearchParams} params */
  async update(params) {
    const question = readQuestion(params);
    this.question = question;
    this.bar.show(question, []);
    sources().then((all) => { if (this.question === question) this.bar.show(question, all); }, () => {});
    const home = asksNothing(question);
    this.#place(home);
    const key = JSON.stringify([parameters(question), params.get("all")]);
    this.stop.abort();
    this.stop = new AbortController();
    this.selection++; // what was on its way is not shown any more
    if (!home && this.last?.key === key) {
      title(shortly(question));
      this.below.removeAttribute("aria-busy");
      await this.#select(params.get("id") ?? "");
      return;
    }
    this.#closeShown();
    title(home ? "" : shortly(question));
    if (home) {
      this.last = null;
      const free = document.activeElement === document.body || document.activeElement?.id === "main";
      if (free && !matchMedia("(pointer: coarse)").matches) this.bar.input.focus({ preventScroll: true });
      await showHome(this.below, this.stop.signal, question);
      return;
    }
    await this.#answer(question, key, params, this.stop.signal);
  }

  /** The field is in the centre of the first screen, and above an answer. It moves there, where that is wanted. */
  #place(/** @type {boolean} */ home) {
    const moves = this.node.classList.contains("is-home") !== home;
    const set = () => { this.node.classList.toggle("is-home", home); this.heading.hidden = !home; };
    const still = !this.placed || !document.startViewTransition || matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.placed = true;
    if (!moves || still) set();
    else document.startViewTransition(set);
  }

  async #answer(/** @type {Question} */ question, /** @type {string} */ key, /** @type {URLSearchParams} */ params, /** @type {AbortSignal} */ signal) {
    this.below.setAttribute("aria-busy", "true");
    const waiting = setTimeout(() => { this.last = null; fill(this.below, this.#waiting()); }, WAIT_MS);
    let answer;
    try {
      answer = await get("/where", { ...parameters(question), top: params.get("all") ? "all" : FIRST }, { signal });
    } catch (error) {
      clearTimeout(waiting);
      if (signal.aborted) return;
      this.last = null;
      this.below.removeAttribute("aria-busy");
      const node = failed(error, question, { ask: (q) => this.ask(q), again: this.back });
      fill(this.below, node);
      announce(node.querySelector("h1")?.textContent ?? "");
      return;
    }
    clearTimeout(waiting);
    if (signal.aborted) return;
    this.below.removeAttribute("aria-busy");
    this.last = { key, answer };
    this.#list(answer, question);
    await this.#select(params.get("id") ?? "");
    announce(answer.found ? `${howMany(answer.sightings.length, isAll(answer))}. The newest: ${inOneLine(answer.sightings[0])}.` : `${inWords(question)} was not found.`);
  }

  #waiting() {
    return el("div", { class: "answer" }, el("div", { class: "answer-stage" }, el("div", { class: "skeleton stage-blank" })),
      el("div", { class: "answer-side" }, el("div", { class: "skeleton line is-big" }), el("div", { class: "skeleton line" }), waitingList()));
  }

  #to(/** @type {Sighting} */ s) {
    return href("search", { ...parameters(this.question), all: here().params.get("all"), id: s.id });
  }

  /** The frame of an answer, into which `#select` puts a sighting. */
  #list(/** @type {import("./types.js").Where} */ answer, /** @type {Question} */ question) {
    this.stage = el("div", { class: "answer-stage" });
    this.words = el("div", { class: "answer-words" });
    const { sightings, likelier, notes } = answer;
    const note = (/** @type {string} */ text) => el("p", { class: "note small", text });
    if (!answer.found) {
      this.side = el("div", { class: "answer-side" }, this.words);
      fill(this.below, el("div", { class: "miss-stage" }, this.stage, this.side), notes.map(note), notFound(question, answer, (s) => this.#to(s)));
      return;
    }
    this.side = el("div", { class: "answer-side" }, this.words, notes.map(note),
      likelier && el("section", { class: "likelier" }, el("h2", { text: `An older one is likelier` }), sightingRow(likelier, this.#to(likelier))),
      el("section", { class: "others", hidden: sightings.length < 2 }, el("div", { class: "others-head" }, el("h2", { text: "All sightings" }),
        el("span", { class: "num quiet small", text: howMany(sightings.length, isAll(answer)) })),
        sightingList(sightings, (s) => this.#to(s), ""),
        !isAll(answer) && el("a", { class: "button more", href: href("search", { ...parameters(question), all: 1 }), text: "Show all" })));
    fill(this.below, el("section", { class: "answer", "aria-label": "Answer" }, this.stage, this.side));
  }

  /** The words stand beside the picture; on narrow screens between it and the timeline, for the keyboard, too. */
  #placeWords() {
    if (!this.words) return;
    const player = this.stage?.querySelector(".player");
    if (player && NARROW.matches) player.after(this.words);
    else this.side?.prepend(this.words);
  }

  /** Put a sighting on show: the one with this id, or the newest. */
  async #select(/** @type {string} */ id) {
    const answer = this.last?.answer;
    if (!answer) return;
    const all = [...answer.sightings, ...(answer.likelier ? [answer.likelier] : []), ...answer.near_misses];
    const s = all.find((one) => one.id === id) ?? answer.sightings[0];
    const frame = this.stage?.parentElement;
    frame?.classList.toggle("is-empty", !s);
    if (!s) { this.#closeShown(); fill(this.stage); fill(this.words); return; }
    const mine = ++this.selection;
    const over = this.#over(s, answer);
    fill(this.words, sightingWords(s, { over, level: answer.found ? 1 : 2 }), sightingActions(s));
    markCurrent(this.below, s.id);
    let source;
    try {
      source = await sourceOf(s);
    } catch (error) {
      if (mine === this.selection) fill(this.stage, el("p", { class: "note", role: "alert", text: error.message }));
      return;
    }
    if (mine !== this.selection) return;
    this.#closeShown();
    const shown = showSighting(s, source, { search: (crop) => this.ask({ ...this.question, text: "", picture: "", crop }) });
    this.closeShown = shown.close;
    fill(this.stage, shown.stage);
    this.#placeWords();
  }

  /** What stands above the words about a sighting. */
  #over(/** @type {Sighting} */ s, /** @type {import("./types.js").Where} */ answer) {
    if (answer.sightings[0] === s) return "Last seen";
    if (!answer.found) return "A near miss";
    return answer.likelier?.id === s.id ? "Likelier, but older" : "Seen before";
  }

  #closeShown() {
    this.closeShown?.();
    this.closeShown = null;
  }

  close() {
    this.stop.abort();
    this.selection++;
    this.#closeShown();
    for (const end of this.ends) end();
    removeEventListener("vidmem:back", this.back);
    NARROW.removeEventListener("change", this.placeWords);
  }
}
