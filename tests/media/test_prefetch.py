from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vidmem.media import decode_ahead


def _count(n: int, log: list[str] | None = None) -> Iterator[int]:
    try:
        yield from range(n)
    finally:
        if log is not None:
            log.append("closed")


def _threads() -> int:
    return sum(t.name == "vidmem-decode" for t in threading.enumerate())


def test_order_is_kept() -> None:
    assert list(decode_ahead(_count(500), 4)) == list(range(500))
    assert _threads() == 0


def test_works_ahead_but_no_further_than_depth() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    ahead = decode_ahead(items(), 3)
    next(ahead)
    deadline = time.monotonic() + 2
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.02)
    assert len(made) == 5  # one taken, three queued, one in hand
    ahead.close()  # type: ignore[attr-defined]


def test_closing_stops_the_thread_and_closes_the_items() -> None:
    log: list[str] = []
    ahead = decode_ahead(_count(10**9, log), 2)
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert log == ["closed"]
    assert _threads() == 0


def test_dropping_stops_the_thread() -> None:
    ahead = decode_ahead(_count(10**9), 2)
    next(ahead)
    del ahead
    assert _threads() == 0


def test_never_started_starts_no_thread() -> None:
    decode_ahead(_count(3), 2)
    assert _threads() == 0


def test_producer_fails_after_its_items() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise RuntimeError("broken")

    seen = []
    with pytest.raises(RuntimeError, match="broken"):  # noqa: PT012
        for item in decode_ahead(items(), 5):
            seen.append(item)
    assert seen == [1, 2]
    assert _threads() == 0


def test_no_depth_fails() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        decode_ahead([], 0)
