"""Things of shards that are kept warm for the next questions; those that were used longest ago are closed first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class _Entry(Generic[T]):
    """One thing. users: how many blocks use it. kept: it is not to be closed when the last of them ends."""

    def __init__(self, value: T, version: object, size: int) -> None:
        self.value, self.version, self.size = value, version, size
        self.users, self.kept = 1, True


class Warm(Generic[T]):
    """Things by key, up to a number of them and a number of bytes; those in use may be more. Threads may share it."""

    def __init__(
        self, close: Callable[[T], None], most: int, most_bytes: int = 0, size: Callable[[T], int] = lambda _: 0
    ) -> None:
        """Keep none yet.

        Args:
            close: Closes a thing.
            most: The most things.
            most_bytes: The most bytes of all of them.
            size: The bytes of a thing.
        """
        self.most, self.most_bytes = most, most_bytes
        self._close, self._size = close, size
        self._held: OrderedDict[str, _Entry[T]] = OrderedDict()
        self._bytes = 0
        self._turn = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def use(self, key: str, version: object, make: Callable[[], T]) -> Iterator[T]:
        """Give the thing of a key, which stays open for the block. It is made if there is none of this version."""
        entry = self._taken(key, version, make)
        try:
            yield entry.value
        finally:
            with self._turn:
                entry.users -= 1
                spare = self._spare() if entry.kept else [entry] * (not entry.users)
            self._close_all(spare)

    def drop(self, key: str) -> None:
        """Close the thing of a key, or, if someone uses it, when that ends."""
        with self._turn:
            spare = self._removed(key)
        self._close_all(spare)

    def close(self) -> None:
        """Close all of them, also those in use. Closing twice is fine."""
        with self._turn:
            held, self._held, self._bytes = list(self._held.values()), OrderedDict(), 0
            for entry in held:
                entry.kept = False
                entry.users += 1  # so that who uses it does not close it again
        self._close_all(held)

    def _taken(self, key: str, version: object, make: Callable[[], T]) -> _Entry[T]:
        if (known := self._known(key, version)) is not None:
            return known
        with self._turn:
            lock = self._making.setdefault(key, threading.Lock())
        with lock:
            if (known := self._known(key, version)) is not None:
                return known
            value = make()
            entry = _Entry(value, version, self._size(value))
            with self._turn:
                spare = self._removed(key)
                self._held[key] = entry
                self._bytes += entry.size
                spare += self._spare()
        self._close_all(spare)
        return entry

    def _known(self, key: str, version: object) -> _Entry[T] | None:
        with self._turn:
            entry = self._held.get(key)
            if entry is None or entry.version != version:
                return None
            entry.users += 1
            self._held.move_to_end(key)
            return entry

    def _removed(self, key: str) -> list[_Entry[T]]:
        """Take out a thing, and give it if it is to be closed now. The caller holds the turn, and closes it later."""
        entry = self._held.pop(key, None)
        if entry is None:
            return []
        self._bytes -= entry.size
        entry.kept = False
        return [] if entry.users else [entry]

    def _spare(self) -> list[_Entry[T]]:
        """Take out those that nobody uses and that are too many. The caller holds the turn, and closes them later."""
        out: list[_Entry[T]] = []
        if len(self._held) <= self.most and self._bytes <= self.most_bytes:
            return out
        for key, entry in list(self._held.items()):
            if len(self._held) <= self.most and self._bytes <= self.most_bytes:
                break
            if not entry.users:
                out += self._removed(key)
        return out

    def _close_all(self, entries: list[_Entry[T]]) -> None:
        for entry in entries:
            self._close(entry.value)
