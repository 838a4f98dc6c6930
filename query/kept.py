"""The last few results of something slow, by what they depend on."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
PLACES = 2


class Kept(Generic[T]):
    """The results used last. turn: hold it around `get`, so that a result that several threads want is made once."""

    def __init__(self, places: int = PLACES) -> None:
        self.turn = threading.Lock()
        self._places = places
        self._held: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result for this key, made if it is not held."""
        if key not in self._held:
            self._held[key] = make()
            while len(self._held) > self._places:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]
