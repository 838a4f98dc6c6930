"""What places say about two tracks that look alike: one thing found twice in one frame, or a thing that came back where
it cannot have got to.

Cosines alone cannot tell two cups of a kind apart. Tracks in view at the same time are one thing when their boxes lie
in the same place, as a whole and its part do. Tracks that follow each other within a moment are two things when the
second appears too far from where the first was last. How far the picture has moved meanwhile is taken from the things
that are in view before and after; where there are too few, as after a whip of the camera, places say nothing.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import Columns
from ..timecode import NS

SAME_PLACE = 0.1
"""Minimum box IoU of two tracks of one moment for one thing that was found twice."""
PART = 0.5
"""Or minimum share of the smaller box that lies in the other."""
MAX_LOOKUPS = 600
"""The most stretches of time in which boxes are looked up; each takes about a millisecond."""
WINDOW_NS = 10 * NS
"""The length of such a stretch, in ns: about what a blob of the store holds."""
GAP_NS = 2 * NS
"""After being out of view for longer than this, in ns, a thing may be anywhere."""
REACH = 2.0
"""The farthest that a thing can move within GAP_NS, in longest sides of the smaller box, the motion of the picture not
counted."""
MIN_COMMON = 3
"""The fewest things in view before and after from which the motion of the picture is taken."""

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Pairs of tracks, as positions `(p,)` and `(p,)` in an array of tracks."""


class HasBoxes(Protocol):
    """The part of a Store that is needed here."""

    def boxes(
        self, source_id: int, start_ns: int, end_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]: ...


def found_twice(store: HasBoxes, columns: Columns, pairs: Pairs) -> NDArray[np.bool_]:
    """Which pairs of tracks `(p,)` are in the same place in at least half of the frames that hold both.

    All such frames are looked at where that takes no more than MAX_LOOKUPS stretches of time. Of more pairs each is
    looked at in one stretch of the time that it has in common, in stretches that many pairs share, the most wanted
    first; pairs that are left over count as two things.

    Args:
        store: Where the boxes are.
        columns: Of the tracks, with the times that count.
        pairs: Tracks of one source with a time in common.
    """
    a, b = pairs
    source = columns.source_ids[a]
    start = np.maximum(columns.start_ns[a], columns.start_ns[b])
    end = np.minimum(columns.end_ns[a], columns.end_ns[b])
    pair, window = _windows(source, start, end)
    where, place = np.unique(np.stack([source[pair], window]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    counts = np.bincount(place, minlength=where.shape[1])
    chosen = np.argsort(-counts, kind="stable")[:MAX_LOOKUPS]
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(counts)[:-1])
    votes, seen = np.zeros(len(a), np.int64), np.zeros(len(a), np.bool_)
    for number in np.sort(chosen).tolist():
        here = pair[members[number]]
        low = int(where[1, number]) * WINDOW_NS
        high = min(low + WINDOW_NS - 1, (1 << 63) - 1)
        found = store.boxes(int(where[0, number]), low, high)
        ordinals = columns.ordinals[a[here]], columns.ordinals[b[here]]
        votes[here] += _votes(found, ordinals, start[here], end[here])
        seen[here] = True
    return seen & (votes >= 0)


def _windows(
    source: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The windows of WINDOW_NS to look at, as pair and number of the window: all in which a pair is in view, or one
    for each pair if these are too many."""
    first, last = start // WINDOW_NS, end // WINDOW_NS
    counts = last - first + 1
    if counts.sum() <= 64 * MAX_LOOKUPS:
        pair = np.repeat(np.arange(len(source)), counts)
        window = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts) + first[pair]
        if np.unique(np.stack([source[pair], window]), axis=1).shape[1] <= MAX_LOOKUPS:
            return pair, window
    return np.arange(len(source)), _roundest(first, last)


def _roundest(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the whole numbers from first to last the one that the highest power of two divides, as ranges share these."""
    out = first.copy()
    for power in range(1, 40):
        step = np.int64(1) << power
        next_ = -(-first // step) * step
        out = np.where(next_ <= last, next_, out)
    return out


def _votes(
    found: tuple[NDArray[np.int64], NDArray[np.int64], Float32],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For each pair of ordinals `(p,)` the frames from start to end in which it is in one place, minus those in which
    it is in two."""
    times, tracks, boxes = found
    if not len(times):
        return np.zeros(len(start), np.int64)
    frames, frame = np.unique(times, return_inverse=True)
    known = np.unique(np.concatenate(pairs))
    column = np.minimum(np.searchsorted(known, tracks), len(known) - 1)
    held = known[column] == tracks
    row = np.full((len(frames), len(known)), -1, np.intp)
    row[frame[held], column[held]] = np.flatnonzero(held)
    i, j = (row[:, np.searchsorted(known, one)] for one in pairs)
    both = (i >= 0) & (j >= 0) & (frames[:, None] >= start) & (frames[:, None] <= end)
    _, pair = np.nonzero(both)
    together = np.where(same_place(boxes[i[both]], boxes[j[both]]), 1, -1)
    return np.bincount(pair, weights=together, minlength=len(start)).astype(np.int64)


def same_place(a: Float32, b: Float32) -> NDArray[np.bool_]:
    """Which pairs of boxes `(n, 4)` and `(n, 4)` overlap with an IoU of SAME_PLACE, or have PART of the smaller one in
    the other."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.maximum(sides, 0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (a, b)]  # only of boxes with something in common
    joint = areas[0] + areas[1] - common
    return np.asarray((common > 0) & ((common >= SAME_PLACE * joint) | (common >= PART * np.minimum(*areas))))


class Places:
    """Where the tracks of sources were at given times; each frame is read once."""

    def __init__(self, store: HasBoxes) -> None:
        self._store = store
        self._frames: dict[tuple[int, int], tuple[NDArray[np.int64], Float32]] = {}

    def elsewhere(self, source: int, left: int, left_ns: int, came: int, came_ns: int) -> bool:
        """Return True if a track appears too far from where another was last for the two to be one thing.

        Args:
            source: Id of the source.
            left: Ordinal of the track that left.
            left_ns: When it was last in view.
            came: Ordinal of the track that came.
            came_ns: When it was first in view.
        """
        (before, old), (after, new) = self._frame(source, left_ns), self._frame(source, came_ns)
        a, b = old[before == left], new[after == came]
        _, old_common, new_common = np.intersect1d(before, after, return_indices=True)
        if not len(a) or not len(b) or len(old_common) < MIN_COMMON:
            return False
        shift = np.median(_centres(new[new_common]) - _centres(old[old_common]), axis=0)
        way = _centres(b)[0] - _centres(a)[0] - shift
        side = min(float((box[2:] - box[:2]).max()) for box in (a[0], b[0]))
        return bool(np.hypot(*way) > REACH * side)

    def _frame(self, source: int, t_ns: int) -> tuple[NDArray[np.int64], Float32]:
        """The tracks of a frame and their boxes."""
        key = source, t_ns
        if key not in self._frames:
            _, tracks, boxes = self._store.boxes(source, t_ns, t_ns)
            self._frames[key] = tracks, boxes
        return self._frames[key]


def _centres(boxes: Float32) -> Float32:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)
