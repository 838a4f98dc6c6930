/** The view "Sources": what was indexed, how far, and what is being indexed now. */
import { ApiError, forgetKept, frameUrl, get, listen, once } from "./api.js";
import { announce, el, fill, icon, shot } from "./dom.js";
import { bytes, count, dateDoubt, lengthClock, sourceName, span, when } from "./format.js";
import { ENDED, isWorkedOn, jobsPanel } from "./jobs.js";
import { emptyView, failure, noMemory, rem } from "./parts.js";
import { href, title } from "./router.js";
import { closeSource, showSource } from "./source.js";
import { virtualGrid } from "./virtual.js";

const FEW = 8;

/** @param {HTMLElement} root @param {import("./router.js").Context} context @returns {import("./router.js").View} */
export function mount(root, { params }) {
  const summary = el("p", { class: "num summary", text: "\u00a0" });
  const filter = el("input", { class: "input", type: "search", placeholder: "Filter by name", "aria-label": "Filter by name",
    autocomplete: "off", spellcheck: "false", hidden: true });
  const totals = el("dl", { class: "totals num" });
  const jobs = jobsPanel();
  const gallery = el("section", { class: "sources", "aria-label": "Sources" },
    el("div", { class: "view-head" }, el("div", null, el("h1", { text: "Sources" }), summary), filter),
    totals, jobs.node);
  const detail = el("div", { hidden: true });
  root.append(gallery, detail);

  /** @type {any[] | null} */ let all = null;
  /** @type {ReturnType<typeof virtualGrid> | null} */ let grid = null;
  let open = "", gone = false;
  /** @type {Promise<any>} */ let ready = Promise.resolve();

  filter.addEventListener("input", () => grid?.reload());

  /** @param {URLSearchParams} now */
  async function show(now) {
    open = now.get("source") ?? "";
    gallery.hidden = open !== "";
    detail.hidden = open === "";
    title("Sources");
    if (open) {
      ready = showSource(detail, open, jobs);
      await ready;
      return;
    }
    closeSource();
    fill(detail);
    if (!grid) await build();
  }

  async function build() {
    for (const old of gallery.querySelectorAll(".empty")) old.remove();
    // What stands above the grid comes first, so that nothing moves.
    const [stats] = await Promise.all([once("/stats").catch(() => null), jobs.ready]);
    if (gone || grid) return;
    if (stats) showTotals(totals, stats);
    grid = virtualGrid(gallery, { label: "Sources", size, load, cell: sourceCard, changed: told,
      failed: (error) => { if (!(error instanceof ApiError && error.kind === "gone")) stop(failure(error, build)); } });
    ready = grid.ready;
    await ready;
  }

  /** @param {HTMLElement} node */
  function stop(node) {
    grid?.destroy();
    grid = null;
    gallery.append(node);
  }

  /** @param {number} offset @param {number} top @param {AbortSignal} signal */
  async function load(offset, top, signal) {
    all ??= /** @type {any[]} */ ((await get("/sources", {}, { signal })).sources);
    const words = filter.value.trim().toLowerCase();
    const found = words ? all.filter((one) => one.source.toLowerCase().includes(words)) : all;
    return { total: found.length, items: found.slice(offset, offset + top) };
  }

  /** @param {number} total */
  async function told(total) {
    filter.hidden = (all?.length ?? 0) <= FEW;
    const words = filter.value ? `${count(total, "source")} of ${all?.length}` : count(total, "source");
    summary.textContent = words;
    announce(words);
    if (!all?.length) {
      const server = await once("/server").catch(() => ({}));
      const words = "Give vidmem a video, a folder of photos or a robot log. It watches each one once and remembers what it saw.";
      stop(server.allow_write ? emptyView("Nothing is indexed yet", [words]) : noMemory(server, "Nothing is indexed yet", words));
    }
  }

  /** The memory has changed: ask for everything again. */
  function renew() {
    all = null;
    once("/stats").then((stats) => showTotals(totals, stats), () => {});
    if (open) { ready = showSource(detail, open, jobs); return; }
    if (grid) grid.reload();
    else void build();
  }

  const stops = [listen("memory", () => setTimeout(renew)),
    // A source in which nothing was seen does not change what can be asked for, so there is no event of the memory.
    listen("job", (job) => { if (job.state in ENDED) { forgetKept(); renew(); } })];
  const back = () => { jobs.renew(); renew(); };
  addEventListener("vidmem:back", back);
  void show(params);
  return {
    update: show,
    get ready() { return ready; },
    unmount() {
      gone = true;
      closeSource();
      grid?.destroy();
      jobs.stop();
      for (const stop of stops) stop();
      removeEventListener("vidmem:back", back);
    },
  };
}

