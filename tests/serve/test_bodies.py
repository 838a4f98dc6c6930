"""Bodies that come slowly."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from vidmem.serve.bodies import SMALL, Bodies, ClientGoneError
from vidmem.serve.refusals import Refusal

CHUNKED = {b"transfer-encoding": b"chunked"}


def drips(size: int, pause_s: float, count: int = 1_000_000) -> Any:
    """`receive` of a client that sends so many bytes after each pause."""
    left = count

    async def receive() -> dict[str, Any]:
        nonlocal left
        await asyncio.sleep(pause_s)
        left -= 1
        return {"type": "http.request", "body": b"x" * size, "more_body": left > 0}

    return receive


def test_a_slow_body_is_given_up() -> None:
    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(Refusal) as caught:
            await Bodies(body_s=0.1).read(CHUNKED, drips(1, 0.01), 1 << 20)
        assert caught.value.status == 408
        assert time.monotonic() - began < 2

    asyncio.run(asyncio.wait_for(main(), 5))


def test_slow_uploads_make_place_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.serve.bodies._YOUNG_S", 0.05)

    async def main() -> None:
        bodies = Bodies(places=2)
        slow = [asyncio.ensure_future(bodies.read(CHUNKED, drips(SMALL + n, 0.01), 1 << 40)) for n in (1, 2)]
        await asyncio.sleep(0.2)
        whole = await bodies.read(CHUNKED, drips(SMALL, 0, 20), 20 << 20)
        assert len(whole) == 20 * SMALL
        began = time.monotonic()
        with pytest.raises(Refusal) as caught:
            await slow[0]
        assert time.monotonic() - began < 2
        assert caught.value.status == 408
        assert not slow[1].done(), "one place was enough"
        slow[1].cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_fast_uploads_wait_for_no_one_but_are_bounded() -> None:
    async def main() -> None:
        bodies = Bodies(places=1)
        first = asyncio.ensure_future(bodies.read(CHUNKED, drips(SMALL, 0.01), 1 << 40))
        await asyncio.sleep(0.1)
        with pytest.raises(Refusal) as caught:
            await bodies.read(CHUNKED, drips(SMALL, 0, 20), 20 << 20)
        assert (caught.value.status, caught.value.fault.headers) == (503, {"retry-after": "2"})
        assert await bodies.read(CHUNKED, drips(10, 0, 3), 1 << 20) == b"x" * 30, "small ones take no place"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 5))


def test_a_client_goes_away() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGoneError):
        asyncio.run(Bodies().read(CHUNKED, gone, 100))


def test_a_cancelled_request_stays_cancelled() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(Bodies().read(CHUNKED, drips(1, 0.01), 1 << 20))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
