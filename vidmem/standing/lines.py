"""Events as lines of JSON on a file descriptor."""

from __future__ import annotations

import os
import select
import sys
import time

from .event import StandingEvent
from .sink import Sink, Undelivered

_PART = 4096
"""Bytes that a pipe takes at once when it is ready (POSIX, PIPE_BUF on Linux)."""


class Lines(Sink):
    """Writes each event as one line.

    A reader that is slow makes events wait, and nothing else: a line that is written in part is continued.

    Args:
        fd: An open file descriptor, such as 1 for stdout.
        timeout_s: Time for a line in seconds.
    """

    def __init__(self, fd: int, *, timeout_s: float = 10.0) -> None:
        self.name = "stdout" if fd == 1 else f"file descriptor {fd}"
        self._fd, self._timeout_s = fd, timeout_s
        self._begun, self._rest = "", b""

    def send(self, event: StandingEvent) -> None:
        """Write the line, or what is left of it."""
        if self._begun != event.id:
            # An event that was given up in the middle of its line must not spoil the next one.
            self._rest = (b"\n" if self._rest else b"") + event.to_json().encode() + b"\n"
            self._begun = event.id
        deadline = time.monotonic() + self._timeout_s
        while self._rest:
            if sys.platform != "win32" and not self._ready(deadline):
                raise Undelivered(f"nobody reads it for {self._timeout_s:g} s", again=True)
            try:
                written = os.write(self._fd, self._rest[:_PART])
            except BlockingIOError:
                continue
            except OSError as error:
                raise Undelivered(error.strerror or "it is closed", again=False) from None
            self._rest = self._rest[written:]
        self._begun = ""

    def _ready(self, deadline: float) -> bool:
        try:
            return bool(select.select([], [self._fd], [], max(0.0, deadline - time.monotonic()))[1])
        except (OSError, ValueError) as error:
            raise Undelivered(f"it is closed ({error})", again=False) from None
