/** Making elements. Text always becomes a text node: nothing here reads markup from a string. */
import { PATHS } from "./icons.js";
import { loadWhenNear } from "./loading.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag
 * @param {Object<string, any> | null} [props] `class`, `text`, `data` (dataset), `vars` (CSS custom properties), `on`
 *   (listeners), anything else an attribute: true sets it empty, false, null and undefined leave it out.
 * @param {...(Node | string | number | null | undefined | false | Array)} children
 * @returns {HTMLElement}
 */
export function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "vars") setVars(node, value);
    else if (name === "on") for (const [event, listen] of Object.entries(value)) node.addEventListener(event, listen);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

/** @param {Element} node @param {any} children nested lists; null, undefined and false are left out */
export function append(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

/** Replace all children. @param {Element} node @param {...any} children */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

/** Set CSS custom properties, which the Content-Security-Policy allows where a style attribute is forbidden. */
export function setVars(node, vars) {
  for (const [name, value] of Object.entries(vars)) node.style.setProperty(name, String(value));
}

/**
 * Make an SVG element.
 * @param {string} tag @param {Object<string, any>} [attributes] @param {...Node} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** An icon, for the eye alone: its button needs a name of its own. @param {string} name a key of PATHS */
export function icon(name) {
  const paths = (PATHS[name] ?? []).map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 2,
    "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, ...paths);
}

/** A button with an icon alone. @param {string} name @param {string} label @param {Object} [props] */
export function iconButton(name, label, props = {}) {
  const { class: extra = "", ...rest } = props;
  return el("button", { type: "button", class: `icon-button ${extra}`, "aria-label": label, title: label, ...rest },
    icon(name));
}

/** A button with words, and an icon before them if one is named. */
export function button(label, props = {}, iconName = "") {
  const { class: extra = "", ...rest } = props;
  return el("button", { type: "button", class: `button ${extra}`, ...rest }, iconName && icon(iconName), label);
}

/**
 * A picture in a box of known size, so that nothing moves when it comes.
 * @param {string} src @param {number} width @param {number} height their ratio counts
 * @param {string} alt "" for a picture that only repeats the words beside it
 * @param {{eager?: boolean, whole?: boolean, class?: string}} [options] eager: at once, not when it is near the screen;
 *   whole: letterboxed in place of cut
 */
export function shot(src, width, height, alt, options = {}) {
  const img = /** @type {HTMLImageElement} */ (el("img", { alt, decoding: "async", draggable: "false" }));
  const classes = ["shot", options.whole && "is-whole", options.class].filter(Boolean).join(" ");
  const box = el("div", { class: classes, vars: { "--w": width, "--h": height } }, img);
  img.addEventListener("load", () => { box.classList.remove("is-gone"); box.classList.add("is-there"); });
  img.addEventListener("error", () => box.classList.add("is-gone"));
  if (options.eager) img.src = src;
  else loadWhenNear(img, src);
  return box;
}

/** Say something to screen readers. @param {string} text */
export function announce(text) {
  const live = document.getElementById("live");
  if (live) live.textContent = text;
}

/**
 * A short message at the bottom, with an action if one is given.
 * @param {string} text @param {{action?: string, run?: () => void, seconds?: number}} [options]
 */
export function toast(text, options = {}) {
  const box = el("div", { class: "toast" }, el("span", { class: "anywhere", text }));
  if (options.action) {
    box.append(button(options.action, { class: "is-small", on: { click: () => { options.run?.(); box.remove(); } } }));
  }
  document.getElementById("toasts")?.append(box);
  setTimeout(() => box.remove(), 1000 * (options.seconds ?? 6));
  return box;
}

/**
 * A dialog that closes with Esc, its button, or a click beside it, and gives the focus back.
 * @param {string} title @param {any} body @param {{foot?: any, width?: string, onClose?: () => void}} [options]
 * @returns {HTMLDialogElement}
 */
export function openDialog(title, body, options = {}) {
  const back = document.activeElement;
  const id = `dialog-${Math.random().toString(36).slice(2, 9)}`;
  const dialog = /** @type {HTMLDialogElement} */ (el("dialog", { class: "dialog", "aria-labelledby": id,
    vars: options.width ? { "--dialog": options.width } : {} },
    el("div", { class: "dialog-head" }, el("h2", { id, text: title }),
      iconButton("close", "Close", { on: { click: () => dialog.close() } })),
    el("div", { class: "dialog-body", tabindex: "0", role: "group", "aria-label": title }, body),
    options.foot && el("div", { class: "dialog-foot" }, options.foot)));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    dialog.remove();
    options.onClose?.();
    if (back instanceof HTMLElement && back.isConnected) back.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
