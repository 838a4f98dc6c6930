"""One state of a fleet: its shards in order, their sources, and how ids and rows of the fleet are made.

The id of a source is the number of its shard and its id in the shard, in 20 bits; that of a track the same in 32 bits,
below 2^53, so that JSON keeps it. Rows count the tracks of all shards, one shard after the other, so that rows are in
the order of ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..store import ModelRecord, SourceRow, Within
from ..store.proof import Down
from ..store.vectors import Rows
from ..store.within import ALWAYS, bounds
from ..timecode import is_wall_clock
from .catalogue import Catalogue
from .rows import ShardRow, ShardSource

SOURCE_BITS = 20
TRACK_BITS = 32


@dataclass(frozen=True, eq=False)
class Part:
    """A shard in a state of a fleet.

    Attributes:
        place: Its place among the shards, from 0.
        row: As the catalogue has it.
        first: The row of the fleet that is row 0 of the shard.
        sources: Its sources, by their id in it.
    """

    place: int
    row: ShardRow
    first: int
    sources: Mapping[int, ShardSource]

    @property
    def number(self) -> int:
        """The number of the shard."""
        return self.row.number

    def __len__(self) -> int:
        return self.row.n_tracks

    def source_id(self, local: int) -> int:
        """The id in the fleet of a source of the shard."""
        return self.number << SOURCE_BITS | local

    def track_ids(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids in the fleet of tracks of the shard."""
        return local | np.int64(self.number << TRACK_BITS)

    def source_row(self, row: SourceRow) -> SourceRow:
        """A source of the shard as the fleet has it: with its id, and its recording time by the clock of the fleet."""
        start_ns = row.start_ns
        if start_ns is not None and is_wall_clock(start_ns, row.recorded_by):
            start_ns += self.row.clock_offset_ns
        return replace(row, id=self.source_id(row.id), start_ns=start_ns)

    def within(self, within: Within | None) -> Within | None:
        """What may answer, in ids and rows of the shard."""
        if within is None:
            return None
        low, high = np.searchsorted(within.without, [self.first, self.first + len(self)])
        spans = within.spans
        if spans is not None:
            own = ((local, spans.get(self.source_id(local))) for local in self.sources)
            spans = {local: span for local, span in own if span is not None}
        return Within(spans, within.without[low:high] - self.first)

    def down(self, reason: str) -> Down:
        """What may be missed when the shard cannot be asked."""
        offset, names = self.row.clock_offset_ns, tuple(dict.fromkeys(s.row.uri for s in self.sources.values()))
        times = [None if ns is None else ns + offset for ns in (self.row.t_min, self.row.t_max)]
        return Down(self.number, reason, names, len(self), times[0], times[1])


@dataclass(frozen=True, eq=False)
class FleetState:
    """All ready shards of a catalogue at one generation."""

    id: str
    generation: int
    model: ModelRecord | None
    parts: Sequence[Part]

    @classmethod
    def read(cls, catalogue: Catalogue) -> FleetState:
        """Read the state of a catalogue, as of one generation.

        Raises:
            StoreError: the catalogue cannot be read, or a shard has ids that are too large for a fleet.
        """
        while True:
            fleet = catalogue.fleet()
            shards, sources = catalogue.shards(), catalogue.sources()
            if catalogue.generation() == fleet.generation:
                break
        by_shard: dict[int, dict[int, ShardSource]] = {}
        for source in sources:
            by_shard.setdefault(source.shard, {})[source.row.id] = source
            if source.row.id >> SOURCE_BITS:
                raise StoreError(f"shard {source.shard} has sources with ids too large for a fleet; index it anew")
        parts, first = [], 0
        for place, row in enumerate(shards):
            parts.append(Part(place, row, first, by_shard.get(row.number, {})))
            first += row.n_tracks
        return cls(fleet.id, fleet.generation, fleet.model, parts)

    @cached_property
    def tracks(self) -> int:
        """How many tracks there are."""
        return sum(map(len, self.parts))

    @cached_property
    def by_number(self) -> dict[int, Part]:
        """The shards by number."""
        return {part.number: part for part in self.parts}

    @cached_property
    def sources(self) -> dict[int, SourceRow]:
        """All sources by their id in the fleet."""
        rows = (part.source_row(source.row) for part in self.parts for source in part.sources.values())
        return {row.id: row for row in rows}

    @cached_property
    def stale(self) -> list[str]:
        """The sources that still have the tokens of an earlier encoder."""
        return [row.uri for row in self.sources.values() if row.stale]

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        return np.array([part.first for part in self.parts], np.int64)

    def holding(self, within: Within | None, first_ns: Sequence[int | None]) -> list[Part]:
        """The shards whose sources and times do not prove that none of their tracks may answer.

        first_ns: The earliest start of a track of each shard, if it is known.
        """
        if within is None or within.spans is None:
            return [part for part in self.parts if len(part)]
        ids, places, ends = self._ends
        low, high = bounds(ids, within.spans)
        first = np.array([ALWAYS[0] if ns is None else ns for ns in first_ns], np.int64)
        meets = (low <= high) & (low <= ends) & (high >= first[places])
        return [self.parts[place] for place in np.unique(places[meets]).tolist()]

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64]]:
        """Of each source with tracks: its id in the fleet, the place of its shard, and its last moment."""
        held = [
            (part.source_id(local), part.place, source.end_ns)
            for part in self.parts
            if len(part)
            for local, source in part.sources.items()
            if source.tracks
        ]
        ids, places, ends = np.array(held, np.int64).reshape(-1, 3).T
        return ids, places.astype(np.intp), ends

    def part_of_source(self, source_id: int) -> Part | None:
        """The shard that holds a source; None for an unknown id."""
        part = self.by_number.get(source_id >> SOURCE_BITS)
        return part if part is not None and source_id & ((1 << SOURCE_BITS) - 1) in part.sources else None

    def by_rows(self, rows: Rows) -> Iterator[tuple[Part, NDArray[np.intp], Rows]]:
        """For each shard that holds some of the rows: the shard, their positions in `rows`, their rows in the shard."""
        place = np.searchsorted(self._firsts, rows, side="right") - 1
        # Shards without tracks begin where the next one does; of equal firsts the last is the one that holds the row.
        for number in np.unique(place).tolist():
            part, positions = self.parts[number], np.flatnonzero(place == number)
            yield part, positions, rows[positions] - part.first

    def by_ids(self, ids: NDArray[np.int64]) -> Iterator[tuple[Part, NDArray[np.intp], NDArray[np.int64]]]:
        """For each shard that may hold some of the tracks: the shard, their positions, their ids in the shard."""
        numbers = ids >> TRACK_BITS
        for number in np.unique(numbers).tolist():
            if (part := self.by_number.get(number)) is not None:
                positions = np.flatnonzero(numbers == number)
                yield part, positions, ids[positions] & ((1 << TRACK_BITS) - 1)
