/** The view "Things": what is in the memory, as a gallery of instances. */
import { ApiError, cropUrl, get, listen, once } from "./api.js";
import { announce, el, fill, icon, shot } from "./dom.js";
import { clock, count, percent, sourceName, span, when } from "./format.js";
import { go, href, title } from "./router.js";
import { emptyView, failure, noMemory, rem, segmented, sourceChoice } from "./parts.js";
import { ThingPage } from "./thing.js";
import { virtualGrid } from "./virtual.js";

/** @typedef {import("./types.js").Thing} Thing */

const SORTS = [["", "Most seen"], ["newest", "Newest"], ["name", "By name"]];
/** @param {HTMLElement} root @param {import("./router.js").Context} context @returns {import("./router.js").View} */
export function mount(root, { params }) {
  const summary = el("p", { class: "num summary", text: "\u00a0" });
  const filter = el("input", { class: "input", type: "search", id: "things-filter", placeholder: "Filter by name",
    "aria-label": "Filter by name", autocomplete: "off", spellcheck: "false", enterkeyhint: "search" });
  const unsure = el("input", { type: "checkbox", id: "things-unsure" });
  const sorts = segmented("Sort", "things-sort", SORTS, (value) => change({ sort: value }));
  const source = sourceChoice("things-source", (value) => change({ source: value }));
  const called = el("div", { class: "gallery-called" });
  const gallery = el("section", { class: "gallery", "aria-label": "Things" },
    el("div", { class: "view-head" }, el("div", null, el("h1", { text: "Things" }), summary)),
    el("div", { class: "gallery-tools" }, el("div", { class: "gallery-filter" }, icon("filter"), filter), sorts.node, source.node,
      el("label", { class: "switch-row small" }, unsure, "Unsure names too")),
    called);
  const detail = el("div", { hidden: true });
  root.append(gallery, detail);
  const one = new ThingPage(detail);

  let asked = { sort: "", name: "", source: "", names: "", called: "", thing: "", id: "" };
  /** @type {ReturnType<typeof virtualGrid> | null} */ let grid = null;
  let listed = "";
  let typing = 0;
  /** @type {Promise<any>} */ let ready = Promise.resolve();

  const change = (/** @type {Object<string, string>} */ what) => go("things", { ...asked, thing: "", id: "", ...what }, { replace: true });
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    typing = window.setTimeout(() => change({ name: filter.value.trim(), called: "" }), 200);
  });
  filter.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && grid) { event.preventDefault(); grid.focus(0); }
  });
  unsure.addEventListener("change", () => change({ names: unsure.checked ? "all" : "" }));

  /** @param {URLSearchParams} now */
  async function show(now) {
    asked = Object.fromEntries(Object.keys(asked).map((name) => [name, now.get(name) ?? ""]));
    if (document.activeElement !== filter) filter.value = asked.name;
    unsure.checked = asked.names === "all";
    sorts.set(asked.sort);
    source.set(asked.source);
    title(asked.thing ? "Thing" : "Things");
    const open = asked.thing !== "";
    gallery.hidden = open;
    detail.hidden = !open;
    const { thing, id, ...list } = asked;
    if (open) {
      ready = one.show(thing, id, list);
      await ready;
      return;
    }
    one.close();
    const key = JSON.stringify(list);
    if (key === listed) return;
    listed = key;
    build();
    await ready;
  }

  function build() {
    grid?.destroy();
    for (const old of gallery.querySelectorAll(".empty")) old.remove();
    fill(called, asked.called && [el("span", { class: "chip is-on" }, asked.called === "?" ? "Not sure what" : asked.called),
      el("a", { class: "chip", href: href("things", { ...asked, called: "", thing: "", id: "" }) }, icon("close"), "All names")]);
    const names = asked.sort === "name" && !asked.called;
    grid = virtualGrid(gallery, {
      label: names ? "Names" : "Things",
      size: (wide) => cardSize(wide),
      load: names ? loadNames : loadThings,
      cell: names ? nameCard : thingCard,
      changed: (total) => told(total, names),
      failed: (error) => { if (!(error instanceof ApiError && error.kind === "gone")) stop(failure(error, build)); },
    });
    ready = grid.ready;
  }

  /** In place of the grid. @param {HTMLElement} node */
  function stop(node) {
    grid?.destroy();
    grid = null;
    listed = "";
    gallery.append(node);
  }

  const filters = () => ({ name: asked.name, source: asked.source, named: asked.names === "all" ? "" : 1 });

  /** @param {number} offset @param {number} top @param {AbortSignal} signal */
  async function loadThings(offset, top, signal) {
    const naming = asked.called === "?" ? { named: 0 } : { called: asked.called };
    const found = await get("/things", { ...filters(), ...naming, newest: asked.sort === "newest" ? 1 : "", top, offset }, { signal });
    return { total: found.total, items: found.things };
  }

  /** @param {number} offset @param {number} top @param {AbortSignal} signal */
  async function loadNames(offset, top, signal) {
    const found = await get("/things/names", { ...filters(), top, offset }, { signal });
    return { total: found.total, items: found.names };
  }

  /** @param {number} total @param {boolean} names */
  async function told(total, names) {
    const words = names ? count(total, "name") : count(total, "thing");
    const narrowed = asked.name || asked.source || asked.called;
    const sure = asked.names === "all" ? "" : names ? "" : " with a sure name";
    summary.textContent = narrowed ? `${words}${sure} match${total === 1 ? "es" : ""}` : `${words}${sure}`;
    announce(summary.textContent);
    if (total) return;
    const all = el("a", { class: "button", href: href("things", { sort: asked.sort, names: "all" }), text: "Show all things" });
    if (narrowed) stop(emptyView("Nothing matches", ["No thing in the memory is called so, or nothing was seen there."], all));
    else if (asked.names !== "all" && (await get("/stats")).tracks) {
      stop(emptyView("No thing has a sure name", ["vidmem saw things and is not sure of their names."], all));
    } else {
      stop(noMemory(await once("/server"), "Nothing was seen yet",
        "Each thing that vidmem follows through a video appears here once, with its best picture."));
    }
  }

  const stops = [listen("memory", () => grid?.reload())];
  const back = () => { if (grid) grid.reload(); else build(); };
  addEventListener("vidmem:back", back);
  void show(params);
  return {
    update: show,
    get ready() { return ready; },
    unmount() {
      clearTimeout(typing);
      grid?.destroy();
      one.close();
      for (const stop of stops) stop();
      removeEventListener("vidmem:back", back);
    },
  };
}

