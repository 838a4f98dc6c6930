"""One receiver with its thread and its queue: events are delivered in order, retried with a bound, and counted."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .event import StandingEvent
from .sink import Sink, Undelivered

DEPTH = 64
"""Events that wait for a receiver; of more the oldest is dropped."""
ATTEMPTS = 8
"""How often an event is tried."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pauses between attempts: each is twice the one before, up to the longest, and between half and all of that by chance.
Eight attempts take about a minute and a half."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """As in `StandingStats`."""

    delivered: int = 0
    retried: int = 0
    failed: int = 0
    dropped: int = 0


class Delivery:
    """The events on their way to one receiver.

    Args:
        sink: The receiver.
        settled: Called with an event that is delivered or given up.
        depth: Events that may wait.
        attempts: How often an event is tried.
        first_pause_s: Pause after the first failure.
    """

    def __init__(
        self,
        sink: Sink,
        settled: Callable[[StandingEvent], None],
        *,
        depth: int = DEPTH,
        attempts: int = ATTEMPTS,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self.sink = sink
        self._settled, self._depth, self._attempts, self._pause_s = settled, depth, attempts, first_pause_s
        self._queue: deque[StandingEvent] = deque()
        self._changed = threading.Condition()
        self._current = self._closing = self._troubled = False
        self._deadline: float | None = None
        self._counts = Counts()
        self._thread: threading.Thread | None = None

    def put(self, event: StandingEvent) -> None:
        """Add an event. It never waits for the receiver."""
        dropped = None
        with self._changed:
            if len(self._queue) >= self._depth:
                dropped = self._queue.popleft()
                self._counts.dropped += 1
            self._queue.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vidmem-delivery", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        if dropped is not None:
            self._settled(dropped)

    @property
    def counts(self) -> Counts:
        """Counts so far."""
        with self._changed:
            return Counts(self._counts.delivered, self._counts.retried, self._counts.failed, self._counts.dropped)

    @property
    def waiting(self) -> int:
        """Events that are not delivered yet."""
        with self._changed:
            return len(self._queue) + self._current

    def end(self, deadline: float) -> None:
        """Deliver what waits until `deadline` (monotonic), and no longer."""
        with self._changed:
            self._closing, self._deadline = True, deadline
            self._changed.notify_all()

    def close(self) -> None:
        """After `end`: wait until the deadline, and close the receiver."""
        try:
            if self._thread is not None and self._deadline is not None:
                self._thread.join(max(0.0, self._deadline - time.monotonic()) + 0.5)
        finally:  # whoever presses Ctrl-C twice leaves nothing running either
            self.sink.close()

    def _run(self) -> None:
        while (event := self._next()) is not None:
            if self._deliver(event):
                with self._changed:
                    self._current = False
                self._settled(event)
                continue
            with self._changed:  # the time is over
                self._queue.appendleft(event)
                self._current = False
            return

    def _next(self) -> StandingEvent | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._closing)
            if not self._queue or self._over():
                return None
            self._current = True
            return self._queue.popleft()

    def _deliver(self, event: StandingEvent) -> bool:
        """Return True when the event is delivered or given up, False when the time is over before."""
        for attempt in range(1, self._attempts + 1):
            try:
                self.sink.send(event)
            except Undelivered as error:
                reason, again = str(error), error.again
            except Exception as error:  # a receiver of others may raise anything, and the next event has its own chance
                reason, again = f"{type(error).__name__}: {error}", False
            else:
                self._succeeded()
                return True
            last = not again or attempt == self._attempts
            self._say(reason, last)
            if last:
                break
            if not self._pause(attempt):
                return False
            with self._changed:
                self._counts.retried += 1
        with self._changed:
            self._counts.failed += 1
        return True

    def _pause(self, attempt: int) -> bool:
        """Wait before the next attempt; return False when the time is over."""
        seconds = min(self._pause_s * 2 ** (attempt - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1)
        until = time.monotonic() + seconds
        with self._changed:
            while not self._over() and (left := until - time.monotonic()) > 0:
                if self._deadline is not None:
                    left = min(left, self._deadline - time.monotonic())
                self._changed.wait(left)
            return not self._over()

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _succeeded(self) -> None:
        with self._changed:
            self._counts.delivered += 1
            troubled, self._troubled = self._troubled, False
        if troubled:
            _log.warning("events are delivered again: %s", self.sink.name)

    def _say(self, reason: str, last: bool) -> None:
        """Say that a receiver fails, once until it works again."""
        troubled, self._troubled = self._troubled, True
        if not troubled:
            then = "this one is given up" if last else "it is tried again"
            _log.warning("an event is not delivered (%s); %s: %s", reason, then, self.sink.name)
        else:
            _log.info("an event is not delivered (%s): %s", reason, self.sink.name)