/** @param {HTMLElement} list @param {any} stats */
function showTotals(list, stats) {
  const facts = [["Video", stats.duration_s ? span(stats.duration_s) : ""], ["Photos", stats.photos ? stats.photos.toLocaleString("en-GB") : ""],
    ["Tracks", stats.tracks && stats.tracks.toLocaleString("en-GB")], ["Damaged", stats.damaged ? count(stats.damaged, "frame") : ""],
    ["On disk", stats.sources && bytes(stats.database_bytes + stats.cache_bytes)],
    ["An hour of video", stats.bytes_per_hour ? bytes(stats.bytes_per_hour) : ""]];
  fill(list, facts.filter(([, value]) => value).map(([term, value]) => el("div", null, el("dt", { text: term }), el("dd", { text: value }))));
}

/** @param {number} wide */
function size(wide) {
  const columns = Math.max(1, Math.floor((wide + 16) / (17 * rem() + 16)));
  return { columns, height: Math.round((wide - 16 * (columns - 1)) / columns * 0.5625 + 6.75 * rem()) };
}

/** @param {any} source */
function sourceCard(source) {
  const facts = [source.duration_s ? lengthClock(source.duration_s) : "", source.width ? `${source.width} × ${source.height}` : "",
    kindOf(source), source.bytes ? bytes(source.bytes) : ""].filter(Boolean).join(" · ");
  const doubt = dateDoubt(source.recorded_by);
  return el("a", { class: "card source-card", href: href("sources", { source: source.id }), draggable: "false" },
    poster(source),
    el("span", { class: "card-words" },
      el("span", { class: "card-title" }, el("span", { class: "card-name cut", text: sourceName(source.source), title: source.source }), badges(source)),
      el("span", { class: "card-line num cut", text: facts }),
      el("span", { class: "card-line num cut" }, when(source.recorded, source.recorded_by) || (source.kind === "pictures" ? "each with its own date" : "no date"),
        doubt && source.recorded && [" ≈", el("span", { class: "unseen", text: ` (${doubt})` })]),
      source.state === "open" && far(source)));
}

/** How far an interrupted source got. @param {any} source */
export function far(source) {
  const share = source.duration_s ? Math.min(1, Number(source.indexed_to_ns ?? 0) / 1e9 / source.duration_s) : 0;
  return el("span", { class: "progress", role: "img", "aria-label": `indexed to ${Math.round(share * 100)} %`, vars: { "--p": share } }, el("span"));
}

/** @param {any} source */
export function badges(source) {
  const open = source.kind === "live" ? "Open" : isWorkedOn(source.source) ? "Indexing" : "Interrupted";
  return [source.state === "open" && el("span", { class: `badge${open === "Interrupted" ? " is-warn" : ""}`, text: open }),
    source.damaged > 0 && el("span", { class: "badge is-warn", text: `${source.damaged} damaged` }),
    source.stale && el("span", { class: "badge is-warn", text: "Needs reembed" })];
}

const KINDS = { video: "", images: "pictures as a film", image: "a picture", pictures: "photos", log: "log", episode: "episode", live: "camera" };

/** @param {any} source */
export function kindOf(source) {
  const kind = KINDS[source.kind] ?? source.kind;
  return source.kind === "pictures" ? count(source.frames, "photo") : kind;
}

/** A picture that stands for a source: from its middle, as far as it was indexed. @param {any} source */
export function poster(source, width = 480) {
  if (source.kind === "live") return el("span", { class: "shot source-blank" }, icon("film"));
  const end = Math.min(Number(source.duration_ns), Number(source.indexed_to_ns ?? 0));
  if (source.kind !== "pictures") return shot(frameUrl(source.id, Math.max(0, Math.floor(end / 2)), { width }), 16, 9, "");
  const tiles = el("span", { class: "source-tiles" });
  get("/photos", { source: source.id, top: 4 }).then(({ photos }) => fill(tiles, photos.map((/** @type {any} */ photo) =>
    shot(frameUrl(photo.source_id, photo.frame_ns, { width: 320 }), 16, 9, ""))), () => {});
  return tiles;
}

