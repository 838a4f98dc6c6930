"""Headers of answers, and lines of the log, made from names of files that hold anything."""

from __future__ import annotations

import time
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.serve.access import AccessLog
from vidmem.serve.headers import attachment

EVIL = "<img src=x onerror=alert(1)>.mp4"


@given(st.text(max_size=300))
def test_a_name_cannot_leave_its_header(name: str) -> None:
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2
    assert len(value) < 3000
    plain = value.partition('filename="')[2].partition('"')[0]
    assert plain
    assert not plain.startswith(".")
    exact = unquote(value.partition("filename*=UTF-8''")[2], errors="strict")
    assert exact.isprintable()
    assert not set(exact) & set('/\\"')


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("walk.mp4", "walk.mp4"),
        ("a\r\nset-cookie: a=b.mp4", "a__set-cookie__a_b.mp4"),
        ('a"; filename="b.exe', "a___filename__b.exe"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("", "file"),
        ("...", "file"),
        (EVIL, "_img_src_x_onerror_alert_1__.mp4"),
        ("кот.mp4", "___.mp4"),
    ],
)
def test_the_plain_form(name: str, plain: str) -> None:
    assert f'filename="{plain}"' in attachment(name)


def test_the_exact_form_keeps_letters() -> None:
    assert attachment("кот 1.mp4", inline=True) == (
        "inline; filename=\"____1.mp4\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82%201.mp4"
    )


def _logged(queries: bool, *lines: tuple[str, str, str, str]) -> list[str]:
    out: list[str] = []
    log = AccessLog(out.append, queries=queries)
    for line in lines:
        log.add(*line, 200, 0.0123)
    log.close()
    return out


def test_queries_are_logged_only_when_asked_for() -> None:
    line = ("127.0.0.1", "GET", "/api/v1/where", "text=my+passport")
    assert _logged(False, line) == ["127.0.0.1 GET /api/v1/where 200 12 ms"]
    assert _logged(True, line) == ["127.0.0.1 GET /api/v1/where?text=my+passport 200 12 ms"]


def test_control_characters_cannot_get_into_the_log() -> None:
    odd = "/x\r\n127.0.0.1 GET /forged 200\x1b[2J\x00\u202e"
    (line,) = _logged(True, ("1.2.3.4", "GE\nT", odd, "q=\x1b]0;x\x07"))
    assert line.isprintable()
    (long,) = _logged(False, ("1.2.3.4", "GET", "/" + "a" * 10_000, ""))
    assert len(long) < 400


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    import threading

    gate = threading.Event()
    lines: list[str] = []

    def write(line: str) -> None:
        gate.wait(10)
        lines.append(line)

    log = AccessLog(write)
    began = time.monotonic()
    for n in range(3000):
        log.add("a", "GET", f"/{n}", "", 200, 0)
    assert time.monotonic() - began < 5
    gate.set()
    log.close()
    assert any("dropped" in line for line in lines)
    assert len(lines) < 1100