/** @param {number} wide */
function cardSize(wide) {
  const columns = Math.max(2, Math.floor((wide + 16) / (12.5 * rem() + 16)));
  return { columns, height: Math.round((wide - 16 * (columns - 1)) / columns * 0.75 + 5.75 * rem()) };
}

/** @param {Thing} thing */
export function thingCard(thing) {
  const { best, last } = thing;
  return el("a", { class: "card", href: here({ thing: thing.tracks[0] }), draggable: "false" },
    thingShot(best),
    el("span", { class: "card-words" },
      el("span", { class: "card-title" }, nameOf(thing), sureOf(thing)),
      el("span", { class: "card-line num cut", text: seen(thing) }),
      el("span", { class: "card-line num cut" }, el("span", { class: "unseen", text: "last seen " }), icon("eye"), lastSeen(last))));
}

/** The thing in a box of four to three, with what is around it where it is narrower. @param {import("./types.js").Sighting} s */
function thingShot(s) {
  const [x0, y0, x1, y1] = s.box;
  const more = [Math.max(0, (y1 - y0) * 4 / 3 - (x1 - x0)) / 2, Math.max(0, (x1 - x0) * 3 / 4 - (y1 - y0)) / 2];
  const box = [Math.max(0, x0 - more[0]), Math.max(0, y0 - more[1]), x1 + more[0], y1 + more[1]];
  return shot(cropUrl(s.source_id, s.frame_ns, box, 320), 4, 3, "");
}

/** @param {Object<string, any>} more */
function here(more) {
  const params = Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  return href("things", { ...params, ...more });
}

/** The name, or a question mark and the guess. @param {{name: string, named: boolean}} thing */
export function nameOf(thing) {
  return el("span", { class: "card-name cut" }, !thing.named && [el("span", { class: "guess", "aria-hidden": "true", text: "? " }),
    el("span", { class: "unseen", text: "perhaps " })], el("span", { class: thing.named ? "" : "quiet", text: thing.name }));
}

/** @param {{probability: number | null}} thing */
export function sureOf(thing) {
  return thing.probability !== null && el("span", { class: "card-sure num" }, percent(thing.probability),
    el("span", { class: "meter", "aria-hidden": "true", vars: { "--p": thing.probability } }));
}

/** @param {Thing} thing */
export function seen(thing) {
  if (thing.best.picture && !thing.seen_s) return `in ${count(thing.frames, "photo")}`;
  const times = thing.sightings === 1 ? "once" : count(thing.sightings, "time");
  return `${span(thing.seen_s)}, ${times}`;
}

/** When it was last seen: the date, or the place where there is none. @param {import("./types.js").Sighting} last */
export function lastSeen(last) {
  return when(last.recorded, last.recorded_by)
    || (last.picture ? sourceName(last.picture) : `${clock(last.end_s ?? 0)} in ${sourceName(last.source)}`);
}

/** @param {{name: string | null, things: number, seen_s: number, best: import("./types.js").Sighting[]}} group */
function nameCard(group) {
  return el("a", { class: "card", href: here({ called: group.name ?? "?", thing: "" }), draggable: "false" },
    el("span", { class: "card-shots" }, group.best.slice(0, 3).map(thingShot)),
    el("span", { class: "card-words" },
      el("span", { class: "card-title" }, el("span", { class: "card-name cut", text: group.name ?? "Not sure what" })),
      el("span", { class: "card-line num cut", text: count(group.things, "thing") }),
      el("span", { class: "card-line num cut", text: group.seen_s ? `${span(group.seen_s)} in view` : "in photos" })));
}
