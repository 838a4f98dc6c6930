// Runs before the first paint: the colours that were chosen, so that the page does not flash.
(function () {
  try {
    const theme = localStorage.getItem("vidmem.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch { /* no storage: the system's colours */ }
})();
