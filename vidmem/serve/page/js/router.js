/**
 * Views and their addresses: `#/things?named=1`. What is asked is behind the #, so it stays in the browser: it is in no
 * log and no Referer header.
 *
 * A view is a module with `mount(root, context)`, which returns `{update(params), unmount(), ready?}`. `update` is called
 * when only the parameters change. `ready` is a promise: when it is done, the page scrolls to where it was left.
 * @typedef {{params: URLSearchParams, first: boolean}} Context
 * @typedef {{update?: (params: URLSearchParams) => any, unmount?: () => void, ready?: Promise<any>}} View
 */
import { query, signals } from "./api.js";

/** @type {Object<string, () => Promise<{mount: (root: HTMLElement, context: Context) => View}>>} */
let loaders = {};
/** @type {{name: string, view: View} | null} */
let shown = null;
let turn = 0;

/** @returns {{name: string, params: URLSearchParams}} */
export function here() {
  const [path, search = ""] = splitOnce(location.hash.replace(/^#\/?/, ""), "?");
  return { name: path || "search", params: new URLSearchParams(search) };
}

/** The address of a view. @param {string} name @param {Object<string, any>} [params] */
export function href(name, params = {}) {
  return `#/${name}${query(params)}`;
}

/** Go to a view. replace: without a step in the history. @param {{replace?: boolean}} [options] */
export function go(/** @type {string} */ name, /** @type {Object<string, any>} */ params = {}, options = {}) {
  const to = href(name, params);
  if (to === (location.hash || "#/search")) { show(); return; }
  keepScroll();
  history[options.replace ? "replaceState" : "pushState"](null, "", to);
  show();
}

/** Set the title of the page. @param {string} text "" for the name alone */
export function title(text) {
  document.title = text ? `${text} · vidmem` : "vidmem";
}

/** @param {typeof loaders} views */
export function start(views) {
  loaders = views;
  history.scrollRestoration = "manual";
  addEventListener("popstate", show);
  let timer = 0;
  addEventListener("scroll", () => { clearTimeout(timer); timer = setTimeout(keepScroll, 120); }, { passive: true });
  return show();
}

function keepScroll() {
  history.replaceState({ ...history.state, scroll: scrollY }, "");
}

async function show() {
  const mine = ++turn;
  const { name, params } = here();
  const known = Object.hasOwn(loaders, name) ? name : "search";
  const first = shown === null;
  const scroll = history.state?.scroll ?? 0;
  markTab(known);
  if (shown?.name === known && shown.view.update) {
    await shown.view.update(params);
    if (mine === turn) scrollTo(0, scroll);
    return;
  }
  let module;
  try {
    module = await loaders[known]();
  } catch { // browsers keep that a module could not be loaded
    addEventListener("vidmem:back", () => location.reload(), { once: true });
    signals.dispatchEvent(new Event("gone"));
    return;
  }
  if (mine !== turn) return;
  shown?.view.unmount?.();
  const root = /** @type {HTMLElement} */ (document.getElementById("main"));
  root.replaceChildren();
  root.dataset.view = known;
  title("");
  if (!first && (document.activeElement === document.body || !document.activeElement?.isConnected)) root.focus({ preventScroll: true });
  shown = { name: known, view: module.mount(root, { params, first }) };
  scrollTo(0, 0);
  if (scroll) {
    await shown.view.ready;
    if (mine === turn) scrollTo(0, scroll);
  }
}

/** @param {string} name */
function markTab(name) {
  for (const tab of document.querySelectorAll("[data-view].tab")) {
    if (/** @type {HTMLElement} */ (tab).dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

/** @param {string} text @param {string} mark @returns {string[]} */
function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
