"""Read transactions beside the connection of a Store, so that all reads of one question see one committed state.

Each thread that asks has a connection of its own for the length of its question: questions do not wait for each other,
nor for a checkpoint. Connections are kept for the next questions.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from .database import connect, snapshot

IDLE = 4
"""Connections that are kept open for the next questions."""
PATIENCE_SECONDS = 30.0
"""How long a removal, or the closing of the memory, waits for questions that have begun."""


class Snapshots:
    """The read transactions of one open memory, at most one for each thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._open = self._pauses = 0
        self._closed = False
        self._own = threading.local()

    @property
    def held(self) -> sqlite3.Connection | None:
        """The connection of this thread's snapshot; None when it has none.

        Raises:
            StoreError: the memory was closed since the snapshot was taken.
        """
        conn: sqlite3.Connection | None = getattr(self._own, "conn", None)
        if conn is not None and self._closed:
            raise closed()
        return conn

    @contextmanager
    def take(self) -> Iterator[sqlite3.Connection]:
        """Give this thread one state of the memory for the block. In a block of this thread it is that block's state.

        Raises:
            StoreError: the memory is closed.
            sqlite3.Error: the database cannot be read.
        """
        if (held := self.held) is not None:
            yield held
            return
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._pauses)
            if self._closed:
                raise closed()
            self._open += 1
            conn = self._idle.pop() if self._idle else None
        self._own.later = []
        try:
            try:
                if conn is None:
                    conn = connect(self._folder, write=False)
                with snapshot(conn):
                    conn.execute("SELECT value FROM meta LIMIT 1").fetchone()  # the state is taken at the first read
                    self._own.conn = conn
                    yield conn
            finally:
                self._own.conn = None
                self._leave(conn)
            for action in self._own.later:
                action()
        finally:
            self._own.later = []

    def _leave(self, conn: sqlite3.Connection | None) -> None:
        with self._changed:
            self._open -= 1
            keep = conn is not None and not self._closed and len(self._idle) < IDLE and not conn.in_transaction
            if keep and conn is not None:
                self._idle.append(conn)
            self._changed.notify_all()
        if not keep and conn is not None:
            conn.close()

    def later(self, action: Callable[[], None]) -> None:
        """Run `action` when the snapshot of this thread has ended without an error; at once when it has none."""
        if self.held is None:
            action()
        else:
            self._own.later.append(action)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let questions that have begun end, for PATIENCE_SECONDS, and no other begin within the block."""
        own = int(getattr(self._own, "conn", None) is not None)
        with self._changed:
            self._pauses += 1
            self._changed.wait_for(lambda: self._open <= own, PATIENCE_SECONDS)
        try:
            yield
        finally:
            with self._changed:
                self._pauses -= 1
                self._changed.notify_all()

    def drop_idle(self) -> None:
        """Close the connections that are kept for the next questions."""
        with self._changed:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()

    def close(self) -> None:
        """Refuse all further reads, wait for those that run, and close the connections."""
        own = int(getattr(self._own, "conn", None) is not None)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open <= own, PATIENCE_SECONDS)
        self.drop_idle()


def closed() -> StoreError:
    """Return the error for reading a memory that was closed."""
    return StoreError("this Store is closed; open it again")
