"""What a page did that it should not: errors on the console, dialogs, requests to other hosts, layout shifts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")

OBSERVE = """
window.__seen = {shifts: [], tasks: [], violations: []};
const observe = (type, add) => {
  try { new PerformanceObserver(list => list.getEntries().forEach(add)).observe({type, buffered: true}); } catch {}
};
observe("layout-shift", e => { if (!e.hadRecentInput) window.__seen.shifts.push(
  [e.value, e.sources.map(s => s.node?.outerHTML?.slice(0, 120) ?? "")]); });
observe("longtask", e => window.__seen.tasks.push([e.startTime, e.duration]));
document.addEventListener("securitypolicyviolation", e => window.__seen.violations.push(
  `${e.violatedDirective} forbids ${e.blockedURI} in ${e.sourceFile}:${e.lineNumber}`));
"""
"""Runs in each page before its own scripts."""


def until(page: Any, script: str, wait_s: float = 30.0) -> Any:
    """Wait until a JavaScript expression is true and return its value.

    Playwright's own `wait_for_function` needs `eval` in the page, which the policy of the page forbids.
    """
    end = time.monotonic() + wait_s
    while not (value := page.evaluate(script)):
        assert time.monotonic() < end, f"not true after {wait_s} s: {script}"
        page.wait_for_timeout(20)
    return value


class Watched:
    """Listens to one page. `allow` names messages that a test expects."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self._faults: list[str] = []
        self._allowed: list[str] = []
        page.add_init_script(OBSERVE)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._faults.append(f"uncaught: {error}"))
        page.on("request", self._request)
        page.on("dialog", self._dialog)
        page.on("crash", lambda _: self._faults.append("the page crashed"))

    def allow(self, *patterns: str) -> None:
        """Messages of the console that match one of these patterns are no fault."""
        self._allowed += patterns

    def faults(self) -> list[str]:
        """All faults so far, those that are allowed left out."""
        violations = self._ask("window.__seen?.violations ?? []") or []
        found = [*self._faults, *(f"policy: {text}" for text in violations)]
        return [fault for fault in found if not any(re.search(pattern, fault) for pattern in self._allowed)]

    def shift(self) -> tuple[float, list[Any]]:
        """The sum of the layout shifts that no input explains, and each with the elements that moved."""
        shifts = self.page.evaluate("window.__seen.shifts")
        return sum(value for value, _ in shifts), shifts

    def first_paint_ms(self) -> float:
        """From the start of the navigation to the first contentful paint."""
        return float(until(self.page, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"))

    def longest_task_ms(self, do: Callable[[], object]) -> float:
        """The longest task of the page's thread while `do` runs and until the page is idle; below 50 it is 0."""
        self.page.evaluate("window.__seen.tasks.length = 0")
        do()
        self.page.evaluate("new Promise(done => requestIdleCallback(() => setTimeout(done, 60)))")
        return max((duration for _, duration in self.page.evaluate("window.__seen.tasks")), default=0.0)

    def _ask(self, script: str) -> Any:
        try:
            return None if self.page.is_closed() else self.page.evaluate(script)
        except Exception:  # the page is gone, or between two pages
            return None

    def _console(self, message: Any) -> None:
        if message.type in ("error", "assert"):
            self._faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOOPBACK:
            self._faults.append(f"asked another host: {request.url}")

    def _dialog(self, dialog: Any) -> None:
        self._faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()
