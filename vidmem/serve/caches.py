"""What the server keeps in RAM, each within a bound: pictures that were sent, and pictures that were made."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
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


class Recent(Generic[T]):
    """Values by what they depend on, the ones used last, up to a weight in all. Threads may share it."""

    def __init__(self, most: int, weight: Callable[[T], int] = lambda _: 1, largest: int | None = None) -> None:
        """Hold nothing.

        Args:
            most: The weight of all that is held.
            weight: Of a value; by default each counts 1.
            largest: What weighs more is not held; by default `most`.
        """
        self._most, self._weight = most, weight
        self._largest = most if largest is None else largest
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._total = 0
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
        weight = self._weight(value)
        if weight > self._largest:
            return
        with self._turn:
            if key in self._held:
                self._total -= self._weight(self._held.pop(key))
            self._held[key] = value
            self._total += weight
            while self._total > self._most:
                self._total -= self._weight(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        """Hold nothing."""
        with self._turn:
            self._held.clear()
            self._total = 0


def given_pictures() -> Recent[Given]:
    """Pictures that clients have sent, by name, up to a number of bytes in all."""
    return Recent(MAX_GIVEN_BYTES, lambda given: len(given.data))


def drawn_pictures() -> Recent[bytes]:
    """Pictures that were made, up to a number of bytes in all; one of more than an eighth of that is not held."""
    return Recent(MAX_DRAWN_BYTES, len, MAX_DRAWN_BYTES // 8)


def given_of(data: bytes, width: int, height: int) -> Given:
    """A picture with the name of its content."""
    return Given(hashlib.sha256(data).hexdigest()[:32], data, width, height)
