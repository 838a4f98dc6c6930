"""The files of the page: complete, self-contained, and without what its Content-Security-Policy forbids."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

PAGE = Path(str(files("vidmem.serve"))) / "page"
MODULES = sorted(PAGE.glob("js/*.js"))
STYLES = sorted(PAGE.glob("css/*.css"))
_IMPORT = re.compile(r'(?:^|\n)import\s(?:[^;"]*?\sfrom\s)?"\./([^"]+)"|import\("\./([^"]+)"\)')


def _imports(module: Path, *, dynamic: bool) -> set[str]:
    found = _IMPORT.findall(module.read_text())
    return {static or later for static, later in found if static or dynamic}


def _needed_first() -> set[str]:
    """The modules that are loaded before the page does anything: app.js and what it imports, step by step."""
    seen: set[str] = set()
    todo = {"app.js"}
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= _imports(PAGE / "js" / name, dynamic=False) - seen
    return seen


def test_every_address_in_the_document_is_a_file() -> None:
    addresses = re.findall(r'(?:href|src)="(static/[^"]+)"', (PAGE / "index.html").read_text())
    assert len(addresses) > 10
    assert [a for a in addresses if not (PAGE / a.removeprefix("static/")).is_file()] == []


def test_the_document_preloads_every_module_that_is_needed_first() -> None:
    """Otherwise the browser finds the modules one import after the other."""
    preloaded = set(re.findall(r'rel="modulepreload" href="static/js/([^"]+)"', (PAGE / "index.html").read_text()))
    assert preloaded == _needed_first() - {"app.js"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_import_is_a_file(module: Path) -> None:
    assert [name for name in _imports(module, dynamic=True) if not (PAGE / "js" / name).is_file()] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_module_reads_markup_from_a_string(module: Path) -> None:
    """Names of files and things must never become elements."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b|Function\("
    )
    assert re.findall(forbidden, module.read_text()) == []


def test_the_document_has_no_inline_script_or_style() -> None:
    text = (PAGE / "index.html").read_text()
    assert re.findall(r"\sstyle=|<style|\son\w+=|javascript:", text) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>", text) == []


@pytest.mark.parametrize("path", [PAGE / "index.html", *MODULES, *STYLES], ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", path.read_text())
    assert [a for a in addresses if not a.endswith("www.w3.org/2000/svg")] == []
    assert "@import" not in path.read_text()
