/** The view "Photos". */
import { el } from "./dom.js";
import { title } from "./router.js";

/** @param {HTMLElement} root @returns {import("./router.js").View} */
export function mount(root) {
  title("Photos");
  root.append(el("div", { class: "view-head" }, el("h1", { text: "Photos" })));
  return {};
}
