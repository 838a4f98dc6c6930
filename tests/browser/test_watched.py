"""The tests of the page would notice what they watch for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from .watched import Watched, until

SHIFTING = """<!doctype html><title>t</title><div id=a></div><p style="height:200px;background:red">moves</p><script>
requestAnimationFrame(() => setTimeout(() => { a.style.height = "300px"; document.title = "moved"; }, 100));</script>"""


@pytest.fixture
def bare(browser: Any) -> Any:
    """A page that is watched, but whose faults do not fail the test."""
    context = browser.new_context()
    yield Watched(context.new_page())
    context.close()


def show(watched: Watched, html: str, policy: str = "") -> None:
    """Open a document of these bytes, as a server would send it."""
    headers = {"content-security-policy": policy} if policy else {}
    watched.page.route("http://127.0.0.1:1/", lambda r: r.fulfill(body=html, content_type="text/html", headers=headers))
    watched.page.goto("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("console.error('broken')", "console: broken"),
        ("setTimeout(() => nowhere())", "uncaught: nowhere is not defined"),
        ("setTimeout(() => alert(7))", "dialog: 7"),
        ("fetch('http://192.0.2.1/x').catch(() => 0)", "asked another host: http://192.0.2.1/x"),
        ("new Image().src = 'https://cdn.example/x.png'", "asked another host"),
    ],
)
def test_a_fault_is_noticed(bare: Watched, script: str, fault: str) -> None:
    show(bare, f"<script>{script}</script>")
    end = time.monotonic() + 15
    while not any(fault in found for found in bare.faults()):
        assert time.monotonic() < end, bare.faults()
        bare.page.wait_for_timeout(10)
    bare.allow(".")
    assert bare.faults() == []


def test_a_breach_of_the_policy_is_noticed(bare: Watched) -> None:
    show(bare, "<title>t</title><script>document.title = 'ran'</script>", "script-src 'none'")
    until(bare.page, "window.__seen.violations.length")
    assert any("policy: script-src-elem forbids inline" in found for found in bare.faults()), bare.faults()
    assert bare.page.title() == "t"


def test_a_shift_of_the_layout_is_noticed(bare: Watched) -> None:
    show(bare, SHIFTING)
    until(bare.page, "document.title === 'moved' && window.__seen.shifts.length")
    value, shifts = bare.shift()
    assert value > 0.01
    assert "moves" in str(shifts)


def test_a_long_task_is_noticed(bare: Watched) -> None:
    show(bare, "<title>t</title>")
    busy = "setTimeout(() => { const end = performance.now() + 300; while (performance.now() < end); })"
    assert bare.longest_task_ms(lambda: bare.page.evaluate(busy)) > 200
    assert bare.longest_task_ms(lambda: bare.page.evaluate("1")) < 200


def test_axe_finds_what_is_wrong(bare: Watched, axe: Callable[[Any], None]) -> None:
    show(bare, "<html lang=en><title>t</title><main><h1>t</h1><img src=data:,x></main></html>")
    with pytest.raises(AssertionError, match="image-alt"):
        axe(bare.page)
