"""The access log: one line for each request, written by a thread, so that a full pipe cannot stop the server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from ..address import printable

_LONGEST = 300
_WAITING = 1000


class AccessLog:
    """Writes lines through `write`, which may block, from one thread. Lines beyond a bound are dropped and counted."""

    def __init__(self, write: Callable[[str], None], *, queries: bool = False) -> None:
        """write: prints one line. queries: log what was asked, too."""
        self._write, self._queries = write, queries
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="vidmem-access-log", daemon=True)
        self._thread.start()

    def add(self, client: str, method: str, path: str, query: str, status: int, seconds: float) -> None:
        """Log a request. All of its parts may hold anything; control characters are escaped."""
        target = f"{path}?{query}" if self._queries and query else path
        line = f"{client} {method} {target}"
        if len(line) > _LONGEST:
            line = f"{line[:_LONGEST]}..."
        try:
            self._lines.put_nowait(f"{printable(line)} {status} {seconds * 1000:.0f} ms")
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, for a second at most."""
        try:
            self._lines.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(1)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self._write(f"{dropped} lines of the log were dropped")
            self._write(line)
