"""Re-identification: tracks that look alike are one thing seen again, after a gap or in another video.

T-REN's tracks end when a thing leaves the view, and the paper has no re-identification. Here tracks whose visual tokens
have a cosine of at least MIN_COSINE are linked, best pairs first; connected tracks are one thing. Two tracks that are
in view at the same time are two things, however alike they look, unless they lie in the same place: then one thing was
found twice. Two tracks of which the second comes, a moment later, where the first cannot have got to are two things as
well (places.py). benchmarks/things.py measures the result, benchmarks/ten_hours.py the cost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import Columns, Vectors
from ..store.vectors import Rows
from .places import GAP_NS, MAX_LOOKUPS, HasBoxes, Pairs, Places, found_twice
from .similar import similar_pairs

CROWD = 4096
"""The most pairs of tracks that are checked before two groups are joined; larger groups are not joined."""
MIN_COSINE = 0.8
"""Minimum cosine of the visual tokens of one thing, where the encoder's calibration does not say."""


def things(
    store: HasBoxes | None,
    cache: Vectors,
    rows: Rows,
    min_cosine: float = MIN_COSINE,
    columns: Columns | None = None,
) -> list[NDArray[np.intp]]:
    """The tracks of each thing as positions in `rows`, the thing with the earliest row first.

    Args:
        store: Where boxes are looked up, to separate things that are in view together; None to join all tracks that
            look alike. See similar.py and places.py for what is left out of very many.
        cache: The vectors of the memory.
        rows: Tracks `(n,)`.
        min_cosine: Minimum cosine of the visual tokens of two tracks of one thing.
        columns: Of `rows`, with the times that count; by default the cache's.
    """
    if not len(rows):
        return []
    times = cache.columns_of(rows) if columns is None else columns
    return positions(numbers(store, times, cache.reconstruct("visual", rows), min_cosine))


def numbers(store: HasBoxes | None, columns: Columns, vectors: Float32, min_cosine: float) -> NDArray[np.intp]:
    """The number of the thing of each track `(n,)`, from 0 in the order of `things`.

    Args:
        store: As in `things`.
        columns: Of the tracks, with the times that count.
        vectors: Their visual tokens `(n, D)`.
        min_cosine: As in `things`.
    """
    pairs = similar_pairs(vectors, min_cosine)
    if store is None:
        groups = _Groups([[]] * len(columns), [[]] * len(columns))
    else:
        groups, pairs = _separated(store, columns, pairs)
    for i, j in _each(pairs):
        groups.join(i, j)
    leaders = np.array([groups.leader(i) for i in range(len(columns))], np.intp)
    return np.asarray(np.unique(leaders, return_inverse=True)[1], np.intp)


