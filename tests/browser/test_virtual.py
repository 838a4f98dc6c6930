"""The grid that holds only what is near the window, with items that the test makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import SLOWNESS
from .watched import Watched, until

PAGE = Path(__file__).parents[2] / "vidmem" / "serve" / "page"
COUNT = 100_000
LONGEST_TASK_MS = 200

HTML = """<!doctype html><html lang="en"><title>t</title><link rel="stylesheet" href="/static/css/tokens.css">
<link rel="stylesheet" href="/static/css/gallery.css"><main><h1>t</h1><div id="host"></div></main>
<script type="module" src="/test.js"></script></html>"""
SCRIPT = """
import { virtualGrid } from "/static/js/virtual.js";
import { loadWhenNear } from "/static/js/loading.js";
window.asked = []; window.aborted = [];
let total = COUNT, sections = SECTIONS;
const load = (offset, count, signal) => new Promise((done, fail) => {
  asked.push(offset);
  signal.addEventListener("abort", () => { aborted.push(offset); fail(signal.reason); });
  const items = Array.from({length: Math.max(0, Math.min(count, total - offset))}, (_, i) => offset + i);
  setTimeout(() => done({total, items, sections}), window.slow ?? 5);
});
const cell = (item) => {
  const link = document.createElement("a");
  link.href = `#${item}`; link.textContent = `item ${item}`;
  const img = document.createElement("img");
  img.alt = ""; img.width = 20; img.height = 20;
  loadWhenNear(img, `/pictures/${item}.svg`);
  link.append(img);
  return link;
};
window.setTotal = (n) => { total = n; };
window.grid = virtualGrid(document.getElementById("host"), {label: "Items", load, cell,
  size: (width) => ({columns: Math.max(1, Math.floor(width / 200)), height: 100})});
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"/>'


@pytest.fixture
def grid(open_page: Callable[..., Watched]) -> Callable[..., Watched]:
    def start(count: int = COUNT, sections: str = "undefined", **options: Any) -> Watched:
        watched = open_page(**options)
        script = SCRIPT.replace("COUNT", str(count)).replace("SECTIONS", sections)

        def answer(route: Any) -> None:
            path = route.request.url.removeprefix("http://127.0.0.1:1")
            if path.startswith("/pictures/"):
                route.fulfill(body=SVG, content_type="image/svg+xml")
            elif path.startswith("/static/"):
                kind = "text/css" if path.endswith("css") else "text/javascript"
                route.fulfill(body=(PAGE / path.removeprefix("/static/")).read_text("utf-8"), content_type=kind)
            elif path == "/test.js":
                route.fulfill(body=script, content_type="text/javascript")
            else:
                route.fulfill(body=HTML, content_type="text/html")

        watched.page.route("http://127.0.0.1:1/**", answer)
        watched.page.goto("http://127.0.0.1:1/")
        until(watched.page, "document.querySelector('.virtual')?.getAttribute('aria-busy') === 'false'")
        return watched

    return start


def shown(page: Any) -> list[int]:
    """The numbers of the items that are in the window, in the order of the document."""
    script = """[...document.querySelectorAll('.virtual-cell a')].filter(a => { const r = a.getBoundingClientRect();
      return r.bottom > 0 && r.top < innerHeight; }).map(a => Number(a.textContent.slice(5)))"""
    return list(page.evaluate(script))


