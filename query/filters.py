"""Conditions on what was found: in a span of time, in some sources, near something else.

A track that meets a condition only for a part of its time counts for that part alone: its span is cut, and its
evidence is a frame from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..records import Box, Float32
from ..store import Columns, Store
from ..timecode import NS
from .scores import Hits, joined

WITHIN_NS = 2 * NS
"""Two things are near in time when they are in view so far apart at the most: a head turns from one to the other."""
APART = 1.0
"""They are near in place when the gap between their boxes is at most so many times the longest side of the two."""

MUCH_LARGER = 1.5
"""A box with so many times the area of most of its track's is no evidence."""

Spans = Mapping[int, tuple[int, int] | NDArray[np.int64]]
"""By source id, the first and last ns (inclusive) that count, or for single pictures the times of those that count, in
order; sources that are not in it do not."""


@dataclass(frozen=True, slots=True, eq=False)
class Narrowed:
    """hits that are left; columns in which their spans are cut; evidence by row of the cache, for those whose own lies
    outside."""

    hits: Hits
    columns: Columns
    evidence: dict[int, tuple[int, Box]] = field(default_factory=dict)


def merged(a: Narrowed, b: Narrowed) -> Narrowed:
    """The hits of both, none of which is in the two, each with its own times and evidence."""
    start, end = a.columns.start_ns.copy(), a.columns.end_ns.copy()
    rows = b.hits.rows
    start[rows], end[rows] = b.columns.start_ns[rows], b.columns.end_ns[rows]
    hits = joined(a.hits, b.hits)
    return Narrowed(hits, replace(a.columns, start_ns=start, end_ns=end), a.evidence | b.evidence)


def may_answer(columns: Columns, spans: Spans) -> NDArray[np.int64]:
    """The rows of all tracks that were seen within `spans`, as far as their first and last times say."""
    low, high = _bounds(columns.source_ids, spans)
    rows = np.flatnonzero((columns.start_ns <= high) & (columns.end_ns >= low) & (low <= high))
    return rows[_pictures_count(columns, rows, spans)]


