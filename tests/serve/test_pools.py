"""Threads for the work of requests: bounds, fair turns, and clients that go away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from vidmem.serve.faults import BusyError
from vidmem.serve.pools import Pool


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


def test_calls_run_side_by_side_and_give_back_what_they_return() -> None:
    async def test() -> None:
        pool = Pool("questions", 2)
        both = threading.Barrier(2, timeout=10)

        def call(n: int, *, more: int) -> int:
            both.wait()
            return n + more

        assert await asyncio.gather(pool.run("a", call, 1, more=2), pool.run("b", call, 5, more=5)) == [3, 10]
        with pytest.raises(KeyError, match="x"):
            await pool.run("a", {}.__getitem__, "x")
        pool.close()

    run(test)


def test_the_queue_is_bounded_and_one_client_cannot_fill_it() -> None:
    async def test() -> None:
        pool = Pool("questions", 1, waiting=4)
        gate = threading.Event()
        calls = [asyncio.ensure_future(pool.run("greedy", gate.wait, 10)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError) as caught:
            await pool.run("greedy", gate.wait, 10)
        assert (caught.value.limited, caught.value.retry_s) == (False, 1)
        calls += [asyncio.ensure_future(pool.run(f"other {n}", gate.wait, 10)) for n in range(2)]
        await asyncio.sleep(0)
        assert pool.queued == 4
        with pytest.raises(BusyError):
            await pool.run("third", gate.wait, 10)
        gate.set()
        assert all(await asyncio.gather(*calls))
        assert pool.queued == 0
        pool.close()

    run(test)


def test_clients_take_turns() -> None:
    async def test() -> None:
        pool = Pool("questions", 1, waiting=40)
        gate, order = threading.Event(), list[str]()

        def call(name: str) -> None:
            gate.wait(10)
            order.append(name)

        calls = [asyncio.ensure_future(pool.run("greedy", call, "greedy")) for _ in range(8)]
        await asyncio.sleep(0)
        calls += [asyncio.ensure_future(pool.run(name, call, name)) for name in ("a", "b")]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*calls)
        assert order.index("a") <= 2
        assert order.index("b") <= 3
        assert order.count("greedy") == 8
        pool.close()

    run(test)


def test_a_client_that_goes_away_frees_its_place() -> None:
    async def test() -> None:
        pool = Pool("questions", 1, waiting=4)
        gate, ran = threading.Event(), list[str]()

        def call(name: str) -> None:
            gate.wait(10)
            ran.append(name)

        first = asyncio.ensure_future(pool.run("a", call, "first"))
        waits = asyncio.ensure_future(pool.run("a", call, "waits"))
        last = asyncio.ensure_future(pool.run("b", call, "last"))
        await asyncio.sleep(0)
        assert pool.queued == 2
        waits.cancel()
        first.cancel()  # it runs already, so it runs on
        await asyncio.gather(waits, first, return_exceptions=True)
        assert pool.queued == 1
        gate.set()
        await last
        assert ran == ["first", "last"]
        pool.close()

    run(test)


def test_an_error_of_a_call_that_nobody_waits_for_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        pool = Pool("questions", 1)
        gate = threading.Event()

        def fails() -> None:
            gate.wait(10)
            raise ValueError("too late")

        call = asyncio.ensure_future(pool.run("a", fails))
        await asyncio.sleep(0)
        call.cancel()
        gate.set()
        assert await pool.run("a", lambda: 1) == 1
        pool.close()

    run(test)
    assert "too late" not in caplog.text
