"""Deliveries to a receiver that fails, is slow, or hangs."""

from __future__ import annotations

import logging
import time

import pytest

from vidmem.standing import StandingEvent
from vidmem.standing.delivery import Delivery

from .stage import Scripted, event, wait_until


def delivery(sink: Scripted, **more: float) -> tuple[Delivery, list[StandingEvent]]:
    settled: list[StandingEvent] = []
    options: dict[str, float] = {"first_pause_s": 0.005} | more
    return Delivery(sink, settled.append, **options), settled  # type: ignore[arg-type]


def finish(one: Delivery, seconds: float = 20) -> None:
    one.end(time.monotonic() + seconds)
    one.close()


def test_a_failure_is_tried_again_and_the_order_is_kept() -> None:
    sink = Scripted(["again", "again", "", "again", ""])
    one, settled = delivery(sink)
    events = [event(i) for i in range(4)]
    for each in events:
        one.put(each)
    finish(one)
    assert sink.got == settled == events
    counts = one.counts
    assert (counts.delivered, counts.retried, counts.failed, counts.dropped, one.waiting) == (4, 3, 0, 0, 0)


def test_attempts_are_bounded() -> None:
    sink = Scripted(["again"] * 3 + ["never"])
    one, settled = delivery(sink, attempts=3)
    for i in range(3):
        one.put(event(i))
    finish(one)
    assert [e.id for e in sink.got] == [event(2).id]
    counts = one.counts
    assert (sink.calls, counts.delivered, counts.retried, counts.failed) == (5, 1, 2, 2)
    assert len(settled) == 3


def test_of_too_many_the_oldest_is_dropped() -> None:
    sink = Scripted()
    sink.free.clear()
    one, settled = delivery(sink, depth=3)
    one.put(event(0))
    wait_until(lambda: sink.calls == 1)
    for i in range(1, 6):
        one.put(event(i))
    assert (one.counts.dropped, one.waiting) == (2, 4)
    assert [e.id for e in settled] == [event(1).id, event(2).id]
    sink.free.set()
    finish(one)
    assert [e.id for e in sink.got] == [event(i).id for i in (0, 3, 4, 5)]


def test_the_end_is_bounded_and_what_is_left_is_not_settled() -> None:
    sink = Scripted()
    sink.free.clear()
    one, settled = delivery(sink)
    for i in range(3):
        one.put(event(i))
    wait_until(lambda: sink.calls == 1)
    began = time.monotonic()
    finish(one, 0.2)
    assert time.monotonic() - began < 3
    assert (settled, one.waiting) == ([], 3)
    sink.free.set()


def test_the_end_interrupts_a_pause() -> None:
    sink = Scripted(["again"] * 100)
    one, settled = delivery(sink, first_pause_s=60)
    one.put(event())
    wait_until(lambda: sink.calls == 1)
    began = time.monotonic()
    finish(one, 0.2)
    assert time.monotonic() - began < 3
    assert (settled, one.waiting, sink.calls) == ([], 1, 1)


def test_a_receiver_may_raise_anything() -> None:
    class Odd(Scripted):
        def send(self, event: StandingEvent) -> None:
            super().send(event)
            if len(self.got) == 1:
                raise ZeroDivisionError

    sink = Odd()
    one, _ = delivery(sink)
    one.put(event(0))
    one.put(event(1))
    finish(one)
    assert (one.counts.failed, one.counts.delivered) == (1, 1)


def test_trouble_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Scripted(["again"] * 5 + ["", ""])
    one, _ = delivery(sink)
    with caplog.at_level(logging.WARNING, logger="vidmem"):
        one.put(event(0))
        one.put(event(1))
        finish(one)
    assert [record.getMessage() for record in caplog.records] == [
        "an event is not delivered (told to); it is tried again: scripted",
        "events are delivered again: scripted",
    ]
