"""Sightings of one thing each: what was found close together in time, told apart into things.

Tracks of one source with gaps under two seconds are one sighting when they look alike, were not in view together in
different places, are where they can have got to (things.py), and no cut lies between them. Only as much is told apart
as was asked for: for the newest sighting of a long memory, the newest stretch of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..store import Store, VectorCache
from .filters import Narrowed
from .reid import things
from .sightings import group

Members = NDArray[np.intp]
"""Positions in the hits of the tracks of one sighting."""


class Instances:
    """The sightings among what was found, newest first.

    order, zero_ns: as in `sightings.group`. like: cosine of visual tokens from which on tracks may show one thing.
    """

    def __init__(
        self,
        store: Store,
        cache: VectorCache,
        found: Narrowed,
        order: NDArray[np.int64],
        zero_ns: NDArray[np.int64] | None,
        like: float,
    ) -> None:
        self._store, self._cache, self._found, self._like = store, cache, found, like
        self._order, self._zero_ns = order, zero_ns
        self._cuts: dict[int, NDArray[np.int64]] = {}

    def newest(self, most: int | None) -> tuple[list[Members], int]:
        """The `most` newest (None: all), and in how many stretches of time there are any: these need not all be looked
        into."""
        stretches = self._stretches(np.arange(len(self._found.hits)))
        out: list[Members] = []
        for stretch in stretches:
            if most is not None and len(out) >= most:
                # Later stretches end earlier, so what is behind them in time cannot come before these.
                out.sort(key=self.newness, reverse=True)
                if self.newness(out[most - 1]) >= self.newness(stretch):
                    return out[:most], len(stretches)
            out += self._apart(stretch)
        out.sort(key=self.newness, reverse=True)
        return out if most is None else out[:most], len(stretches)

    def newness(self, members: Members) -> tuple[int, int, float]:
        """What sorts sightings by the last time in view, the newest highest; of equals by what is likeliest meant."""
        hits = self._found.hits
        end = int(self._found.columns.end_ns[hits.rows[members]].max())
        rank = int(self._order[members[0]])
        meant = float((hits.score if hits.likely is None else hits.likely)[members].max())
        return (rank, end, meant) if self._zero_ns is None else (end + int(self._zero_ns[members[0]]), rank, meant)

    def older(self, one: Members, other: Members) -> bool:
        """Whether one was in view for the last time before the other was."""
        return self.newness(one)[:2] < self.newness(other)[:2]

    def holding(self, position: int) -> Members:
        """The sighting that a hit belongs to."""
        stretch = next(s for s in self._stretches(np.arange(len(self._found.hits))) if position in s)
        return next(part for part in self._apart(stretch) if position in part)

    def _apart(self, stretch: Members) -> Iterator[Members]:
        """The sightings of one stretch of one source."""
        for shot in self._shots(stretch):
            if len(shot) == 1:
                yield shot
                continue
            hits = self._found.hits
            for thing in things(self._store, self._cache, hits.rows[shot], self._like, self._found.columns):
                yield from self._stretches(shot[thing])  # without the others there may be gaps

    def of(self, thing: Members) -> list[Members]:
        """The sightings of one thing, newest first; none goes over a cut."""
        parts = [part for stretch in self._stretches(thing) for part in self._shots(stretch)]
        return sorted(parts, key=self.newness, reverse=True)

    def _stretches(self, members: Members) -> list[Members]:
        zeros = None if self._zero_ns is None else self._zero_ns[members]
        found = group(self._found.columns, self._found.hits.take(members), self._order[members], zero_ns=zeros)
        return [members[stretch] for stretch in found]

    def _shots(self, stretch: Members) -> Sequence[Members]:
        columns, rows = self._found.columns, self._found.hits.rows[stretch]
        source = int(columns.source_ids[rows[0]])
        if source not in self._cuts:
            self._cuts[source] = np.array(self._store.cuts(source), np.int64)
        shot = np.searchsorted(self._cuts[source], columns.start_ns[rows], side="right")
        return [stretch[shot == number] for number in np.unique(shot)]
