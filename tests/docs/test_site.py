"""The built site. `make docs` builds it and then runs these tests."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "site"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "video": "src", "source": "src"}
pytestmark = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site here; `make docs` builds it")


class Loads(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADED and values.get("rel") not in ("canonical", "next", "prev"):
            self.urls.append(values.get(LOADED[tag]) or "")


def test_pages_load_nothing_from_other_hosts() -> None:
    pages = sorted(SITE.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text("utf-8"))
        assert loads.urls
        assert not [url for url in loads.urls if re.match(r"(https?:)?//", url)], page
    for style in SITE.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text("utf-8")), style


def test_the_reference_shows_what_memory_can_do() -> None:
    page = (SITE / "reference" / "api" / "index.html").read_text("utf-8")
    for name in ("Memory.index", "memory.Query.where", "memory.Query.things", "memory.Pictures.sheet"):
        assert f'id="vidmem.{name}"' in page


def test_the_notebook_shows_its_pictures() -> None:
    page = (SITE / "notebook" / "index.html").read_text("utf-8")
    assert len(re.findall(r"<img [^>]*(notebook_files|data:image)", page)) >= 4
    assert "Traceback" not in page
