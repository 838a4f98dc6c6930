/**
 * A grid of very many items of one size. Only what is near the window is in the document; the page itself scrolls.
 *
 * Items come in pages, a moment after the scrolling has stopped, so that nothing is fetched for what is scrolled past; what
 * is on its way when it leaves is cancelled, pictures too (loading.js). One item is a tab stop; arrow keys, Home, End, Page
 * Up and Page Down move it. For screen readers it is a list whose items say their place among all of them.
 *
 * @typedef {{
 *   label: string,                                       what it is a list of
 *   size: (width: number) => {columns: number, height: number},   of a row in px, without the gap
 *   gap?: number,
 *   load: (offset: number, count: number, signal: AbortSignal) =>
 *     Promise<{total: number, items: any[], sections?: import("./rows.js").Section[]}>,
 *   cell: (item: any, index: number) => HTMLElement,     a link or a button; it is the tab stop
 *   changed?: (total: number) => void,                   the number of items is known, or another one
 *   failed?: (error: any) => void,
 * }} Options
 */
import { el } from "./dom.js";
import { next as letGo } from "./loading.js";
import { HEADING, layout } from "./rows.js";

const PAGE = 60;
const KEPT_PAGES = 50;
const BEYOND = 500;
const PAUSE_MS = 90;

/** @param {HTMLElement} host @param {Options} options */
export function virtualGrid(host, options) {
  const gap = options.gap ?? 16;
  const heads = el("div", { class: "virtual-heads" });
  const list = el("div", { class: "virtual-items", role: "list", "aria-label": options.label });
  const root = el("div", { class: "virtual", "aria-busy": "true" }, heads, list);
  host.append(root);

  /** @type {Map<number, any[]>} */ const pages = new Map();
  /** @type {Map<number, AbortController>} */ const asked = new Map();
  /** @type {Map<number, {node: HTMLElement, inner: HTMLElement, known: boolean}>} */ const cells = new Map();
  let total = -1;  // not known yet
  /** @type {import("./rows.js").Section[]} */ let sections = [{ count: 24 }];
  let rows = layout(sections, 1, { columns: 1, height: 1 }, gap);
  let current = 0, frame = 0, pause = 0, headed = "", gone = false;
  let ready = () => {};
  const loaded = new Promise((done) => { ready = () => done(undefined); });

  const item = (/** @type {number} */ index) => pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  const top = () => root.getBoundingClientRect().top;

  function measure() {
    rows = layout(sections, root.clientWidth, options.size(root.clientWidth), gap);
    headed = "";
    root.style.height = `${rows.tall}px`;
  }

  function near() {
    const last = Math.max(0, rows.count - 1), above = -top();
    const from = Math.min(rows.indexAt(Math.max(0, above - BEYOND)), last);
    return { from, to: Math.min(rows.indexAt(Math.max(0, above + innerHeight + BEYOND)) + rows.columns - 1, last) };
  }

  function draw() {
    frame = 0;
    if (gone || !root.clientWidth) return;
    const { from, to } = near();
    const held = list.contains(document.activeElement) ? current : -1;
    const before = cells.size;
    for (const index of cells.keys()) if ((index < from || index > to) && index !== held) drop(index);
    if (cells.size < before) letGo();
    if (rows.count) for (let index = from; index <= to; index++) put(index);
    drawHeads(from, to);
    if (held < 0 && (current < from || current > to)) current = Math.min(rows.indexAt(Math.max(0, rows.height / 2 - top())), to);
    stop(current);
    clearTimeout(pause);
    pause = window.setTimeout(() => ask(from, to), total < 0 ? 0 : PAUSE_MS);
  }

  /** @param {number} index */
  function put(index) {
    const known = item(index);
    const there = cells.get(index);
    if (there?.known === (known !== undefined)) return;
    const focused = there?.inner === document.activeElement;
    if (there) drop(index);
    const inner = known === undefined ? el("div", { class: "virtual-blank skeleton" }) : options.cell(known, index);
    inner.tabIndex = -1;
    const node = el("div", { class: "virtual-cell", role: "listitem", "aria-setsize": total, "aria-posinset": index + 1 }, inner);
    const { x, y } = rows.position(index);
    node.style.transform = `translate(${x}px, ${y}px)`;
    node.style.width = `${rows.width}px`;
    node.style.height = `${rows.height - gap}px`;
    // In the order of the items, for those who read the list without seeing it.
    const next = [...cells.keys()].reduce((best, other) => (other > index && other < best ? other : best), Infinity);
    list.insertBefore(node, cells.get(next)?.node ?? null);
    cells.set(index, { node, inner, known: known !== undefined });
    if (focused) inner.focus({ preventScroll: true });
  }

  /** @param {number} index */
  function drop(index) {
    const cell = cells.get(index);
    if (!cell) return;
    cells.delete(index);
    cell.node.remove();
  }

  /** @param {number} from @param {number} to */
  function drawHeads(from, to) {
    const wanted = rows.places.filter((p) => p.label !== undefined && p.first <= to && p.first + p.count >= from);
    const key = wanted.map((p) => p.start).join();
    if (key === headed) return;
    headed = key;
    heads.replaceChildren(...wanted.map((p) => {
      const head = el("h2", { class: "virtual-head", text: p.label });
      head.style.transform = `translateY(${p.start - HEADING}px)`;
      return head;
    }));
  }

  /** Make an item the tab stop. @param {number} index */
  function stop(index) {
    for (const [other, cell] of cells) cell.inner.tabIndex = other === index && cell.known ? 0 : -1;
    current = index;
  }

  /** Fetch the pages of these items, and no longer those that nobody looks at. @param {number} from @param {number} to */
  function ask(from, to) {
    const first = Math.floor(from / PAGE), last = Math.floor(to / PAGE);
    for (const [page, control] of asked) if (page < first || page > last) { control.abort(); asked.delete(page); }
    for (let page = first; page <= last; page++) if (!pages.has(page) && !asked.has(page)) void fetchPage(page);
  }

  /** @param {number} page */
  async function fetchPage(page) {
    const control = new AbortController();
    asked.set(page, control);
    try {
      const found = await options.load(page * PAGE, PAGE, control.signal);
      if (gone || control.signal.aborted) return;
      pages.set(page, found.items);
      for (const old of pages.keys()) if (pages.size > KEPT_PAGES && Math.abs(old - page) > 3) pages.delete(old);
      if (found.total !== total) {
        total = found.total;
        sections = found.sections ?? [{ count: total }];
        clear();
        measure();
        current = Math.min(current, Math.max(0, total - 1));
        root.setAttribute("aria-busy", "false");
        options.changed?.(total);
      }
      draw();
      ready();
    } catch (error) {
      if (!gone && !control.signal.aborted) options.failed?.(error);
    } finally {
      if (asked.get(page) === control) asked.delete(page);
    }
  }

  function clear() {
    for (const index of [...cells.keys()]) drop(index);
  }

  /** Show an item, and give it the focus. @param {number} index */
  function focus(index) {
    current = Math.min(Math.max(0, index), rows.count - 1);
    const style = getComputedStyle(root);
    const y = top() + rows.position(current).y;
    const high = parseFloat(style.scrollMarginTop), low = innerHeight - parseFloat(style.scrollMarginBottom) - rows.height;
    if (y < high) scrollBy(0, y - high);
    else if (y > low) scrollBy(0, Math.min(y - low, y - high));
    put(current);
    stop(current);
    cells.get(current)?.inner.focus({ preventScroll: true });
    draw();
  }

  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const page = Math.max(1, Math.floor((innerHeight - 120) / rows.height)) * rows.columns;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -rows.columns, ArrowDown: rows.columns, PageUp: -page,
      PageDown: page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (Math.abs(by) === rows.columns && (current + by < 0 || current + by >= rows.count)) return;
    focus(current + by);
  });
  list.addEventListener("focusin", (event) => {
    for (const [index, cell] of cells) if (cell.node.contains(/** @type {Node} */ (event.target))) stop(index);
  });

  const soon = () => { frame ||= requestAnimationFrame(draw); };
  const resized = new ResizeObserver(() => {
    if (gone || !root.clientWidth) return;
    const before = rows, first = top() < 0 ? rows.indexAt(-top()) : -1;
    measure();
    if (rows.width !== before.width || rows.height !== before.height) {
      clear();
      if (first >= 0 && total > 0) scrollBy(0, top() + rows.position(Math.min(first, total - 1)).y);
    }
    draw();
  });
  addEventListener("scroll", soon, { passive: true });
  measure();
  resized.observe(root);

  return {
    root,
    focus,
    /** Done when the first items are there. */
    ready: loaded,
    /** What is known of an item. @param {number} index */
    item,
    /** Forget all items and ask again; what is shown stays until the new ones are there. */
    reload() {
      for (const control of asked.values()) control.abort();
      asked.clear();
      pages.clear();
      total = -1;
      root.setAttribute("aria-busy", "true");
      const { from, to } = near();
      ask(from, to);
    },
    destroy() {
      gone = true;
      for (const control of asked.values()) control.abort();
      cancelAnimationFrame(frame);
      clearTimeout(pause);
      clear();
      letGo();
      removeEventListener("scroll", soon);
      resized.disconnect();
      root.remove();
    },
  };
}
