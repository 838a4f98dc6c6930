/** The colours of the page for a canvas, which cannot read `light-dark()`. */
import { el } from "./dom.js";

/** @param {Object<string, string>} names custom properties by name @returns {Object<string, string>} colours as rgb() */
export function colours(names) {
  return Object.fromEntries(Object.entries(names).map(([name, property]) => {
    const probe = el("span", { class: "unseen", "aria-hidden": "true" });
    probe.style.setProperty("color", `var(${property})`);
    document.body.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return [name, color];
  }));
}

/** Call back when the colours change. @param {() => void} changed @returns {() => void} stops it */
export function whenColoursChange(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", changed);
  return () => { observer.disconnect(); system.removeEventListener("change", changed); };
}
