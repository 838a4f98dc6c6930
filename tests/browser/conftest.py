"""Fixtures for tests of the page: a real server over a real memory, and a Chromium that is watched.

A test fails on any error on the console, uncaught error, dialog, breach of the content security policy, or request to
another host. What the browser shows can be saved by `shot`, into benchmarks/out/page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from needs import needs, needs_browser

from .server import Server
from .watched import Watched
from .worlds import demo_world, kept_or, large_world

SHOTS = Path(__file__).parents[2] / "benchmarks" / "out" / "page"
WAIT_MS = 30_000
"""How long a test waits for a condition; on a busy machine pages are slow."""
SLOWNESS = float(os.environ.get("VIDMEM_SLOWNESS", "4"))
"""Limits of time are multiplied by this number, as tests share their machine with others; 1 on an idle one."""

# All of them end with the last test of this folder: Playwright's loop must not run while other tests use asyncio.


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A Chromium that can reach no host but this one."""
    path = needs_browser()
    sync = needs("playwright.sync_api")
    needs("starlette")
    sync.expect.set_options(timeout=WAIT_MS)
    flags = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--disable-gpu"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Path:
    """The folder of `demo_world`. It is made once, and only where there is a browser."""
    return kept_or(tmp_path_factory.mktemp("demo"), "demo", demo_world)


@pytest.fixture(scope="package")
def large(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Path:
    """The folder of `large_world`."""
    return kept_or(tmp_path_factory.mktemp("large"), "large", large_world)


@pytest.fixture(scope="package")
def served(demo: Path) -> Iterator[Server]:
    """A read-only server over the films and photos."""
    with Server(demo / "memory") as server:
        yield server


@pytest.fixture(scope="package")
def served_large(large: Path) -> Iterator[Server]:
    """A read-only server over 100,000 tracks."""
    with Server(large / "memory") as server:
        yield server


@pytest.fixture(scope="package")
def served_empty(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A read-only server over a memory with nothing in it."""
    from vidmem import Memory

    folder = tmp_path_factory.mktemp("empty") / "memory"
    Memory.open(folder).close()
    with Server(folder) as server:
        yield server


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Opens pages, each in a context of its own, with options of Playwright's `new_context`. Faults fail the test."""
    contexts, opened = [], []

    def open_one(**options: Any) -> Watched:
        size = {"width": 1440, "height": 900}
        context = browser.new_context(**{"viewport": size, "reduced_motion": "reduce", "locale": "en-GB", **options})
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        opened.append(Watched(context.new_page()))
        return opened[-1]

    yield open_one
    faults = [fault for one in opened for fault in one.faults()]
    for context in contexts:
        context.close()
    assert not faults, "the page is at fault:\n" + "\n".join(faults)


@pytest.fixture
def watched(open_page: Callable[..., Watched]) -> Watched:
    """One page in a window of 1440 by 900."""
    return open_page()


@pytest.fixture
def page(watched: Watched) -> Any:
    """The Playwright page of `watched`."""
    return watched.page


@pytest.fixture
def shot() -> Callable[[Any, str], Path]:
    """Saves what a page shows as NAME.png."""

    def save(page: Any, name: str) -> Path:
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}.png"
        page.screenshot(path=str(path), animations="disabled")
        return path

    return save


@pytest.fixture
def record() -> Callable[[str, float], None]:
    """Keeps a figure that a test measured, in benchmarks/out/page/figures.json."""

    def keep(name: str, value: float) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / "figures.json"
        figures = json.loads(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(json.dumps(figures | {name: round(value, 1)}, indent=1, sort_keys=True), "utf-8")

    return keep


@pytest.fixture
def axe() -> Callable[[Any], None]:
    """Runs axe-core on a page and fails on any violation of WCAG 2.0, 2.1 or 2.2 of level A or AA."""
    kind = needs("axe_playwright_python.sync_playwright").Axe
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

    def check(page: Any) -> None:
        found = kind().run(page, options={"runOnly": {"type": "tag", "values": tags}})
        assert found.violations_count == 0, found.generate_report()

    return check
