"""Indexing from the page, live: started, watched, stopped, gone on with, and forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from needs import needs

from .server import Server
from .test_search import api
from .watched import Watched, until
from .worlds import clock

expect = needs("playwright.sync_api").expect

LONG_S = 600


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    clock(folder / "short.mp4", 4, every_s=1)
    clock(folder / "<b>long.mp4", LONG_S, every_s=1, shade=200)
    return folder


@pytest.fixture
def writable(browser: Any, films: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that may write, over an empty memory."""
    from vidmem import Memory

    Memory.open(tmp_path / "memory").close()
    with Server(tmp_path / "memory", "--allow-write", "--folder", str(films)) as server:
        yield server


def start(page: Any, path: str) -> Any:
    page.get_by_label("Index a file or a folder").fill(path)
    page.get_by_role("button", name="Index", exact=True).click()
    return page.locator(".job").first


def test_a_film_is_indexed_and_forgotten_from_the_page(writable: Server, page: Any, films: Path) -> None:
    page.goto(f"{writable.url}/#/things")
    page.get_by_role("link", name="Index something").click()
    job = start(page, "short.mp4")
    expect(job.locator(".job-state")).to_have_text("Done", timeout=60_000)
    expect(job).to_contain_text("1 source")
    expect(page.locator(".virtual .card")).to_have_count(1)
    expect(page.locator(".virtual .card")).to_contain_text("short.mp4")
    page.locator(".virtual .card").click()
    page.get_by_role("button", name="Forget…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Forget…").click()
    dialog.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("heading", name="Nothing is indexed yet")).to_be_visible(timeout=60_000)
    assert (films / "short.mp4").exists()
    assert api(writable, "/sources")["sources"] == []


def test_what_is_not_there_or_not_allowed_is_said(writable: Server, watched: Watched) -> None:
    watched.allow("400|403|404")
    page = watched.page
    page.goto(f"{writable.url}/#/sources")
    for path in ("/etc/passwd", "../memory", "http://127.0.0.1:1/x.mp4"):
        page.get_by_label("Index a file or a folder").fill(path)
        page.get_by_role("button", name="Index", exact=True).click()
        expect(page.locator(".index-wrong")).not_to_be_empty()
    assert api(writable, "/jobs")["jobs"] == []


@pytest.mark.slow
def test_progress_is_live_stopped_and_gone_on_with(writable: Server, open_page: Callable[..., Watched]) -> None:
    page, other = open_page().page, open_page().page
    for one in (page, other):
        one.goto(f"{writable.url}/#/sources")
    job = start(page, "<b>long.mp4")
    bar = page.get_by_role("progressbar")
    until(page, "Number(document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')) > 0", 60)
    expect(job).to_contain_text(re.compile(r"\d:\d\d of 10:\d\d"))
    expect(other.get_by_role("progressbar")).to_be_visible()
    assert bar.get_attribute("aria-label") == "Index <b>long.mp4"
    job.get_by_role("button", name="Stop").click()
    expect(job.locator(".job-state")).to_contain_text("Stopped", timeout=60_000)
    expect(other.locator(".job-state").first).to_contain_text("Stopped")
    card = page.locator(".virtual .card")
    expect(card).to_contain_text("Interrupted")
    card.click()
    page.get_by_role("button", name="Go on indexing").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.locator(".job").first.get_by_role("button", name="Stop").click()
    expect(page.locator(".job-state").first).to_contain_text("Stopped", timeout=60_000)


def test_a_page_that_reads_cannot_write(page: Any, served: Server) -> None:
    page.goto(f"{served.url}/#/sources?source=1")
    expect(page.locator(".facts")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Forget|Index"))).to_have_count(0)
    answer = page.request.post(f"{served.url}/api/v1/jobs", data={"action": "forget", "sources": [1]})
    assert answer.status == 403
