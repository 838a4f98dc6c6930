"""The parts of what is asked: a memory is one part, a fleet has one for each shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from ..query.query import Query
from ..store import ModelRecord
from .tracks import Part


@dataclass(frozen=True, slots=True)
class Parts:
    """What to export.

    Attributes:
        id: Of the memory or the fleet.
        generation: Of its tracks.
        tracks: How many there are.
        model: The encoder that made the vectors; None if nothing was indexed yet.
        each: Opens the parts, one after the other: only one is open at a time.
    """

    id: str
    generation: int
    tracks: int
    model: ModelRecord | None
    each: Callable[[], Iterator[AbstractContextManager[Part]]]


@contextmanager
def parts_of(query: Query) -> Iterator[Parts]:
    """The parts of a memory or fleet, in one committed state for the block."""
    with query.view() as now:
        shard, generation = now.cache.state

        @contextmanager
        def whole() -> Iterator[Part]:
            yield Part(shard, generation, now.store, now.cache.columns_of(np.arange(len(now.cache))).ids)

        yield Parts(shard, generation, len(now.cache), now.store.model(), lambda: iter([whole()]))
