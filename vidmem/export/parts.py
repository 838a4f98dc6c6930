"""The parts of what is exported: a memory is one part, a fleet has one for each shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..engines.tracks import Part
from ..query.query import Query
from ..store import ModelRecord

if TYPE_CHECKING:
    from ..fleet import state
    from ..fleet.store import FleetStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What to export.

    Attributes:
        id: Of the memory or the fleet.
        generation: Of its tracks.
        tracks: How many there are.
        model: The encoder that made the vectors; None if nothing was indexed yet.
        each: Opens the parts, one after the other: only one is open at a time. A shard that cannot be reached raises
            StoreError.
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
        name, generation = now.cache.state
        model, tracks = now.store.model(), len(now.cache)
        if str(now.store.folder).startswith("fleet:"):
            from ..fleet.store import FleetStore

            fleet = now.store
            assert isinstance(fleet, FleetStore)
            shards = fleet.state().parts
            yield Parts(name, generation, tracks, model, lambda: (_shard(fleet, part) for part in shards))
            return

        @contextmanager
        def whole() -> Iterator[Part]:
            yield Part(name, generation, now.store, now.cache.columns_of(now.cache.rows_within(None)).ids)

        yield Parts(name, generation, tracks, model, lambda: iter([whole()]))


@contextmanager
def _shard(fleet: FleetStore, part: state.Part) -> Iterator[Part]:
    row = part.row
    assert row.sha256 is not None
    shards = fleet.desk.shards
    with shards.use(row) as opened, shards.reading(row) as store, store.snapshot():
        first = int(part.track_ids(np.zeros(1, np.int64))[0])
        yield Part(row.sha256, row.generation, store, opened.cache.columns.ids, first, row.clock_offset_ns)
