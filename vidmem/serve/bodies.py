"""Bodies of requests: read whole and within a limit and a time, before anything works on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .refusals import Refusal

BODY_S = 30.0
"""Seconds within which a body has to arrive."""
SMALL = 64 << 10
"""Bytes of a body that take no place among the large ones."""
PLACES = 8
"""Large bodies that are read at the same time. For one more, the slowest is given up."""
_YOUNG_S = 2.0

Receive = Callable[[], Awaitable[Any]]


class ClientGoneError(Exception):
    """The client went away while its request was read."""


@dataclass(slots=True, eq=False)
class _Reading:
    task: asyncio.Task[Any] | None
    since: float
    size: int = 0
    given_up: bool = False

    def rate(self, now: float) -> float:
        return self.size / max(now - self.since, 1e-3)


class Bodies:
    """The bodies that are being read."""

    def __init__(self, places: int = PLACES, body_s: float = BODY_S) -> None:
        self._places, self._body_s = places, body_s
        self._large: set[_Reading] = set()

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
        """Read the body of a request.

        Args:
            headers: Of the request.
            receive: Of ASGI.
            limit: Its maximum size in bytes; 0 for a request that has none.

        Raises:
            Refusal: it is too large, which is known before it is read if its length is given, or too slow.
            ClientGoneError: the client went away.
        """
        length = headers.get(b"content-length", b"")
        if length and not (length.isdigit() and len(length) < 16):
            raise Refusal(400, "usage", "the header Content-Length is not a number")
        if int(length or 0) > limit:
            raise _too_large(limit)
        if not int(length or 0) and b"transfer-encoding" not in headers:
            return b""
        reading = _Reading(asyncio.current_task(), time.monotonic())
        try:
            async with asyncio.timeout(self._body_s):
                return await self._collect(reading, receive, limit)
        except TimeoutError:
            raise _too_slow() from None
        except asyncio.CancelledError:
            if not reading.given_up:
                raise
            if reading.task is not None:
                reading.task.uncancel()
            raise _too_slow() from None
        finally:
            self._large.discard(reading)

    async def _collect(self, reading: _Reading, receive: Receive, limit: int) -> bytes:
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            reading.size += len(chunk)
            if reading.size > limit:
                raise _too_large(limit)
            if reading.size > SMALL and reading not in self._large:
                self._take_place(reading)
            chunks.append(chunk)
        return b"".join(chunks)

    def _take_place(self, reading: _Reading) -> None:
        if len(self._large) >= self._places:
            now = time.monotonic()
            old = [other for other in self._large if now - other.since > _YOUNG_S and not other.given_up]
            slowest = min(old, key=lambda other: other.rate(now), default=None)
            if slowest is None or slowest.task is None:
                raise Refusal(503, "busy", "too many uploads at once; try again", {"retry-after": "2"})
            slowest.given_up = True
            self._large.discard(slowest)
            slowest.task.cancel()
        self._large.add(reading)


def _too_large(limit: int) -> Refusal:
    if not limit:
        return Refusal(413, "too_large", "this request takes no body")
    size = f"{limit >> 20} MB" if limit >> 20 else f"{limit >> 10} KB"
    return Refusal(413, "too_large", f"the body of this request may have {size}")


def _too_slow() -> Refusal:
    return Refusal(408, "busy", "the body of the request arrives too slowly", {"connection": "close"})
