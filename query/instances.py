"""From matching tracks to instances: sightings of one thing each, newest first.

Tracks of one source with gaps under two seconds are one sighting when they look alike, were not in view together in
different places, are where the thing can have got to (places.py), and no cut lies between them. Only as much is
examined as was asked for: for the newest sighting of a long memory, the newest stretch of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..store import Columns, Store, Vectors
from ..timecode import NS
from .filters import Filtered
from .reid import things

GAP_NS = 2 * NS
"""Tracks of one source with at most this between them are one stretch: a thing can be hidden for a second or two
without having left."""

Members = NDArray[np.intp]
"""Positions in the hits of the tracks of one sighting."""


def group(
    columns: Columns,
    order: NDArray[np.int64],
    gap_ns: int = GAP_NS,
    *,
    zero_ns: NDArray[np.int64] | None = None,
) -> list[Members]:
    """The hits in stretches of contiguous time, newest stretch first.

    There is no Python loop over hits: a stretch ends where the next start lies beyond the furthest end so far plus the
    gap.

    Args:
        columns: Of the hits.
        order: `(n,)` rank in time of each hit's source, older first. Spans are compared within a source only.
        gap_ns: The longest gap within a stretch.
        zero_ns: `(n,)` zero of each hit's source on one clock, if all have one. Then this clock says what is newest,
            and sources that ran at the same time, as a robot's cameras do, take turns.
    """
    if not len(columns):
        return []
    start, end, source = columns.start_ns, columns.end_ns, columns.source_ids
    by_time = np.lexsort((start, source, order))
    start, end, source = start[by_time], end[by_time], source[by_time]
    new_source = source[1:] != source[:-1]
    # The furthest end so far, per source: each source's times are counted from its first one, and put after those of
    # the source before.
    block = np.concatenate([[0], np.cumsum(new_source)])
    first = start[np.concatenate([[0], np.flatnonzero(new_source) + 1])][block]
    span = int((end - first).max()) + gap_ns + 1
    lifted_start, lifted_end = start - first + block * span, end - first + block * span
    furthest = np.maximum.accumulate(lifted_end)
    begins = np.concatenate([[True], (lifted_start[1:] > furthest[:-1] + gap_ns) | new_source])
    firsts = np.flatnonzero(begins)
    stretches = np.split(by_time, firsts[1:])
    ends, ranks = np.maximum.reduceat(end, firsts), order[by_time][firsts]
    if zero_ns is not None:
        newest = np.lexsort((ranks, ends + zero_ns[by_time][firsts]))[::-1]
    else:
        newest = np.lexsort((ends, ranks))[::-1]
    return [stretches[i] for i in newest]


class Instances:
    """The sightings among what was found, newest first."""

    def __init__(
        self,
        store: Store,
        cache: Vectors,
        found: Filtered,
        order: NDArray[np.int64],
        zero_ns: NDArray[np.int64] | None,
        min_cosine: float,
    ) -> None:
        """Prepare; nothing is looked up yet.

        Args:
            store: The memory.
            cache: Its vectors.
            found: The tracks.
            order: As in `group`.
            zero_ns: As in `group`.
            min_cosine: Minimum cosine of the visual tokens of two tracks of one thing.
        """
        self._store, self._cache, self._found, self._min_cosine = store, cache, found, min_cosine
        self._order, self._zero_ns = order, zero_ns
        self._cuts: dict[int, NDArray[np.int64]] = {}

    def newest(self, top: int | None) -> tuple[list[Members], int]:
        """The `top` newest sightings (None for all), and the number of stretches of time, not all of which are
        examined."""
        stretches = self._stretches(np.arange(len(self._found.hits)))
        out: list[Members] = []
        for stretch in stretches:
            if top is not None and len(out) >= top:
                # Later stretches end earlier, so what follows in time cannot come before these.
                out.sort(key=self.newness, reverse=True)
                if self.newness(out[top - 1]) >= self.newness(stretch):
                    return out[:top], len(stretches)
            out += self._split(stretch)
        out.sort(key=self.newness, reverse=True)
        return out[:top], len(stretches)

    def newness(self, members: Members) -> tuple[int, int, float]:
        """A sort key: the last time in view, the newest highest; of equals the one that is more probably meant."""
        hits = self._found.hits
        end = int(self._found.columns.end_ns[members].max())
        rank = int(self._order[members[0]])
        ranking = float(hits.ranking[members].max())
        if self._zero_ns is None:
            return rank, end, ranking
        return end + int(self._zero_ns[members[0]]), rank, ranking

    def older(self, members: Members, others: Members) -> bool:
        """Return True if the first sighting was last in view before the second."""
        return self.newness(members)[:2] < self.newness(others)[:2]

    def holding(self, position: int) -> Members:
        """The sighting that the hit at this position belongs to."""
        stretch = next(s for s in self._stretches(np.arange(len(self._found.hits))) if position in s)
        return next(part for part in self._split(stretch) if position in part)

    def of(self, thing: Members) -> list[Members]:
        """The sightings of one thing, newest first, split at cuts."""
        parts = [part for stretch in self._stretches(thing) for part in self._shots(stretch)]
        return sorted(parts, key=self.newness, reverse=True)

    def _split(self, stretch: Members) -> Iterator[Members]:
        """The sightings of one stretch of one source."""
        for shot in self._shots(stretch):
            if len(shot) == 1:
                yield shot
                continue
            rows = self._found.hits.rows[shot]
            columns = self._found.columns.take(shot)
            for thing in things(self._store, self._cache, rows, self._min_cosine, columns):
                yield from self._stretches(shot[thing])  # without the others there may be gaps

    def _stretches(self, members: Members) -> list[Members]:
        zeros = None if self._zero_ns is None else self._zero_ns[members]
        found = group(self._found.columns.take(members), self._order[members], zero_ns=zeros)
        return [members[stretch] for stretch in found]

    def _shots(self, stretch: Members) -> Sequence[Members]:
        """The stretch split at the cuts of its source."""
        columns = self._found.columns
        source = int(columns.source_ids[stretch[0]])
        if source not in self._cuts:
            self._cuts[source] = np.array(self._store.cuts(source), np.int64)
        shot = np.searchsorted(self._cuts[source], columns.start_ns[stretch], side="right")
        return [stretch[shot == number] for number in np.unique(shot)]
