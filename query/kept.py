"""The last few results of something slow, by what they depend on."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
PLACES = 8


class Kept(Generic[T]):
    """The results used last: up to a number of them, and up to a weight in all, but always the last one.

    turn: hold it around `get`, so that a result that several threads want is made once.
    """

    def __init__(self, places: int = PLACES, weight: Callable[[T], int] = lambda _: 0, most: int = 0) -> None:
        """Hold nothing.

        Args:
            places: Maximum number of results.
            weight: Of a result.
            most: Maximum weight of all results.
        """
        self.turn = threading.Lock()
        self._places, self._weight, self._most = places, weight, most
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._state: Hashable = None

    def get(self, key: Hashable, make: Callable[[], T], state: Hashable = None) -> T:
        """The result for this key, made if it is not held. state: when it is another one, all results are dropped."""
        if state != self._state:
            self._held.clear()
            self._state = state
        if key not in self._held:
            self._held[key] = make()
        self._held.move_to_end(key)
        while len(self._held) > 1 and (len(self._held) > self._places or self._total() > self._most):
            self._held.popitem(last=False)
        return self._held[key]

    def drop(self, key: Hashable) -> None:
        """Make this result anew when it is wanted next."""
        self._held.pop(key, None)

    def _total(self) -> int:
        return sum(map(self._weight, self._held.values()))
