"""Where events go: the contract of a receiver, and the plain function as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from .event import StandingEvent


class Undelivered(Exception):
    """An event was not delivered. again: trying again may help."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Sink(ABC):
    """A receiver of events. One thread of its own calls it, so `send` may take its time, and end it.

    name: what messages call it, without secrets.
    """

    name: str

    def open(self) -> None:  # noqa: B027
        """Check that events can be delivered. Raises VidmemError: what is wrong at the start is a typo."""

    @abstractmethod
    def send(self, event: StandingEvent) -> None:
        """Deliver an event, within a bounded time. Raises Undelivered."""

    def close(self) -> None:  # noqa: B027
        """Release everything. Another thread may be in `send`."""


class Function(Sink):
    """Calls a function with each event. What it raises counts as a failure that is not tried again."""

    def __init__(self, function: Callable[[StandingEvent], object]) -> None:
        self.name = f"{getattr(function, '__name__', 'on_event')}()"
        self._function = function

    def send(self, event: StandingEvent) -> None:
        """Call the function."""
        try:
            self._function(event)
        except Exception as error:
            raise Undelivered(f"{type(error).__name__}: {error}", again=False) from error
