"""Tracks that are in view at the same time: one thing that was found twice, as a whole and in part, or two things."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import Columns
from ..timecode import NS
from .scores import Rows

SAME_PLACE = 0.1
"""Box IoU from which on two tracks of one moment may be one thing that was found twice."""
LOOKS = 600
"""Stretches of time in which boxes are looked up at the most; each takes about a millisecond."""
WINDOW_NS = 10 * NS
"""About what a blob of the store holds."""


class HasBoxes(Protocol):
    """What is needed of a Store."""

    def boxes(
        self, source_id: int, start_ns: int, end_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]: ...


def found_twice(
    store: HasBoxes, columns: Columns, rows: Rows, a: NDArray[np.intp], b: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Of pairs of tracks of one source with a time in common, positions a `(p,)` and b `(p,)` in `rows`: whether they
    are in the same place in at least half of the frames that hold both.

    All such frames are looked at where that takes no more than LOOKS stretches of time. Of more pairs each is looked at
    in one stretch of the time that it has in common, in stretches that many pairs share, the most asked for first;
    pairs that are left over then count as two things.
    """
    source = columns.source_ids[rows[a]]
    start = np.maximum(columns.start_ns[rows[a]], columns.start_ns[rows[b]])
    end = np.minimum(columns.end_ns[rows[a]], columns.end_ns[rows[b]])
    first, last = start // WINDOW_NS, end // WINDOW_NS
    counts = last - first + 1
    if counts.sum() <= 64 * LOOKS:
        pair = np.repeat(np.arange(len(a)), counts)
        window = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts) + first[pair]
        if len(np.unique(np.stack([source[pair], window]), axis=1).T) > LOOKS:
            pair, window = np.arange(len(a)), _roundest(first, last)
    else:
        pair, window = np.arange(len(a)), _roundest(first, last)
    where, place = np.unique(np.stack([source[pair], window]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    asked = np.bincount(place, minlength=where.shape[1])
    looked = np.argsort(-asked, kind="stable")[:LOOKS]
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(asked)[:-1])
    votes, seen = np.zeros(len(a), np.int64), np.zeros(len(a), np.bool_)
    for number in np.sort(looked).tolist():
        mine = pair[members[number]]
        low = int(where[1, number]) * WINDOW_NS
        high = min(low + WINDOW_NS - 1, (1 << 63) - 1)
        found = store.boxes(int(where[0, number]), low, high)
        ordinals = columns.ordinals[rows[a[mine]]], columns.ordinals[rows[b[mine]]]
        votes[mine] += _votes(found, ordinals, start[mine], end[mine])
        seen[mine] = True
    return seen & (votes >= 0)


def _roundest(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the whole numbers from first to last the one that the highest power of two divides: ranges share them."""
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
    """Of each pair of ordinals, in how many frames from start to end more it is in one place than in two."""
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
    """Of boxes `(n, 4)` and `(n, 4)`: whether each two overlap well, or one lies in the other by half at least."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.maximum(sides, 0).prod(1)
    areas = [np.maximum(box[:, 2:] - box[:, :2], 0).prod(1) for box in (a, b)]
    joint = areas[0] + areas[1] - common
    return np.asarray((common > 0) & ((common >= SAME_PLACE * joint) | (common >= 0.5 * np.minimum(*areas))))
