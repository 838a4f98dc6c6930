"""What the server keeps in RAM, each within a bound: pictures that were sent, and pictures that were made."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_GIVEN_BYTES, MAX_DRAWN_BYTES = 64 << 20, 64 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A picture that a client has sent. name: of its content. width, height: upright, in pixels."""

    name: str
    data: bytes
    width: int
    height: int


class Few(Generic[T]):
    """Small things by what they depend on, the ones used last, up to a number of them."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """What is held for this key, or None."""
        with self._turn:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: Hashable, value: T) -> None:
        """Hold this, and drop what was not used for longest."""
        with self._turn:
            self._held[key] = value
            while len(self._held) > self._places:
                self._held.popitem(last=False)


class Bytes:
    """Bytes by name, the ones used last, up to a number of bytes in all."""

    def __init__(self, limit: int = MAX_DRAWN_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """What is held under this name, or None."""
        with self._turn:
            found = self._held.get(name)
            if found is not None:
                self._held.move_to_end(name)
            return found

    def put(self, name: str, data: bytes) -> None:
        """Hold this, and drop what was not used for longest. What is larger than an eighth of the limit is not held."""
        if len(data) > self._limit // 8:
            return
        with self._turn:
            self._size += len(data) - len(self._held.pop(name, b""))
            self._held[name] = data
            while self._size > self._limit:
                self._size -= len(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        """Hold nothing."""
        with self._turn:
            self._held.clear()
            self._size = 0


class Pictures:
    """Pictures that clients have sent, the ones used last, up to a number of bytes in all."""

    def __init__(self, limit: int = MAX_GIVEN_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._held: OrderedDict[str, Given] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, name: str) -> Given | None:
        """The picture with this name, or None if it was dropped."""
        with self._turn:
            found = self._held.get(name)
            if found is not None:
                self._held.move_to_end(name)
            return found

    def put(self, data: bytes, width: int, height: int) -> Given:
        """Hold a picture under the hash of its content, and drop those that were not used for longest."""
        given = Given(hashlib.sha256(data).hexdigest()[:32], data, width, height)
        with self._turn:
            if self._held.pop(given.name, None) is None:
                self._size += len(data)
            self._held[given.name] = given
            while self._size > self._limit and len(self._held) > 1:
                self._size -= len(self._held.popitem(last=False)[1].data)
        return given
