"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem import Memory
from vidmem.serve.events import KEPT_BYTES, Events, MemoryWatch
from vidmem.serve.faults import BusyError


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


def parsed(chunk: bytes) -> dict[str, Any]:
    """One event as EventSource reads it."""
    assert chunk.endswith(b"\n\n")
    lines = [line.partition(": ") for line in chunk.decode().rstrip("\n").split("\n")]
    out: dict[str, Any] = {name: value for name, _, value in lines}
    out["data"] = json.loads(out["data"])
    return out


def test_events_come_in_order_with_ids() -> None:
    async def test() -> None:
        events = Events()
        stream = events.stream(events.listen())
        assert await anext(stream) == b"retry: 2000\n\n"
        threading.Thread(target=lambda: [events.publish("job", {"n": n, "text": "a\nb"}) for n in range(3)]).start()
        got = [parsed(await anext(stream)) for _ in range(3)]
        assert [event["data"]["n"] for event in got] == [0, 1, 2]
        assert {event["event"] for event in got} == {"job"}
        assert len({event["id"] for event in got}) == 3
        assert got[0]["data"]["text"] == "a\nb"
        await stream.aclose()
        assert events.listeners == 0

    run(test)


def test_who_connects_again_misses_nothing() -> None:
    async def test() -> None:
        events = Events()
        stream = events.stream(events.listen())
        await anext(stream)
        for n in range(5):
            events.publish("job", {"n": n})
        second = [parsed(await anext(stream)) for _ in range(2)][1]
        await stream.aclose()
        again = events.stream(events.listen(second["id"], lambda: [("job", {"n": "now"})]))
        await anext(again)
        assert [parsed(await anext(again))["data"]["n"] for _ in range(3)] == [2, 3, 4]
        await again.aclose()

    run(test)


def test_long_events_are_kept_up_to_a_size() -> None:
    async def test() -> None:
        events = Events()
        for n in range(200):
            events.publish("job", {"n": n, "reports": "x" * 100_000})
        assert sum(len(event.data) for event in events._kept) <= KEPT_BYTES
        stream = events.stream(events.listen(f"{events._start}-100", lambda: [("job", {"n": "now"})]))
        await anext(stream)
        assert parsed(await anext(stream))["data"]["n"] == "now"
        await stream.aclose()

    run(test)


@pytest.mark.parametrize("last", ["", "x", "other-1", "{start}-99", "{start}-x", "{start}-" + "9" * 40, "{start}-1"])
def test_who_cannot_be_served_on_gets_the_present_state(last: str) -> None:
    async def test() -> None:
        events = Events()
        for n in range(600):  # more than are kept
            events.publish("job", {"n": n})
        listener = events.listen(last.format(start=events._start), lambda: [("memory", {"generation": 7})])
        stream = events.stream(listener)
        await anext(stream)
        assert parsed(await anext(stream))["data"] == {"generation": 7}
        events.publish("job", {"n": "next"})
        assert parsed(await anext(stream))["data"] == {"n": "next"}
        await stream.aclose()

    run(test)


def test_listeners_are_bounded() -> None:
    async def test() -> None:
        events = Events(limit=2)
        first = events.listen()
        events.check_room()
        events.listen()
        for refused in (events.check_room, events.listen):
            with pytest.raises(BusyError):
                refused()
        events.leave(first)
        events.listen()

    run(test)


def test_a_listener_that_takes_nothing_is_dropped_and_others_are_not() -> None:
    async def test() -> None:
        events = Events(backlog=10)
        slow, quick = events.stream(events.listen()), events.stream(events.listen())
        await anext(slow)
        await anext(quick)
        for n in range(30):
            events.publish("job", {"n": n})
            assert parsed(await anext(quick))["data"] == {"n": n}
        assert events.listeners == 1
        with pytest.raises(StopAsyncIteration):
            await anext(slow)

    run(test)


def test_a_heartbeat_keeps_the_connection() -> None:
    async def test() -> None:
        events = Events(heartbeat_s=0.02)
        stream = events.stream(events.listen())
        await anext(stream)
        assert [await anext(stream) for _ in range(3)] == [b":\n\n"] * 3
        events.publish("job", {"n": 1})
        assert parsed(await anext(stream))["data"] == {"n": 1}
        await stream.aclose()

    run(test)


def test_closing_ends_all_streams() -> None:
    async def test() -> None:
        events = Events()
        stream = events.stream(events.listen())
        await anext(stream)
        events.close()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(BusyError):
            events.listen()

    run(test)


@pytest.mark.usefixtures("colours")
def test_a_change_of_the_memory_is_told(tmp_path: Path) -> None:
    film = fakes.squares(tmp_path / "a.mp4", [("red", 0, 2, 16)], 2)
    with Memory.open(tmp_path / "m", encoder="colours") as m:
        m.index(film)

    async def test() -> None:
        events = Events()
        stream = events.stream(events.listen())
        await anext(stream)
        with Memory.open(tmp_path / "m", read_only=True) as reader:
            watch = MemoryWatch(reader.store, events, poll_s=0.02)
            before = watch.generation()
            watch.start()
            with Memory.open(tmp_path / "m") as writer:
                writer.remove("a.mp4")
            told = parsed(await anext(stream))
            assert told["event"] == "memory"
            assert before is not None
            assert told["data"]["generation"] > before
            watch.close()
        assert watch.generation() is None, "the memory is closed"
        await stream.aclose()

    run(test)
