/**
 * Keys. A view binds its keys while it is shown; the last ones bound come first. Keys without Ctrl or Alt do nothing in
 * text fields and dialogs, and can be switched off (WCAG 2.1.4).
 * @typedef {{keys: string[], does: string, group?: string, run: (event: KeyboardEvent) => boolean | void,
 *   when?: () => boolean}} Key  `run` returns false if the key is not for it after all.
 */
import { el, openDialog } from "./dom.js";
import { remember, remembered } from "./store.js";

/** @type {Key[][]} */
const layers = [];

/** @param {Key[]} keys @returns {() => void} takes them away */
export function bindKeys(keys) {
  layers.push(keys);
  return () => {
    const at = layers.indexOf(keys);
    if (at >= 0) layers.splice(at, 1);
  };
}

/** True if keys of one letter are on. */
export function lettersOn() {
  return remembered("letters") !== "off";
}

const TYPING = "input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=file]), textarea, select, [contenteditable]";
const PRESSABLE = "button, a[href], summary, input, select, [role=button], [role=option], [role=slider]";
/** Space does nothing on links and sliders but scroll, so there it is free. */
const TAKES_SPACE = "button, summary, input:not([type=range]), select, [role=button], [role=option]";

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]:modal")) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.matches(TYPING)) return;
  if ((event.key === "Enter" && target.matches(PRESSABLE)) || (event.key === " " && target.matches(TAKES_SPACE))) return;
  if (event.key.length === 1 && event.key !== " " && !lettersOn()) return;
  for (const layer of layers.toReversed()) {
    for (const key of layer) {
      if (!key.keys.includes(event.key) || key.when?.() === false) continue;
      if (key.run(event) === false) continue;
      event.preventDefault();
      return;
    }
  }
}

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };

/** Show the keys that work now. */
export function showKeys() {
  /** @type {Map<string, Key[]>} */
  const groups = new Map();
  for (const key of layers.toReversed().flat()) {
    const group = key.group ?? "Everywhere";
    groups.set(group, [...(groups.get(group) ?? []), key]);
  }
  const letters = el("input", { type: "checkbox", id: "letters", checked: lettersOn() });
  letters.addEventListener("change", () => remember("letters", letters.checked ? null : "off"));
  openDialog("Keys", [
    el("div", { class: "keys" }, [...groups].map(([group, keys]) => el("section", null, el("h3", { text: group }),
      el("ul", null, keys.map((key) => el("li", null, el("span", { text: key.does }),
        el("span", null, key.keys.map((name, i) => [i > 0 && " ", el("kbd", { text: NAMES[name] ?? name })])))))))),
    el("label", { class: "switch-row small" }, letters, "Keys of one letter or sign are on"),
  ], { width: "46rem" });
}

addEventListener("keydown", pressed);
