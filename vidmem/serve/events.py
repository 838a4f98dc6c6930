"""Server-sent events: what changes in a memory and its jobs, told to pages that listen.

`publish` may be called from any thread. A listener that does not take its events is dropped; its page connects again
and says which event it saw last.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .faults import BusyError

if TYPE_CHECKING:
    from ..store import Store

MAX_LISTENERS = 32
"""Pages that listen at the same time. A browser opens six connections to a server, and each tab takes one."""
BACKLOG = 256
"""Events that wait for a listener before it is dropped."""
KEPT, KEPT_BYTES = 512, 4 << 20
"""Events that are kept for listeners that connect again, and characters of them. A job of many files is long."""
HEARTBEAT_S = 15.0
_RETRY_MS = 2000
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Event:
    """An event. number: counts up. kind: "job" or "memory". data: as JSON, on one line."""

    number: int
    kind: str
    data: str


class Events:
    """All listeners of a server."""

    def __init__(self, limit: int = MAX_LISTENERS, backlog: int = BACKLOG, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._limit, self._backlog, self._heartbeat_s = limit, backlog, heartbeat_s
        self._start = secrets.token_hex(4)
        self._kept: deque[Event] = deque()
        self._kept_bytes = 0
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        self._count = 0
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def publish(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell all listeners. data: becomes JSON."""
        with self._lock:
            self._count += 1
            event = Event(self._count, kind, json.dumps(data, separators=(",", ":")))
            self._kept.append(event)
            self._kept_bytes += len(event.data)
            while len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popleft().data)
            for listener in self._listeners:
                listener.tell(event)

    def check_room(self) -> None:
        """Raise BusyError if too many listen: a cheap check, before anything is read for a listener."""
        with self._lock:
            self._check_room()

    def _check_room(self) -> None:
        if self._closed or len(self._listeners) >= self._limit:
            raise BusyError(f"{self._limit} pages listen already; close one", 5)

    def listen(self, last: str = "", now: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]] = tuple) -> Listener:
        """Begin to listen.

        Args:
            last: The id of the last event that the client saw. If it is of this server and not too old, the listener
                gets what came after it.
            now: Gives the present state as events, for a client that has seen none.

        Raises:
            BusyError: too many listen.
        """
        listener = Listener(self, asyncio.get_running_loop(), self._backlog)
        with self._lock:
            self._check_room()
            self._listeners.add(listener)
            seen = self._seen(last)
            count = self._count
            if seen is not None:
                for event in self._kept:
                    if event.number > seen:
                        listener.tell(event)
        if seen is None:
            for kind, data in now():
                listener.tell(Event(count, kind, json.dumps(data, separators=(",", ":"))))
        return listener

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        with self._lock:
            self._closed = True
            for listener in self._listeners:
                listener.end()

    async def stream(self, listener: Listener) -> AsyncIterator[bytes]:
        """The body of the answer to a listener; it ends when the listener is dropped."""
        try:
            yield f"retry: {_RETRY_MS}\n\n".encode()
            while True:
                try:
                    event = await asyncio.wait_for(listener.next(), self._heartbeat_s)
                except TimeoutError:
                    yield b":\n\n"
                    continue
                if event is None:
                    return
                yield f"id: {self._start}-{event.number}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()
        finally:
            self.leave(listener)

    def leave(self, listener: Listener) -> None:
        """Listen no longer. Twice is fine."""
        with self._lock:
            self._listeners.discard(listener)

    def _seen(self, last: str) -> int | None:
        """The number in the id of an event, if all events after it are kept and fit the backlog."""
        start, _, number = last.partition("-")
        if start != self._start or not (number.isascii() and number.isdecimal() and len(number) < 16):
            return None
        missed = self._count - int(number)
        return int(number) if 0 <= missed <= min(len(self._kept), self._backlog // 2) else None


class Listener:
    """One page that listens, in the event loop in which it began."""

    def __init__(self, events: Events, loop: asyncio.AbstractEventLoop, backlog: int) -> None:
        self._events, self._loop, self._backlog = events, loop, backlog
        self._waiting: deque[Event | None] = deque()
        self._ready = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Give it an event, from any thread."""
        self._in_loop(event)

    def end(self) -> None:
        """End its stream after what waits."""
        self._in_loop(None)

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        while not self._waiting:
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    def _in_loop(self, event: Event | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event | None) -> None:
        if len(self._waiting) >= self._backlog:  # it does not take them: drop it
            self._waiting.clear()
            self._events.leave(self)
            event = None
        self._waiting.append(event)
        self._ready.set()


class MemoryWatch:
    """Publishes `memory` when another process or a job has changed the memory. It looks only while someone listens."""

    def __init__(
        self, store: Store, events: Events, changed: Callable[[], None] = lambda: None, poll_s: float = _POLL_S
    ) -> None:
        """changed: called before a change is published, from a thread."""
        self._store, self._events, self._changed, self._poll_s = store, events, changed, poll_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vidmem-memory-watch", daemon=True)

    def start(self) -> None:
        """Begin to look. Call it from one thread; twice is fine."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Stop looking, and wait for it, since the memory is closed next."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def generation(self) -> int | None:
        """How often the tracks of the memory have changed; None if it cannot be read now."""
        try:
            with self._store.snapshot() as (_, generation):
                return generation
        except StoreError:
            return None

    def _run(self) -> None:
        known = self.generation()
        while not self._stop.wait(self._poll_s):
            if self._events.listeners and (now := self.generation()) is not None and now != known:
                known = now
                self._changed()
                self._events.publish("memory", {"generation": now})
