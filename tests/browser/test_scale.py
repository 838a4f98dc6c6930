"""The page over a memory of 100,000 tracks: thousands of things, without a stall."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from needs import needs

from .conftest import SLOWNESS
from .server import Server
from .test_search import api
from .watched import Watched, until
from .worlds import FILMS, TRACKS

expect = needs("playwright.sync_api").expect

LONGEST_TASK_MS = 200
SCROLL = """new Promise(done => { let y = 0; const step = () => { scrollTo(0, y += 600);
  if (y < 60000) requestAnimationFrame(step); else done(); }; step(); })"""


def test_thousands_of_things_scroll_without_a_stall(
    watched: Watched, served_large: Server, record: Callable[[str, float], None]
) -> None:
    assert api(served_large, "/stats")["tracks"] == TRACKS
    page = watched.page
    began = time.monotonic()
    page.goto(f"{served_large.url}/#/things?names=all")
    expect(page.locator(".virtual .card").first).to_be_visible(timeout=60_000)
    record("first_things_of_100000_tracks_ms", 1000 * (time.monotonic() - began))
    total = json.loads(served_large.get("/api/v1/things?top=1"))["total"]
    assert total > 5000
    expect(page.locator(".summary:visible")).to_have_text(f"{total:,} things")
    longest = watched.longest_task_ms(lambda: page.evaluate(SCROLL))
    record("longest_task_scrolling_things_of_100000_tracks_ms", longest)
    assert longest < LONGEST_TASK_MS * SLOWNESS
    assert page.locator(".virtual-cell").count() < 200
    assert watched.shift()[0] < 0.01
    until(page, "!document.querySelector('.virtual-blank')")
    page.locator(".virtual [tabindex='0']").focus()
    page.keyboard.press("End")
    until(page, f"document.activeElement.closest('[role=listitem]')?.ariaPosInSet === '{total}'")
    until(page, "document.activeElement.matches('.card')")


def test_the_names_of_thousands_of_things(page: Any, served_large: Server) -> None:
    page.goto(f"{served_large.url}/#/things?sort=name")
    total = api(served_large, "/things/names?named=1&top=1")["total"]
    assert total > 100
    expect(page.locator(".summary:visible")).to_have_text(f"{total:,} names", timeout=60_000)


def test_a_question_among_100000_tracks(
    watched: Watched, served_large: Server, record: Callable[[str, float], None]
) -> None:
    page = watched.page
    page.goto(f"{served_large.url}/#/search?text=cup")
    expect(page.locator(".words-when, .notfound h1").first).to_be_visible(timeout=60_000)
    field = page.get_by_role("combobox", name="What to look for")
    field.fill("dog")
    began = time.monotonic()
    longest = watched.longest_task_ms(lambda: field.press("Enter"))
    expect(page).to_have_title("dog · vidmem")
    expect(page.locator("main[aria-busy=true], .below[aria-busy=true]")).to_have_count(0)
    record("answer_among_100000_tracks_ms", 1000 * (time.monotonic() - began))
    record("longest_task_of_an_answer_among_100000_tracks_ms", longest)
    assert longest < LONGEST_TASK_MS * SLOWNESS


def test_sources_of_a_large_memory(page: Any, served_large: Server) -> None:
    page.goto(f"{served_large.url}/#/sources")
    expect(page.locator(".virtual .card")).to_have_count(FILMS)
    expect(page.locator(".totals")).to_contain_text(f"{TRACKS:,}")