def _bounds(sources: NDArray[np.int64], spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and last ns that count for each of the sources `(n,)`; an empty span where none does."""
    known, place = np.unique(sources, return_inverse=True)
    told = (spans.get(source, (1, 0)) for source in known.tolist())
    ends = [(int(span[0]), int(span[-1])) if len(span) else (1, 0) for span in told]
    both = np.array(ends, np.int64).reshape(-1, 2)[place]
    return both[:, 0], both[:, 1]


def _pictures_count(columns: Columns, rows: NDArray[np.int64], spans: Spans) -> NDArray[np.bool_]:
    """Of rows within the bounds of `spans`, those that are no single picture between the ones that count."""
    keep = np.ones(len(rows), np.bool_)
    for source, times in spans.items():
        if isinstance(times, np.ndarray):
            mine = np.flatnonzero(columns.source_ids[rows] == source)
            keep[mine] = np.isin(columns.start_ns[rows[mine]], times)
    return keep


def by_time(store: Store, columns: Columns, hits: Hits, spans: Spans) -> Narrowed:
    """The hits that were seen within `spans`."""
    rows = hits.rows
    sources = columns.source_ids[rows]
    low, high = _bounds(sources, spans)
    start, end = columns.start_ns[rows], columns.end_ns[rows]
    meets = (start <= high) & (end >= low) & (low <= high) & _pictures_count(columns, rows, spans)
    inside = meets & (start >= low) & (end <= high)
    crossing = np.flatnonzero(meets & ~inside)
    seen: dict[int, _Seen] = {}
    for source in np.unique(sources[crossing]).tolist():
        here = crossing[sources[crossing] == source]
        wanted = {int(columns.ordinals[rows[i]]): int(rows[i]) for i in here}
        for t_ns, row, box in _boxes(store, source, wanted, int(spans[source][0]), int(spans[source][-1])):
            _add(seen, row, t_ns, box)
    keep = inside | np.isin(rows, list(seen))  # a track may be out of view at just that time
    return _cut(columns, hits.take(keep), seen)


def near(
    store: Store, found: Narrowed, others: Sequence[Narrowed], within_ns: int = WITHIN_NS, apart: float = APART
) -> Narrowed:
    """The hits of `found` that are near a hit of each of `others`: seen within_ns of it at the most, with no more than
    `apart` longest sides between the boxes. Across frames boxes are compared as they are: the camera counts as still.
    """
    for other in others:
        found = _near(store, found, other, within_ns, apart)
    return found


def _near(store: Store, found: Narrowed, other: Narrowed, within_ns: int, apart: float) -> Narrowed:
    a, b = found.hits.rows, other.hits.rows
    seen: dict[int, _Seen] = {}
    for source in np.intersect1d(found.columns.source_ids[a], other.columns.source_ids[b]).tolist():
        ours, theirs = (
            rows[columns.source_ids[rows] == source] for rows, columns in ((a, found.columns), (b, other.columns))
        )
        for start, end in _together(found.columns, ours, other.columns, theirs, within_ns):
            mine = _arrays(store, source, found.columns, ours, start, end)
            yours = _arrays(store, source, other.columns, theirs, start, end)
            for t_ns, row, box in zip(*mine, strict=True):
                low, high = np.searchsorted(yours[0], [t_ns - within_ns, t_ns + within_ns + 1])
                rivals = yours[1][low:high] != row  # a thing is not near itself
                if _gaps_fit(box, yours[2][low:high][rivals], apart):
                    _add(seen, int(row), int(t_ns), box)
    keep = np.isin(a, list(seen))
    return _cut(found.columns, found.hits.take(keep), seen)


def _together(
    ours: Columns, a: NDArray[np.int64], theirs: Columns, b: NDArray[np.int64], within_ns: int
) -> Iterator[tuple[int, int]]:
    """Times that hold a track of both kinds, widened by within_ns, in order and apart."""
    low, high = theirs.start_ns[b] - within_ns, theirs.end_ns[b] + within_ns
    times = np.empty((0, 2), np.int64)
    for i in a.tolist():  # the union so far, and no list of all pairs
        start, end = np.maximum(ours.start_ns[i], low), np.minimum(ours.end_ns[i], high)
        here = np.stack([start - within_ns, end + within_ns], axis=1)[start <= end]
        times = _union(np.concatenate([times, here]))
    yield from ((int(start), int(end)) for start, end in times)


def _union(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spans `(n, 2)` that overlap made one, in order."""
    if len(times) < 2:
        return times
    times = times[np.argsort(times[:, 0], kind="stable")]
    furthest = np.maximum.accumulate(times[:, 1])
    first = np.concatenate([[True], times[1:, 0] > furthest[:-1]])
    last = np.concatenate([np.flatnonzero(first)[1:] - 1, [len(times) - 1]])
    return np.stack([times[first, 0], furthest[last]], axis=1)


def _arrays(
    store: Store, source: int, columns: Columns, rows: NDArray[np.int64], start: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]:
    """Times, rows and boxes of what the tracks show from start to end, each within its span, by time."""
    wanted = {int(columns.ordinals[row]): int(row) for row in rows}
    items = [
        (t_ns, row, box)
        for t_ns, row, box in _boxes(store, source, wanted, start, end)
        if columns.start_ns[row] <= t_ns <= columns.end_ns[row]
    ]
    times, numbers = (np.array([item[i] for item in items], np.int64) for i in (0, 1))
    return times, numbers, np.array([box for _, _, box in items], np.float32).reshape(-1, 4)


def _boxes(
    store: Store, source: int, wanted: Mapping[int, int], start: int, end: int
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Time, row and box of every region of the tracks in `wanted` (ordinal: row) from start to end."""
    ordinals = np.array(list(wanted), np.int64)
    for frame in store.regions(source, max(start, -(1 << 63)), min(end, (1 << 63) - 1)):
        for i in np.flatnonzero(np.isin(frame.tracks, ordinals)).tolist():
            yield frame.t_ns, wanted[int(frame.tracks[i])], frame.boxes[i]


def _gaps_fit(box: NDArray[np.float32], others: Float32, apart: float) -> bool:
    if not len(others):
        return False
    dx = np.maximum(0, np.maximum(others[:, 0] - box[2], box[0] - others[:, 2]))
    dy = np.maximum(0, np.maximum(others[:, 1] - box[3], box[1] - others[:, 3]))
    own = max(box[2] - box[0], box[3] - box[1])
    longest = np.maximum(own, np.maximum(others[:, 2] - others[:, 0], others[:, 3] - others[:, 1]))
    return bool((np.hypot(dx, dy) <= apart * longest).any())


@dataclass(slots=True)
class _Seen:
    """What is seen of a track: times and boxes `(4,)`."""

    times: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)

    def best(self) -> tuple[int, Box]:
        """Its largest box and when, leaving out those that are much larger than most: they hold other things too."""
        boxes = np.array(self.boxes, np.float64)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        i = int(np.where(areas <= MUCH_LARGER * np.median(areas), areas, -1).argmax())
        x0, y0, x1, y1 = boxes[i].tolist()
        return self.times[i], (x0, y0, x1, y1)


def _add(seen: dict[int, _Seen], row: int, t_ns: int, box: NDArray[np.float32]) -> None:
    known = seen.setdefault(row, _Seen())
    known.times.append(t_ns)
    known.boxes.append(box)


def _cut(columns: Columns, hits: Hits, seen: Mapping[int, _Seen]) -> Narrowed:
    if not seen:
        return Narrowed(hits, columns)
    start, end = columns.start_ns.copy(), columns.end_ns.copy()
    for row, part in seen.items():
        start[row], end[row] = min(part.times), max(part.times)
    return Narrowed(hits, replace(columns, start_ns=start, end_ns=end), {row: p.best() for row, p in seen.items()})
