"""From tracks to things: tracks that look alike are one thing seen again, after a gap or in another video.

T-REN's tracks end when a thing leaves the view, and the paper has no re-identification. Here tracks whose visual
tokens have a cosine of at least LIKE are tied together, best pairs first; connected tracks are one thing. Two tracks
that are in view at the same time are two things, however alike they look, unless they look alike and lie in the same
place: then one thing was found twice. So are two of which the second comes, a moment later, where the first cannot have
got to (place.py). benchmarks/things.py measures what comes of it, benchmarks/ten_hours.py what it costs.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import Columns, VectorCache
from .overlap import LOOKS, HasBoxes, found_twice
from .reachable import GAP_NS, Places
from .scores import Rows
from .similar import ties

CROWD = 4096
"""Pairs of two groups that are looked at before they are joined: larger ones are crowds, and stay apart."""
LIKE = 0.8
"""Cosine of visual tokens from which on tracks show one thing, where the encoder's calibration does not say."""


def things(
    store: HasBoxes | None, cache: VectorCache, rows: Rows, like: float = LIKE, columns: Columns | None = None
) -> list[NDArray[np.intp]]:
    """Positions in `rows` `(n,)` of the tracks of each thing, the thing with the earliest row first.

    store: where boxes are looked up, to tell things apart that are in view together; without it all that look alike
    are one. columns: with the times that count, by default the cache's. See ties.py and together.py for what is left
    out of very many.
    """
    if not len(rows):
        return []
    times = cache.columns if columns is None else columns
    return parted(numbers(store, times, rows, cache.reconstruct("visual", rows), like))


def numbers(store: HasBoxes | None, columns: Columns, rows: Rows, vectors: Float32, like: float) -> NDArray[np.intp]:
    """For each of `rows` `(n,)` with its visual token `(n, D)` the number of its thing, 0 and on, as `things` sorts
    them."""
    a, b = ties(vectors, like)
    if store is None:
        groups = _Groups([[]] * len(rows), [[]] * len(rows))
    else:
        source, start, end = columns.source_ids[rows], columns.start_ns[rows], columns.end_ns[rows]
        together = (source[a] == source[b]) & (np.maximum(start[a], start[b]) <= np.minimum(end[a], end[b]))
        # All sources one after the other on one line, so that spans of two never meet.
        known, place = np.unique(source, return_inverse=True)
        first = np.full(len(known), np.iinfo(np.int64).max)
        np.minimum.at(first, place, start)
        length = np.zeros(len(known), np.int64)
        np.maximum.at(length, place, end - first[place] + 1)
        shift = (np.cumsum(length) - length - first)[place]
        groups = _Groups([[s] for s in (start + shift).tolist()], [[e] for e in (end + shift).tolist()])
        twice = np.zeros(len(a), np.bool_)
        twice[together] = found_twice(store, columns, rows, a[together], b[together])
        apart = together & ~twice
        apart[_elsewhere(store, columns, rows, a, b, together)] = True
        groups.forbid(a[apart].tolist(), b[apart].tolist())
        _join_twice(groups, a[twice], b[twice], source, start, end)
        a, b = a[~together & ~apart], b[~together & ~apart]
    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        groups.join(i, j)
    leaders = np.array([groups.leader(i) for i in range(len(rows))], np.intp)
    return np.asarray(np.unique(leaders, return_inverse=True)[1], np.intp)


def _join_twice(
    groups: _Groups,
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    source: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
) -> None:
    """Join tracks of one thing that was found twice. A box around two things lies in the place of both: so every two of
    a group that are in view together must be such a pair."""
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    members: dict[int, list[int]] = {}
    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        x, y = groups.leader(i), groups.leader(j)
        if x == y:
            continue
        mine, others = members.get(x, [x]), members.get(y, [y])
        apart = len(mine) * len(others) > CROWD or any(
            source[m] == source[n]
            and max(start[m], start[n]) <= min(end[m], end[n])
            and (min(m, n), max(m, n)) not in pairs
            for m in mine
            for n in others
        )
        if apart:
            groups.forbid([x], [y])
            continue
        groups.join(i, j, overlapping=True)
        if groups.leader(i) == groups.leader(j):  # else it was known to be wrong
            members[groups.leader(i)] = mine + others


def _elsewhere(
    store: HasBoxes,
    columns: Columns,
    rows: Rows,
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    together: NDArray[np.bool_],
) -> list[int]:
    """Of pairs, most alike first, those that follow each other within GAP_NS in places too far apart; of very many the
    first ones alone are looked at."""
    start, end = columns.start_ns[rows], columns.end_ns[rows]
    first, then = np.where(end[a] < start[b], a, b), np.where(end[a] < start[b], b, a)
    source = columns.source_ids[rows]
    close = np.flatnonzero((source[a] == source[b]) & ~together & (start[then] - end[first] <= GAP_NS))[:LOOKS]
    places, ordinal = Places(store), columns.ordinals[rows]
    return [
        k
        for k in close.tolist()
        if places.elsewhere(
            int(source[first[k]]),
            int(ordinal[first[k]]),
            int(end[first[k]]),
            int(ordinal[then[k]]),
            int(start[then[k]]),
        )
    ]


def parted(number: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The positions of each number `(n,)`, ascending."""
    return np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])


def seen_again(cache: VectorCache, rows: Rows, like: float = LIKE) -> Rows:
    """`rows` and all other tracks of the memory that look like one of them, ascending: what words did not find."""
    found = [rows]
    for vector in cache.reconstruct("visual", rows):
        if vector.any():
            found.append(cache.range_search("visual", vector, like)[0])
    return np.unique(np.concatenate(found)) if len(rows) else rows


class _Groups:
    """Groups of tracks that are one thing each; at first each track is one.

    starts, ends: of each track, its one span on a line of time, or none where time does not matter. Of a group they
    are sorted and do not overlap; the lowest track leads it. `_not`: leaders that each leader's group is apart from.
    """

    def __init__(self, starts: list[list[int]], ends: list[list[int]]) -> None:
        self._leader = list(range(len(starts)))
        self._starts, self._ends = starts, ends
        self._not: dict[int, set[int]] = {}

    def leader(self, i: int) -> int:
        leader = self._leader
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    def forbid(self, a: list[int], b: list[int]) -> None:
        """Pairs of tracks that are two things."""
        for i, j in zip(a, b, strict=True):
            self._not.setdefault(i, set()).add(j)
            self._not.setdefault(j, set()).add(i)

    def join(self, i: int, j: int, overlapping: bool = False) -> None:
        """Make the groups of two tracks one, unless that is known to be wrong, or their times overlap where that is not
        `overlapping`."""
        x, y = self.leader(i), self.leader(j)
        if x == y or y in self._not.get(x, ()):
            return
        x, y = min(x, y), max(x, y)
        if not overlapping and self._meet(x, y):
            self.forbid([x], [y])  # and so for whatever they grow to
            return
        self._leader[y] = x
        self._merge_spans(x, y)
        for other in self._not.pop(y, ()):
            self._not[other].discard(y)
            self._not[other].add(x)
            self._not.setdefault(x, set()).add(other)

    def _meet(self, x: int, y: int) -> bool:
        if len(self._starts[x]) < len(self._starts[y]):
            x, y = y, x
        starts, ends = self._starts[x], self._ends[x]
        for start, end in zip(self._starts[y], self._ends[y], strict=True):
            before = bisect_right(starts, end)
            if before and ends[before - 1] >= start:
                return True
        return False

    def _merge_spans(self, x: int, y: int) -> None:
        """The spans of y into those of x."""
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