def settled(page: Any) -> None:
    """Wait until what is near the window was drawn and its items are there."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    until(page, "!document.querySelector('.virtual-blank') && document.querySelectorAll('.virtual-cell a').length")


def focused(page: Any) -> int:
    return int(page.evaluate("Number(document.activeElement.textContent.slice(5))"))


def test_only_what_is_near_is_in_the_document(grid: Callable[..., Watched]) -> None:
    page = grid().page
    for share in (0, 0.31, 0.77, 1, 0.5):
        page.evaluate(f"scrollTo(0, {share} * document.body.scrollHeight)")
        settled(page)
        numbers = shown(page)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] == pytest.approx(share * COUNT, abs=0.01 * COUNT + 100)
        assert page.locator(".virtual-cell").count() < 250
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(page, f"[...document.querySelectorAll('.virtual-cell a')].at(-1)?.textContent === 'item {COUNT - 1}'")


def test_items_say_their_place_to_screen_readers(grid: Callable[..., Watched]) -> None:
    page = grid().page
    page.evaluate("scrollTo(0, 50000)")
    settled(page)
    assert page.get_by_role("list", name="Items").count() == 1
    place = """[...document.querySelectorAll('[role=listitem]')].map(n =>
      [n.ariaSetSize, n.ariaPosInSet, n.textContent])"""
    for size, position, text in page.evaluate(place):
        assert int(size) == COUNT
        assert text == f"item {int(position) - 1}"


def test_keys_go_everywhere_and_one_item_is_a_tab_stop(grid: Callable[..., Watched]) -> None:
    page = grid().page
    columns = page.evaluate("Math.floor(document.querySelector('.virtual').clientWidth / 200)")
    page.keyboard.press("Tab")
    assert focused(page) == 0
    assert page.locator(".virtual [tabindex='0']").count() == 1
    for key, to in [
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
        ("End", COUNT - 1),
        ("ArrowRight", COUNT - 1),
        ("Home", 0),
    ]:
        page.keyboard.press(key)
        until(page, f"document.activeElement.textContent === 'item {to}'")
    page.keyboard.press("PageDown")
    until(page, "!document.activeElement.classList.contains('virtual-blank')")
    down = focused(page)
    assert down > columns
    assert down % columns == 0
    assert down in shown(page)
    page.keyboard.press("PageUp")
    until(page, "document.activeElement.textContent === 'item 0'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement === document.body || !document.activeElement.closest('.virtual')")


def test_the_focused_item_stays_when_it_is_scrolled_away(grid: Callable[..., Watched]) -> None:
    page = grid().page
    page.keyboard.press("Tab")
    page.evaluate("scrollTo(0, 900000)")
    settled(page)
    assert focused(page) == 0
    page.keyboard.press("ArrowRight")
    until(page, "document.activeElement.textContent === 'item 1' && scrollY < 1000")


def test_what_is_scrolled_past_is_not_fetched(grid: Callable[..., Watched]) -> None:
    watched = grid()
    page = watched.page
    page.evaluate("window.slow = 2000")
    pictures: list[str] = []
    page.on("request", lambda request: pictures.append(request.url) if "/pictures/" in request.url else None)
    page.evaluate("""new Promise(done => { let y = 0; const step = () => { scrollTo(0, y += 3000);
      if (y < 300000) requestAnimationFrame(step); else done(); }; step(); })""")
    page.evaluate("window.slow = 5; scrollTo(0, 1500000)")
    settled(page)
    until(page, "[...document.querySelectorAll('.virtual-cell img')].some(img => img.src && img.complete)")
    asked, aborted = page.evaluate("[asked, aborted]")
    assert len(asked) < 20, "pages were fetched for what was scrolled past"
    assert set(asked) - set(aborted) == {a for a in asked if a == 0 or a > 20_000} | (set(asked) & {0, 60})
    numbers = {int(re.findall(r"\d+", url)[-1]) for url in pictures}
    assert not any(200 < number < 20_000 for number in numbers)


def test_scrolling_has_no_long_task(grid: Callable[..., Watched], record: Callable[[str, float], None]) -> None:
    watched = grid()
    scroll = """new Promise(done => { let y = 0; const step = () => { scrollTo(0, y += 700);
      if (y < 140000) requestAnimationFrame(step); else done(); }; step(); })"""
    longest = watched.longest_task_ms(lambda: watched.page.evaluate(scroll))
    record("longest_task_scrolling_100000_items_ms", longest)
    assert longest < LONGEST_TASK_MS * SLOWNESS
    assert watched.shift()[0] < 0.01


def test_sections_have_headings_where_their_items_begin(grid: Callable[..., Watched]) -> None:
    counts = [5, 40_000, 1, 59_994]
    sections = str([{"label": f"part {i}", "count": n} for i, n in enumerate(counts)])
    page = grid(sections=sections).page
    first = 0
    for i, n in enumerate(counts):
        page.evaluate(f"grid.focus({first})")
        until(page, f"document.activeElement.textContent === 'item {first}'")
        settled(page)
        head = page.get_by_role("heading", name=f"part {i}", exact=True).bounding_box()
        item = page.get_by_role("link", name=f"item {first}", exact=True).bounding_box()
        assert 0 < item["y"] - head["y"] < 80
        assert item["x"] == page.locator(".virtual").bounding_box()["x"]
        first += n


def test_another_width_keeps_the_place(grid: Callable[..., Watched]) -> None:
    page = grid().page
    page.evaluate("scrollTo(0, 400000)")
    settled(page)
    before = shown(page)[0]
    page.set_viewport_size({"width": 640, "height": 900})
    until(page, "document.querySelector('.virtual').clientWidth < 640")
    columns = page.evaluate("Math.floor(document.querySelector('.virtual').clientWidth / 200)")
    settled(page)
    assert abs(shown(page)[0] - before) <= 2 * columns


def test_it_asks_again_for_a_memory_that_changed(grid: Callable[..., Watched]) -> None:
    page = grid(count=500).page
    page.evaluate("setTotal(3); grid.reload()")
    until(page, "document.querySelectorAll('.virtual-cell').length === 3")
    assert shown(page) == [0, 1, 2]
