"""What holds for every view: accessible, steady, quick, safe against names, and there again when the server is."""

from __future__ import annotations

import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from needs import needs

from .conftest import SLOWNESS
from .server import Server
from .watched import Watched, until
from .worlds import HOSTILE_FILM, HOSTILE_PHOTO

expect = needs("playwright.sync_api").expect

FIRST_PAINT_MS = 300
MOST_SHIFT = 0.01
VIEWS = {
    "home": "#/search",
    "answer": "#/search?text=cat",
    "not-found": "#/search?text=violin",
    "things": "#/things?names=all",
    "names": "#/things?sort=name",
    "thing": "#/things?thing={thing}",
    "sources": "#/sources",
    "source": "#/sources?source=1",
    "photos": "#/photos?anchor=cup&target=bowl+with+spoon",
    "photo": "#/photos?photo=4@0",
}
SIZES = {"phone": (360, 740), "laptop": (1440, 900), "wall": (2560, 1440)}
SETTLED = """(() => { const seen = one => one.checkVisibility();
  const busy = [...document.querySelectorAll('[aria-busy=true], .skeleton')].some(seen);
  const shots = [...document.querySelectorAll('.shot')].filter(s => { const r = s.getBoundingClientRect();
    return r.width && r.top < innerHeight && r.bottom > 0; });
  const head = [...document.querySelectorAll('main h1')].some(seen);
  const told = [...document.querySelectorAll('.summary')].filter(seen).every(one => one.textContent.trim());
  return head && told && !busy && shots.every(s => /is-there|is-gone/.test(s.className)); })()"""
"""True if a view has all that it shows in the window."""


MADE_OF_NAMES = "document.querySelectorAll('img[src=x], img[onerror], svg[onload], main script, iframe, object').length"
"""Elements that a browser would make of the names of files, if they were read as markup."""


@pytest.fixture(scope="module")
def track(demo: Path) -> int:
    """A track of a thing that is seen several times."""
    from vidmem import Memory
    from vidmem.query.gallery import Choice

    with Memory.open(demo / "memory", read_only=True) as memory:
        return next(t for t in memory.things(choice=Choice(named=True)) if t.sightings > 2).tracks[0]


def show(page: Any, served: Server, view: str, track: int) -> None:
    page.goto("about:blank")  # else only what is behind the # changes, and the view before is still there
    page.goto(f"{served.url}/{VIEWS[view].format(thing=track)}")
    until(page, SETTLED)


THEMES = [(view, "light") for view in VIEWS] + [(view, "dark") for view in ("answer", "things", "sources", "photos")]


@pytest.mark.parametrize(("view", "theme"), THEMES)
def test_views_are_accessible_steady_and_made_of_text(
    open_page: Callable[..., Watched],
    served: Server,
    axe: Callable[[Any], None],
    shot: Callable[[Any, str], Path],
    track: int,
    view: str,
    theme: str,
) -> None:
    watched = open_page(color_scheme=theme)
    show(watched.page, served, view, track)
    axe(watched.page)
    assert watched.page.evaluate(MADE_OF_NAMES) == 0
    moved, what = watched.shift()
    assert moved < MOST_SHIFT, what
    shot(watched.page, f"{view}-laptop-{theme}")


@pytest.mark.parametrize("size", ["phone", "wall"])
def test_views_fit_small_and_large_windows(
    open_page: Callable[..., Watched], served: Server, shot: Callable[[Any, str], Path], track: int, size: str
) -> None:
    width, height = SIZES[size]
    watched = open_page(viewport={"width": width, "height": height}, color_scheme="dark" if size == "wall" else "light")
    for view in VIEWS:
        show(watched.page, served, view, track)
        assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} scrolls sideways"
        wide = """[...document.querySelectorAll('main *')].filter(e => { const r = e.getBoundingClientRect();
          return r.width && r.height && r.right > innerWidth + 1 && !e.closest('.unseen'); }).map(e => e.className)"""
        assert watched.page.evaluate(wide) == [], f"{view} has something beyond the window"
        shot(watched.page, f"{view}-{size}")


def test_targets_are_large_enough_on_a_phone(open_page: Callable[..., Watched], served: Server, track: int) -> None:
    """WCAG 2.2, 2.5.8: 24 pixels."""
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True).page
    small = """[...document.querySelectorAll('main button, main a.button, main input, nav a')].filter(e => {
      const r = (e.closest('label') ?? e).getBoundingClientRect();
      return r.width && !e.closest('.unseen') && !e.matches('.unseen') && (r.width < 24 || r.height < 16); })
      .map(e => e.outerHTML.slice(0, 80))"""
    for view in ("answer", "things", "sources", "photos"):
        show(page, served, view, track)
        assert page.evaluate(small) == [], view


def test_the_first_paint_is_quick(
    open_page: Callable[..., Watched], served: Server, record: Callable[[str, float], None]
) -> None:
    times = []
    for _ in range(5):
        watched = open_page()
        watched.page.goto(served.url)
        times.append(watched.first_paint_ms())
    record("first_paint_ms", statistics.median(times))
    assert statistics.median(times) < FIRST_PAINT_MS * SLOWNESS


def test_colours_are_chosen_and_kept(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/sources")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="Colours: as the system")
    button.click()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    until(page, f"{ground} !== {light!r}")
    dark = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Colours: dark").click()
    until(page, f"{ground} === {light!r}")


def test_names_of_files_and_what_is_typed_are_only_ever_text(watched: Watched, served: Server) -> None:
    page = watched.page
    page.goto(f"{served.url}/#/search?text=scissors&source=1")
    expect(page.locator(".words-where")).to_contain_text(HOSTILE_FILM)
    page.goto(f"{served.url}/#/photos?photo=4@0")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE_PHOTO)
    watched.allow("400")
    for words in ("<img src=x onerror=alert(1)>", "'\"><script>alert(1)</script>"):
        page.goto(f"{served.url}/#/things?name={words}")
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
        page.goto(f"{served.url}/#/search?text={words}")
        expect(page.locator(".notfound h1")).to_be_visible()
        page.goto(f"{served.url}/#/photos?anchor={words}&target=cat")
        expect(page.locator(".haystack-answer .is-none")).to_be_visible()
        assert page.evaluate(MADE_OF_NAMES) == 0


def test_the_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back(watched: Watched, demo: Path) -> None:
    watched.allow(
        "ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_CONNECTION_RESET|ERR_NETWORK|dynamically imported"
    )
    page = watched.page
    with Server(demo / "memory") as server:
        page.goto(f"{server.url}/#/things")
        until(page, SETTLED)
        server.stop(signal.SIGKILL)
        page.get_by_label("Filter by name").fill("spider")
        banner = page.get_by_role("alert").filter(has_text="The server does not answer")
        expect(banner).to_be_visible()
        server.start()
        expect(banner).to_be_hidden()
        expect(page.locator(".virtual .card").first).to_contain_text("spider web")
        until(page, SETTLED)
        server.stop(signal.SIGKILL)
        page.get_by_role("link", name="Photos").click()
        expect(banner).to_be_visible()
        server.start()
        expect(page.get_by_role("heading", level=1, name="Photos")).to_be_visible()


def test_another_host_is_refused(watched: Watched, served: Server) -> None:
    """What DNS rebinding does: a name of its own that leads here."""
    watched.allow("asked another host|421|400|403")
    port = served.url.rpartition(":")[2]
    answer = watched.page.request.get(f"{served.url}/api/v1/server", headers={"Host": f"evil.example:{port}"})
    assert answer.status in (400, 403, 421)
