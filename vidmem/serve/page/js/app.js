/** Starts the page: the views, the bar, the keys that work everywhere, and what to do when the server is gone. */
import { forgetKept, get, knowGeneration, listen, once, signals } from "./api.js";
import { button, el, fill, icon, toast } from "./dom.js";
import { bindKeys, showKeys } from "./keys.js";
import { go, here, start } from "./router.js";
import { remember, remembered } from "./store.js";
import { takePictures } from "./pictures.js";
import * as search from "./search.js";

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

for (const place of document.querySelectorAll("[data-icon]")) {
  place.replaceChildren(icon(/** @type {HTMLElement} */ (place).dataset.icon ?? ""));
}

// A memory that changed: what was kept is old. It is said before views hear of it, which ask anew then.
listen("memory", forgetKept);

start({
  search: async () => search,
  things: () => import("./things.js"),
  sources: () => import("./sources.js"),
  photos: () => import("./photos.js"),
});

const bar = /** @type {HTMLElement} */ (document.querySelector(".bar"));
addEventListener("scroll", () => bar.classList.toggle("is-over", scrollY > 4), { passive: true });

document.querySelector("[data-skip]")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
  byId("main").scrollIntoView();
});

// Colours: as the system, light, dark; the choice is remembered.
const THEMES = [["", "auto", "as the system"], ["light", "sun", "light"], ["dark", "moon", "dark"]];
function showTheme() {
  const theme = remembered("theme") ?? "";
  const [value, picture, words] = THEMES.find(([name]) => name === theme) ?? THEMES[0];
  if (value) document.documentElement.dataset.theme = value;
  else delete document.documentElement.dataset.theme;
  fill(byId("theme"), icon(picture));
  byId("theme").setAttribute("aria-label", `Colours: ${words}`);
  byId("theme").title = `Colours: ${words}`;
}
byId("theme").addEventListener("click", () => {
  const at = THEMES.findIndex(([name]) => name === (remembered("theme") ?? ""));
  remember("theme", THEMES[(at + 1) % THEMES.length][0] || null);
  showTheme();
});
showTheme();
byId("help").addEventListener("click", showKeys);

takePictures(search.searchByPicture);

bindKeys([
  { keys: ["/"], does: "Search", run: () => { if (here().name !== "search") go("search"); search.focusField(); } },
  { keys: ["?"], does: "Show the keys", run: showKeys },
  { keys: ["1"], does: "Search", group: "Views", run: () => go("search") },
  { keys: ["2"], does: "Things", group: "Views", run: () => go("things") },
  { keys: ["3"], does: "Sources", group: "Views", run: () => go("sources") },
  { keys: ["4"], does: "Photos", group: "Views", run: () => go("photos") },
]);

once("/server").then((server) => {
  byId("memory-name").textContent = server.memory;
  knowGeneration(server.generation);
}, () => {}); // the banner says that the server is gone

let asking = 0;
signals.addEventListener("gone", () => {
  if (asking) return;
  fill(byId("banner"), icon("warn"), el("span", null, "The server does not answer. Is ", el("code", { text: "vidmem serve" }), " still running?"),
    button("Try again", { class: "is-small", on: { click: () => get("/server").catch(() => {}) } }));
  byId("banner").hidden = false;
  asking = window.setInterval(() => get("/server").catch(() => {}), 3000);
});
signals.addEventListener("there", () => {
  if (!asking) return;
  clearInterval(asking);
  asking = 0;
  byId("banner").hidden = true;
  forgetKept();
  dispatchEvent(new Event("vidmem:back"));
});

let missed = "";
signals.addEventListener("inexact", (event) => {
  const down = /** @type {CustomEvent<{shard: number, tracks: number, sources: string[]}[]>} */ (event).detail;
  const text = down.map((one) => `shard ${one.shard} (${one.sources[0] ?? ""}${one.sources.length > 1 ? ", …" : ""})`).join(", ");
  if (text === missed) return; // once for the questions of one view
  missed = text;
  toast(`Not all could be asked: ${text} cannot be reached, and what was seen there may be missing.`, { seconds: 20 });
  setTimeout(() => { missed = ""; }, 20000);
});
