/** The view "Photos": all photos by month, and the question about one of many. */
import { ApiError, frameUrl, get, listen, once } from "./api.js";
import { announce, el, fill, icon, shot } from "./dom.js";
import { count, sourceName, when } from "./format.js";
import { showAnswer } from "./haystack.js";
import { bindKeys } from "./keys.js";
import { failure, noMemory, rem } from "./parts.js";
import { showPhoto } from "./photo.js";
import { go, href, title } from "./router.js";
import { suggestNames } from "./typeahead.js";
import { virtualGrid } from "./virtual.js";

const MONTH = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });

/** @param {HTMLElement} root @param {import("./router.js").Context} context @returns {import("./router.js").View} */
export function mount(root, { params }) {
  const summary = el("p", { class: "num summary", text: "\u00a0" });
  const anchor = part("dog", "What identifies the photo");
  const target = part("frisbee", "What to look for in it");
  const form = el("form", { class: "haystack-form", role: "search", "aria-label": "Ask about one photo", on: { submit: ask } },
    el("label", { for: "haystack-anchor", text: "In the photo with the" }), field(anchor, "haystack-anchor"),
    el("label", { for: "haystack-target", text: "is there a" }), field(target, "haystack-target"), el("span", { "aria-hidden": "true", text: "?" }),
    el("button", { class: "button is-primary", type: "submit" }, "Ask"));
  const answer = el("div", { class: "haystack-answer", "aria-live": "polite" });
  const gallery = el("section", { class: "photos", "aria-label": "Photos" },
    el("div", { class: "view-head" }, el("div", null, el("h1", { text: "Photos" }), summary)), form, answer);
  const detail = el("div", { hidden: true });
  root.append(gallery, detail);

  /** @type {ReturnType<typeof virtualGrid> | null} */ let grid = null;
  let total = 0, at = -1, asked = "";
  /** @type {Promise<any>} */ let ready = Promise.resolve();

  /** @param {Event} event */
  function ask(event) {
    event.preventDefault();
    const [one, other] = [anchor, target].map((input) => input.value.trim());
    if (one && other) go("photos", { anchor: one, target: other });
    else (one ? target : anchor).focus();
  }

  /** @param {URLSearchParams} now */
  async function show(now) {
    const photo = now.get("photo") ?? "";
    at = photo ? Number(now.get("at") ?? -1) : -1;
    gallery.hidden = photo !== "";
    detail.hidden = photo === "";
    title(photo ? "Photo" : "Photos");
    if (photo) {
      ready = showPhoto(detail, photo, at >= 0 ? { at, total, step } : null);
      await ready;
      return;
    }
    fill(detail);
    const [one, other] = [now.get("anchor") ?? "", now.get("target") ?? ""];
    if (document.activeElement !== anchor || one) anchor.value = one;
    if (document.activeElement !== target || other) target.value = other;
    if (!grid) build();
    if (asked !== `${one}\n${other}`) {
      asked = `${one}\n${other}`;
      if (one && other) await showAnswer(answer, one, other);
      else fill(answer);
    }
    await ready;
  }

  function build() {
    for (const old of gallery.querySelectorAll(".empty")) old.remove();
    grid = virtualGrid(gallery, { label: "Photos", gap: 6, size, load, cell: photoCell, changed: told,
      failed: (error) => { if (!(error instanceof ApiError && error.kind === "gone")) stop(failure(error, build)); } });
    ready = grid.ready;
  }

  /** @param {HTMLElement} node */
  function stop(node) {
    grid?.destroy();
    grid = null;
    gallery.append(node);
  }

  /** @param {number} offset @param {number} top @param {AbortSignal} signal */
  async function load(offset, top, signal) {
    const found = await get("/photos", { offset, top }, { signal });
    return { total: found.total, items: found.photos,
      sections: found.months.map((/** @type {any} */ one) => ({ label: monthName(one.month), count: one.photos })) };
  }

  /** @param {number} found */
  async function told(found) {
    total = found;
    summary.textContent = count(total, "photo");
    announce(count(total, "photo"));
    form.hidden = total === 0;
    if (!total) stop(noMemory(await once("/server").catch(() => ({})), "No photos yet",
      "Photos of folders that are indexed appear here by date. Then ask: in the photo with the dog, is there a frisbee?"));
  }

  /** Go to the photo before or after. @param {number} by */
  async function step(by) {
    const to = at + by;
    if (at < 0 || to < 0 || (total && to >= total)) return;
    const known = grid?.item(to) ?? (await get("/photos", { offset: to, top: 1 })).photos[0];
    if (known) go("photos", { photo: `${known.source_id}@${known.frame_ns}`, at: to }, { replace: true });
  }

  const unbind = bindKeys([
    { keys: ["ArrowLeft"], does: "The photo before", group: "Photos", when: () => at >= 0, run: () => void step(-1) },
    { keys: ["ArrowRight"], does: "The photo after", group: "Photos", when: () => at >= 0, run: () => void step(1) },
    { keys: ["Escape"], does: "All photos", group: "Photos", when: () => !detail.hidden, run: () => go("photos") },
  ]);
  const stopListening = listen("memory", () => grid?.reload());
  const back = () => { if (grid) grid.reload(); else if (!gallery.hidden) build(); };
  addEventListener("vidmem:back", back);
  void show(params);
  return {
    update: show,
    get ready() { return ready; },
    unmount() {
      grid?.destroy();
      unbind();
      stopListening();
      removeEventListener("vidmem:back", back);
    },
  };
}

/** @param {string} placeholder @param {string} label */
function part(placeholder, label) {
  return /** @type {HTMLInputElement} */ (el("input", { class: "input", placeholder, title: label, enterkeyhint: "search" }));
}

/** @param {HTMLInputElement} input @param {string} id */
function field(input, id) {
  input.id = id;
  const { list } = suggestNames(input, (name) => { input.value = name; });
  return el("span", { class: "has-names" }, input, list);
}

/** @param {string | null} month such as 2026-03 */
function monthName(month) {
  return month ? MONTH.format(new Date(`${month}-15T12:00:00Z`)) : "Without a date";
}

/** @param {number} wide */
function size(wide) {
  const columns = Math.max(3, Math.floor((wide + 6) / (10 * rem() + 6)));
  return { columns, height: Math.round((wide - 6 * (columns - 1)) / columns) };
}

/** @param {any} photo @param {number} index */
function photoCell(photo, index) {
  const name = photo.image ? sourceName(photo.image) : "A photo whose file is gone";
  const words = [name, when(photo.recorded, photo.recorded_by)].filter(Boolean).join(", ");
  return el("a", { class: "photo", href: href("photos", { photo: `${photo.source_id}@${photo.frame_ns}`, at: index }),
    title: words, "aria-label": words, draggable: "false" },
    shot(frameUrl(photo.source_id, photo.frame_ns, { width: 320 }), 1, 1, ""),
    photo.paths.length > 1 && el("span", { class: "photo-copies badge" }, icon("copy"), String(photo.paths.length)));
}
