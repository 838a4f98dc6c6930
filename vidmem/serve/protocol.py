"""HTTP/1.1 of uvicorn with limits on slow clients.

Uvicorn waits forever for the rest of a request, for the rest of a body that nobody reads any more, and for a client
that does not take its answer. Here a watchdog looks at all connections once a second and ends those that are too slow,
and there is a bound on how many there are.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on connections.

    Attributes:
        connections: Maximum number. Beyond it, the one that has waited longest with an unfinished request is closed.
        head_s: Seconds from the first byte of a request to the end of its headers. What is left of a body after its
            answer counts as the beginning of a request.
        idle_s: Seconds without a request.
        write_s: Seconds within which a client takes `write_bytes` of its answer.
        write_bytes: See `write_s`. A paused video takes nothing; the browser asks again when it goes on.
        stalled_s: Seconds without a byte after which a slow reader may be closed to make place.
    """

    connections: int = 512
    head_s: float = 10.0
    idle_s: float = 30.0
    write_s: float = 30.0
    write_bytes: int = 64 << 10
    stalled_s: float = 2.0


class Watchdog:
    """All connections of a server. Start it in the event loop; it needs no thread.

    Attributes:
        closed: Connections that were ended for being slow, or to make place.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.closed = 0
        self._connections: set[GuardedProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None

    def added(self, connection: GuardedProtocol) -> None:
        """Watch a connection; make place for it if there are too many."""
        self._connections.add(connection)
        if len(self._connections) > self.limits.connections:
            self._make_place(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(1.0, self._look, connection.loop)

    def removed(self, connection: GuardedProtocol) -> None:
        """Watch it no longer."""
        self._connections.discard(connection)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(1.0, self._look, loop) if self._connections else None
        now = time.monotonic()
        for connection in [c for c in self._connections if c.too_slow(now, self.limits)]:
            self._end(connection)

    def _make_place(self, newest: GuardedProtocol) -> None:
        """End the connection that has waited longest, of the address that has most of those that wait."""
        now = time.monotonic()
        others = self._connections - {newest}
        victims = [c for c in others if c.unfinished] or [c for c in others if c.stalled(now, self.limits)]
        if not victims:
            self._end(newest)
            return
        counts = Counter(c.address for c in victims)
        most = max(counts.values())
        self._end(min((c for c in victims if counts[c.address] == most), key=lambda c: c.since))

    def _end(self, connection: GuardedProtocol) -> None:
        self.closed += 1
        self._connections.discard(connection)
        connection.transport.abort()


class GuardedProtocol(H11Protocol):
    """One connection. Subclass it with a `watchdog` of the server.

    Attributes:
        since: When it began to wait for a request, in seconds of `time.monotonic`.
    """

    watchdog: Watchdog
    since = 0.0
    _begun: float | None = None
    """When the first byte of the request that it waits for arrived."""
    _left = 0
    """Bytes of the answer that the client had not taken at the last look."""
    _mark: tuple[float, int] | None = None
    """When the client last took enough of its answer, and the bytes that were left then; None if it took all."""
    _moved = 0.0

    @property
    def address(self) -> str:
        """The address of the client."""
        return self.client[0] if self.client else ""

    @property
    def waits(self) -> bool:
        """True while the client has not sent a whole request head; also while it sends a body that nobody reads."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def unfinished(self) -> bool:
        """True while the client has not sent a whole request, head and body."""
        return self.waits or self.cycle.more_body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.since = self._moved = time.monotonic()
        super().connection_made(transport)
        self.watchdog.added(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.watchdog.removed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.waits and self._begun is None:
            self._begun = time.monotonic()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self.since, self._begun = time.monotonic(), None
        super().on_response_complete()

    def resume_writing(self) -> None:
        self._mark = None  # the client took tens of KB
        super().resume_writing()

    def too_slow(self, now: float, limits: Limits) -> bool:
        """Return True for a connection to be ended. Call it about once a second."""
        left, before = self.transport.get_write_buffer_size(), self._left
        self._left = left
        if not left:
            self._mark = None
            if not self.waits:
                return False
            return now - self.since > limits.idle_s or (self._begun is not None and now - self._begun > limits.head_s)
        if left != before:
            self._moved = now
        if self._mark is None or left <= self._mark[1] - limits.write_bytes:
            self._mark = now, left
        return now - self._mark[0] > limits.write_s

    def stalled(self, now: float, limits: Limits) -> bool:
        """Return True if the client takes nothing of an answer that waits for it."""
        return self._left > 0 and now - self._moved > limits.stalled_s


def protocol_class(watchdog: Watchdog) -> type[GuardedProtocol]:
    """The class of the connections of one server, for the setting `http` of uvicorn."""
    members: dict[str, Any] = {"watchdog": watchdog}
    return type("Connection", (GuardedProtocol,), members)
