/** The view "Search". */
import { el } from "./dom.js";
import { title } from "./router.js";

/** @param {HTMLElement} root @returns {import("./router.js").View} */
export function mount(root) {
  title("");
  root.append(el("h1", { text: "Search" }));
  return {};
}

/** Put the cursor into the search field. */
export function focusField() {
  document.querySelector("input")?.focus();
}
