/** What the page remembers in this browser. Without storage (private windows) it forgets, and nothing fails. */

/** @param {string} name @returns {string | null} */
export function remembered(name) {
  try { return localStorage.getItem(`vidmem.${name}`); } catch { return null; }
}

/** @param {string} name @param {string | null} value null forgets it */
export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(`vidmem.${name}`);
    else localStorage.setItem(`vidmem.${name}`, value);
  } catch { /* nothing to remember it in */ }
}
