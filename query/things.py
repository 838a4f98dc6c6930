"""From tracks to things: tracks that look alike are one thing seen again, after a gap or in another video.

T-REN's tracks end when a thing leaves the view, and the paper has no re-identification. Here tracks whose visual
tokens have a cosine of at least LIKE are tied together, best pairs first; connected tracks are one thing. Two tracks
that are in view at the same time in different places are two things, however alike they look: what ties them is
refused. benchmarks/things.py measures what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..geometry import box_iou
from ..records import NS, Box, Float32
from ..store import Columns, VectorCache
from .place import GAP_NS, Glimpse, HasRegions, Places
from .scores import Rows

LIKE = 0.8
"""Cosine of visual tokens from which on tracks show one thing, where the encoder's calibration does not say."""
NEIGHBOURS = 32
"""Ties per track at the most: a thousand views of one sofa need not all be compared with each other."""
MOST = 20_000
"""Tracks that are compared at the most."""
SAME_PLACE = 0.1
"""Box IoU from which on two tracks of one moment may be one thing that was found twice, as a whole and in part."""

_BLOCK = 1024
_WINDOW_NS = 10 * NS
"""About what a blob of the store holds."""


def things(store: HasRegions | None, cache: VectorCache, rows: Rows, like: float = LIKE) -> list[NDArray[np.intp]]:
    """Positions in `rows` `(n,)` of the tracks of each thing, the thing with the earliest row first.

    store: where regions are looked up, to tell things apart that are in view together; without it all that look alike
    are one.

    Raises UsageError when there are more than MOST tracks.
    """
    if len(rows) > MOST:
        raise UsageError(
            f"{len(rows)} tracks match, too many to tell things apart (at most {MOST}); ask for less, with `sources`, "
            "`after`, `before` or `threshold`"
        )
    if not len(rows):
        return []
    a, b = _ties(cache.reconstruct("visual", rows), like)
    leader = list(range(len(rows)))
    members: dict[int, list[int]] = {i: [i] for i in range(len(rows))}
    apart = _Apart(store, cache.columns, rows) if store is not None else None

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        x, y = find(i), find(j)
        if x == y or (apart is not None and apart(members[x], members[y])):
            continue
        x, y = min(x, y), max(x, y)
        leader[y] = x
        members[x] += members.pop(y)
    return [np.array(sorted(group), np.intp) for _, group in sorted(members.items())]


def seen_again(cache: VectorCache, rows: Rows, like: float = LIKE) -> Rows:
    """`rows` and all other tracks of the memory that look like one of them, ascending: what words did not find."""
    found = [rows]
    for vector in cache.reconstruct("visual", rows):
        if vector.any():
            found.append(cache.range_search("visual", vector, like)[0])
    return np.unique(np.concatenate(found)) if len(rows) else rows


def _ties(vectors: Float32, like: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of rows with a cosine of at least `like`, best first; each row with its NEIGHBOURS nearest."""
    first, second, cosine = [], [], []
    for start in range(0, len(vectors), _BLOCK):
        near = vectors[start : start + _BLOCK] @ vectors.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -2
        if near.shape[1] > NEIGHBOURS:
            weak = np.argpartition(near, -NEIGHBOURS, axis=1)[:, :-NEIGHBOURS]
            np.put_along_axis(near, weak, -2, axis=1)
        i, j = np.nonzero(near >= like)
        first.append(i + start)
        second.append(j)
        cosine.append(near[i, j])
    a, b, c = np.concatenate(first), np.concatenate(second), np.concatenate(cosine)
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((high, low, -c))
    return low[order], high[order]


class _Apart:
    """Whether two groups of tracks hold two that are in view together, or shortly after each other, in different
    places."""

    def __init__(self, store: HasRegions, columns: Columns, rows: Rows) -> None:
        self._store, self._places = store, Places(store)
        self._source = columns.source_ids[rows].tolist()
        self._ordinal = columns.ordinals[rows].tolist()
        self._start, self._end = columns.start_ns[rows].tolist(), columns.end_ns[rows].tolist()
        self._known: dict[tuple[int, int], bool] = {}
        self._seen: dict[tuple[int, int], list[tuple[int, NDArray[np.int64], Float32]]] = {}
        self._wanted: dict[int, NDArray[np.int64]] = {}

    def __call__(self, a: Sequence[int], b: Sequence[int]) -> bool:
        return any(self._pair(i, j) for i in a for j in b)

    def _pair(self, i: int, j: int) -> bool:
        start, end = max(self._start[i], self._start[j]), min(self._end[i], self._end[j])
        if self._source[i] != self._source[j] or start > end + GAP_NS:
            return False
        key = (min(i, j), max(i, j))
        if key not in self._known:
            self._known[key] = self._look(i, j, start, end) if start <= end else self._elsewhere(i, j)
        return self._known[key]

    def _elsewhere(self, i: int, j: int) -> bool:
        first, then = (i, j) if self._end[i] < self._start[j] else (j, i)
        left, came = Glimpse(self._ordinal[first], self._end[first]), Glimpse(self._ordinal[then], self._start[then])
        return self._places.elsewhere(self._source[i], left, came)

    def _look(self, i: int, j: int, start: int, end: int) -> bool:
        """Apart in most of the frames that hold both."""
        votes = 0
        for _, tracks, rows in self._frames(self._source[i], start, end):
            boxes = [rows[tracks == self._ordinal[k]] for k in (i, j)]
            if all(map(len, boxes)):
                votes += 1 if _outside(boxes[0][0], boxes[1][0]) else -1
        return votes > 0

    def _frames(self, source: int, start: int, end: int) -> Iterator[tuple[int, NDArray[np.int64], Float32]]:
        """Times, tracks and boxes of the frames from start to end, without their masks. Windows are read when they are
        first needed: two tracks that look alike share seconds of a video that may have hours."""
        for window in range(start // _WINDOW_NS, end // _WINDOW_NS + 1):
            if (source, window) not in self._seen:
                self._seen[source, window] = list(self._read(source, window))
            yield from (frame for frame in self._seen[source, window] if start <= frame[0] <= end)

    def _read(self, source: int, window: int) -> Iterator[tuple[int, NDArray[np.int64], Float32]]:
        if source not in self._wanted:
            self._wanted[source] = np.array(
                [o for o, s in zip(self._ordinal, self._source, strict=True) if s == source], np.int64
            )
        start = window * _WINDOW_NS
        for frame in self._store.regions(source, start, start + _WINDOW_NS - 1):
            held = np.isin(frame.tracks, self._wanted[source])
            if held.sum() > 1:
                yield frame.t_ns, frame.tracks[held], frame.boxes[held]


def _outside(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Neither lies in the other, and they hardly overlap."""
    box: Box = (float(b[0]), float(b[1]), float(b[2]), float(b[3]))
    if box_iou(a[None], box)[0] >= SAME_PLACE:
        return False
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return not (width > 0 and height > 0 and width * height >= 0.5 * smaller)
