/**
 * Small pictures come when they are near the screen, and a few at a time: a browser holds six connections to a server, and
 * a question or the video must not wait for a screen full of pictures. The last ones wanted come first.
 */
const AT_A_TIME = 3;
const NEAR = "240px";

/** @type {WeakMap<HTMLImageElement, string>} */
const addresses = new WeakMap();
/** @type {HTMLImageElement[]} */
const waiting = [];
/** @type {Set<HTMLImageElement>} */
const loading = new Set();

const observer = new IntersectionObserver((entries) => {
  const near = entries.filter((entry) => entry.isIntersecting).map((entry) => /** @type {HTMLImageElement} */ (entry.target));
  for (const img of near) observer.unobserve(img);
  waiting.push(...near.reverse());
  next();
}, { rootMargin: NEAR });

/** @param {HTMLImageElement} img @param {string} src */
export function loadWhenNear(img, src) {
  addresses.set(img, src);
  observer.observe(img);
}

/** Give up pictures that are no longer in the page, and go on with those that are; lists call it when they drop items. */
export function next() {
  for (const img of loading) {
    if (img.isConnected) continue;
    loading.delete(img);
    img.removeAttribute("src"); // ends the request
  }
  while (loading.size < AT_A_TIME && waiting.length) {
    const img = /** @type {HTMLImageElement} */ (waiting.pop());
    const src = addresses.get(img);
    if (!img.isConnected || !src) continue;
    loading.add(img);
    const done = () => { loading.delete(img); next(); };
    img.addEventListener("load", done, { once: true });
    img.addEventListener("error", done, { once: true });
    img.src = src;
  }
}