def positions(number: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The ascending positions of each number in `(n,)`."""
    return np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])


def seen_again(cache: Vectors, rows: Rows, min_cosine: float = MIN_COSINE) -> Rows:
    """`rows` and all other tracks of the memory that look like one of them, ascending."""
    found = [rows]
    for vector in cache.reconstruct("visual", rows):
        if vector.any():
            found.append(cache.range_search("visual", vector, min_cosine)[0])
    return np.unique(np.concatenate(found)) if len(rows) else rows


def _each(pairs: Pairs) -> Iterator[tuple[int, int]]:
    return zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)


def _separated(store: HasBoxes, columns: Columns, pairs: Pairs) -> tuple[_Groups, Pairs]:
    """Groups in which what was found twice is joined and what is in two places is kept apart, and the pairs of which
    places say nothing."""
    a, b = pairs
    source, start, end = columns.source_ids, columns.start_ns, columns.end_ns
    together = (source[a] == source[b]) & (np.maximum(start[a], start[b]) <= np.minimum(end[a], end[b]))
    shift = _one_line(source, start, end)
    groups = _Groups([[s] for s in (start + shift).tolist()], [[e] for e in (end + shift).tolist()])
    twice = np.zeros(len(a), np.bool_)
    twice[together] = found_twice(store, columns, (a[together], b[together]))
    separate = together & ~twice
    separate[_elsewhere(store, columns, pairs, together)] = True
    for i, j in _each((a[separate], b[separate])):
        groups.forbid(i, j)
    _join_twice(groups, (a[twice], b[twice]), source, start, end)
    undecided = ~together & ~separate
    return groups, (a[undecided], b[undecided])


def _one_line(source: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """What to add to the times of each track `(n,)` so that all sources follow each other on one line, and spans of two
    sources never meet."""
    known, place = np.unique(source, return_inverse=True)
    first = np.full(len(known), np.iinfo(np.int64).max)
    np.minimum.at(first, place, start)
    length = np.zeros(len(known), np.int64)
    np.maximum.at(length, place, end - first[place] + 1)
    return np.asarray((np.cumsum(length) - length - first)[place], np.int64)


def _join_twice(
    groups: _Groups,
    pairs: Pairs,
    source: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
) -> None:
    """Join tracks of one thing that was found twice.

    A box around two things lies in the place of both. So every two tracks of a group that are in view together must be
    such a pair.

    Args:
        groups: Where to join them.
        pairs: The tracks that were found twice.
        source: Of each track `(n,)`, as are the next two.
        start: First time in view.
        end: Last time in view.
    """
    known = set(_each(pairs))
    members: dict[int, list[int]] = {}

    def conflict(m: int, n: int) -> bool:
        in_view_together = source[m] == source[n] and max(start[m], start[n]) <= min(end[m], end[n])
        return bool(in_view_together) and (min(m, n), max(m, n)) not in known

    for i, j in _each(pairs):
        x, y = groups.leader(i), groups.leader(j)
        if x == y:
            continue
        first, second = members.get(x, [x]), members.get(y, [y])
        if len(first) * len(second) > CROWD or any(conflict(m, n) for m in first for n in second):
            groups.forbid(x, y)
            continue
        groups.join(i, j, overlapping=True)
        if groups.leader(i) == groups.leader(j):  # false if the two were known to be apart
            members[groups.leader(i)] = first + second


def _elsewhere(store: HasBoxes, columns: Columns, pairs: Pairs, together: NDArray[np.bool_]) -> list[int]:
    """The indices of the pairs that follow each other within GAP_NS in places too far apart; only the first MAX_LOOKUPS
    such pairs, the most similar ones, are looked at.

    Args:
        store: Where the boxes are.
        columns: Of the tracks, with the times that count.
        pairs: Tracks that look alike, the most similar first.
        together: Which of the pairs are in view at the same time.
    """
    a, b = pairs
    start, end = columns.start_ns, columns.end_ns
    first, then = np.where(end[a] < start[b], a, b), np.where(end[a] < start[b], b, a)
    source = columns.source_ids
    close = (source[a] == source[b]) & ~together & (start[then] - end[first] <= GAP_NS)
    places, ordinal = Places(store), columns.ordinals
    return [
        k
        for k in np.flatnonzero(close)[:MAX_LOOKUPS].tolist()
        if places.elsewhere(
            int(source[first[k]]),
            int(ordinal[first[k]]),
            int(end[first[k]]),
            int(ordinal[then[k]]),
            int(start[then[k]]),
        )
    ]


class _Groups:
    """Groups of tracks that are one thing each (union-find); at first each track is a group.

    The lowest track of a group leads it. `_starts`, `_ends`: by leader, the sorted spans of its group, which do not
    overlap; empty where time does not matter. `_apart`: by leader, the leaders of groups that are other things.
    """

    def __init__(self, starts: list[list[int]], ends: list[list[int]]) -> None:
        """starts, ends: of each track, its one span on a line of time, or none where time does not matter."""
        self._leader = list(range(len(starts)))
        self._starts, self._ends = starts, ends
        self._apart: dict[int, set[int]] = {}

    def leader(self, i: int) -> int:
        """The leader of the group of a track."""
        leader = self._leader
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    def forbid(self, x: int, y: int) -> None:
        """Keep the groups of two leaders apart from now on."""
        self._apart.setdefault(x, set()).add(y)
        self._apart.setdefault(y, set()).add(x)

    def join(self, i: int, j: int, overlapping: bool = False) -> None:
        """Join the groups of two tracks, unless they are kept apart, or their times overlap and `overlapping` is
        false."""
        x, y = self.leader(i), self.leader(j)
        if x == y or y in self._apart.get(x, ()):
            return
        x, y = min(x, y), max(x, y)
        if not overlapping and self._meet(x, y):
            self.forbid(x, y)  # which holds for whatever they grow to
            return
        self._leader[y] = x
        self._merge_spans(x, y)
        for other in self._apart.pop(y, ()):
            self._apart[other].discard(y)
            self._apart[other].add(x)
            self._apart.setdefault(x, set()).add(other)

    def _meet(self, x: int, y: int) -> bool:
        """Return True if a span of one group overlaps one of the other."""
        if len(self._starts[x]) < len(self._starts[y]):
            x, y = y, x
        starts, ends = self._starts[x], self._ends[x]
        for start, end in zip(self._starts[y], self._ends[y], strict=True):
            before = bisect_right(starts, end)
            if before and ends[before - 1] >= start:
                return True
        return False

    def _merge_spans(self, x: int, y: int) -> None:
        """Merge the spans of y into those of x."""
        if len(self._starts[x]) < len(self._starts[y]):
            self._starts[x], self._starts[y] = self._starts[y], self._starts[x]
            self._ends[x], self._ends[y] = self._ends[y], self._ends[x]
        starts, ends = self._starts[x], self._ends[x]
        for start, end in zip(self._starts[y], self._ends[y], strict=True):
            after = bisect_right(starts, end)
            before = bisect_right(ends, start - 1)  # those from before to after overlap it
            low, high = (min(start, starts[before]), max(end, ends[after - 1])) if before < after else (start, end)
            starts[before:after], ends[before:after] = [low], [high]
        self._starts[y], self._ends[y] = [], []
