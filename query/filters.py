"""Filters on what was found: in these sources, within a span of time, near another thing.

A track that passes a filter only for a part of its time counts for that part: its span is cut, and its evidence is a
frame from that part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Box, Float32
from ..store import Columns, SourceRow, Store
from ..timecode import NS, Moment
from .scores import Hits, joined

WITHIN_NS = 2 * NS
"""Two things are near in time when they are in view at most this far apart: a head turns from one to the other."""
MAX_GAP = 1.0
"""Two things are near in place when the gap between their boxes is at most this many times the longest side of the
two."""
MUCH_LARGER = 1.5
"""A box with more than this many times the median area of its track is not used as evidence."""

Spans = Mapping[int, tuple[int, int] | NDArray[np.int64]]
"""By source id: the first and last ns (inclusive) to search. For single pictures: the sorted times of the pictures to
search. Sources that are missing are not searched."""


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """Hits that passed the filters.

    columns: those of the cache, with the spans of these hits cut. evidence: time and box by row of the cache, for hits
    whose best view lies outside of their cut span.
    """

    hits: Hits
    columns: Columns
    evidence: dict[int, tuple[int, Box]] = field(default_factory=dict)


def merged(a: Filtered, b: Filtered) -> Filtered:
    """The hits of both, each with its own times and evidence. No row may be in both."""
    start, end = a.columns.start_ns.copy(), a.columns.end_ns.copy()
    rows = b.hits.rows
    start[rows], end[rows] = b.columns.start_ns[rows], b.columns.end_ns[rows]
    columns = replace(a.columns, start_ns=start, end_ns=end)
    return Filtered(joined(a.hits, b.hits), columns, a.evidence | b.evidence)


def spans_of(
    store: Store, sources: Sequence[str], after: Moment | None, before: Moment | None
) -> tuple[Spans | None, list[str]]:
    """The spans to search, None for everything, and notes on what is left out.

    Args:
        store: The memory.
        sources: Paths or names of sources; empty for all.
        after: Search from this moment on.
        before: Search until just before this moment.

    Raises:
        UsageError: no such source, a span that ends before it begins, or no source has a time of that kind.
    """
    if not sources and after is None and before is None:
        return None, _stale(store)
    if after and before and after.wall == before.wall and after.ns >= before.ns:
        raise UsageError(f"{after.text!r} is not before {before.text!r}; nothing lies between them")
    rows = [store.source(name) for name in sources] if sources else store.sources()
    spans: dict[int, tuple[int, int] | NDArray[np.int64]] = {}
    undated = timeless = 0
    for row in rows:
        if row.kind.single_pictures and any(moment is not None and not moment.wall for moment in (after, before)):
            timeless += 1
            continue
        span = _span_of(store, row, after, before)
        if span is None:
            undated += 1
        else:
            spans[row.id] = span
    if timeless and timeless == len(rows):
        raise UsageError("single pictures have no time in a video; give a date, such as 2026-01-31T08:30")
    if undated and undated + timeless == len(rows):
        raise UsageError(
            "no source here knows when it was recorded; set it with `vidmem recorded SOURCE WHEN`, or give times in "
            "the video, such as 12.5s or 1:02"
        )
    notes = _stale(store)
    if timeless:
        notes.append(f"{timeless} of {len(rows)} sources are single pictures without a time in a video, left out")
    if undated:
        notes.append(
            f"{undated} of {len(rows)} sources do not know when they were recorded, left out; set it with `vidmem "
            "recorded`"
        )
    return spans, notes


def _span_of(
    store: Store, row: SourceRow, after: Moment | None, before: Moment | None
) -> tuple[int, int] | NDArray[np.int64] | None:
    """The part of a source to search, as in `Spans`; None when its recording time is needed and unknown."""
    if row.kind.single_pictures and (after or before):
        return _pictures_between(store, row, after, before)
    low = 0 if after is None else after.media_ns(row.start_ns)
    high = (1 << 62) if before is None else before.media_ns(row.start_ns)
    if low is None or high is None:
        return None
    return low, high - (before is not None)


def _pictures_between(
    store: Store, row: SourceRow, after: Moment | None, before: Moment | None
) -> NDArray[np.int64] | None:
    """The sorted times, on their source's clock, of the single pictures that were taken within; None when no picture
    has a date."""
    dates = store.pictures_recorded(row.id)
    if all(ns is None for ns, _ in dates.values()):
        return None
    low = -math.inf if after is None else after.ns
    high = math.inf if before is None else before.ns
    return np.array(sorted(t for t, (ns, _) in dates.items() if ns is not None and low <= ns < high), np.int64)


def _stale(store: Store) -> list[str]:
    """A note on sources that still have the tokens of an earlier encoder, if there are any."""
    names = [Path(uri).name for uri in store.stale_sources()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"left out, since they wait for `vidmem reembed`: {', '.join(names[:3])}{more}"] if names else []


def rows_within(columns: Columns, spans: Spans) -> NDArray[np.int64]:
    """The rows of all tracks whose first and last times meet `spans`."""
    low, high = _bounds(columns.source_ids, spans)
    rows = np.flatnonzero((columns.start_ns <= high) & (columns.end_ns >= low) & (low <= high))
    return rows[_picture_times_match(columns, rows, spans)]


def _bounds(sources: NDArray[np.int64], spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and last ns to search for each of `sources` `(n,)`; first > last where there is nothing to search."""
    known, place = np.unique(sources, return_inverse=True)
    wanted = (spans.get(source, (1, 0)) for source in known.tolist())
    ends = [(int(span[0]), int(span[-1])) if len(span) else (1, 0) for span in wanted]
    both = np.array(ends, np.int64).reshape(-1, 2)[place]
    return both[:, 0], both[:, 1]


def _picture_times_match(columns: Columns, rows: NDArray[np.int64], spans: Spans) -> NDArray[np.bool_]:
    """False for the rows that are single pictures and whose time is not among the times to search."""
    keep = np.ones(len(rows), np.bool_)
    for source, times in spans.items():
        if isinstance(times, np.ndarray):
            own = np.flatnonzero(columns.source_ids[rows] == source)
            keep[own] = np.isin(columns.start_ns[rows[own]], times)
    return keep


def by_time(store: Store, columns: Columns, hits: Hits, spans: Spans) -> Filtered:
    """The hits that were in view within `spans`."""
    rows = hits.rows
    sources = columns.source_ids[rows]
    low, high = _bounds(sources, spans)
    start, end = columns.start_ns[rows], columns.end_ns[rows]
    meets = (start <= high) & (end >= low) & (low <= high) & _picture_times_match(columns, rows, spans)
    inside = meets & (start >= low) & (end <= high)
    crossing = np.flatnonzero(meets & ~inside)
    views: dict[int, _Views] = {}
    for source in np.unique(sources[crossing]).tolist():
        here = crossing[sources[crossing] == source]
        by_ordinal = {int(columns.ordinals[rows[i]]): int(rows[i]) for i in here}
        for t_ns, row, box in _boxes(store, source, by_ordinal, int(spans[source][0]), int(spans[source][-1])):
            _add(views, row, t_ns, box)
    keep = inside | np.isin(rows, list(views))  # a track may be out of view at just that time
    return _cut(columns, hits.take(keep), views)


def near(
    store: Store,
    found: Filtered,
    others: Sequence[Filtered],
    within_ns: int = WITHIN_NS,
    max_gap: float = MAX_GAP,
) -> Filtered:
    """The hits of `found` that are near a hit of each of `others`.

    Boxes of different frames are compared as they are: the camera counts as still.

    Args:
        store: Where the boxes are.
        found: What was asked for.
        others: The other things.
        within_ns: How far apart in time two views may be.
        max_gap: The largest gap between two boxes, in longest sides of the two.
    """
    for other in others:
        found = _near(store, found, other, within_ns, max_gap)
    return found


def _near(store: Store, found: Filtered, other: Filtered, within_ns: int, max_gap: float) -> Filtered:
    a, b = found.hits.rows, other.hits.rows
    views: dict[int, _Views] = {}
    for source in np.intersect1d(found.columns.source_ids[a], other.columns.source_ids[b]).tolist():
        own_rows = a[found.columns.source_ids[a] == source]
        other_rows = b[other.columns.source_ids[b] == source]
        for start, end in _shared_times(found.columns, own_rows, other.columns, other_rows, within_ns):
            own = _arrays(store, source, found.columns, own_rows, start, end)
            times, rows, boxes = _arrays(store, source, other.columns, other_rows, start, end)
            for t_ns, row, box in zip(*own, strict=True):
                low, high = np.searchsorted(times, [t_ns - within_ns, t_ns + within_ns + 1])
                different = rows[low:high] != row  # a thing is not near itself
                if _any_close(box, boxes[low:high][different], max_gap):
                    _add(views, int(row), int(t_ns), box)
    return _cut(found.columns, found.hits.take(np.isin(a, list(views))), views)


def _shared_times(
    columns: Columns,
    rows: NDArray[np.int64],
    other_columns: Columns,
    other_rows: NDArray[np.int64],
    within_ns: int,
) -> Iterator[tuple[int, int]]:
    """Spans that hold tracks of both kinds, widened by within_ns, in order and without overlap."""
    low, high = other_columns.start_ns[other_rows] - within_ns, other_columns.end_ns[other_rows] + within_ns
    times = np.empty((0, 2), np.int64)
    for row in rows.tolist():  # the union so far, not a list of all pairs
        start, end = np.maximum(columns.start_ns[row], low), np.minimum(columns.end_ns[row], high)
        here = np.stack([start - within_ns, end + within_ns], axis=1)[start <= end]
        times = _union(np.concatenate([times, here]))
    yield from ((int(start), int(end)) for start, end in times)


def _union(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spans `(n, 2)`, in order, with those that overlap joined."""
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
    """Times, rows and boxes of the regions of these tracks from start to end, each within its track's span, by
    time."""
    by_ordinal = {int(columns.ordinals[row]): int(row) for row in rows}
    items = [
        (t_ns, row, box)
        for t_ns, row, box in _boxes(store, source, by_ordinal, start, end)
        if columns.start_ns[row] <= t_ns <= columns.end_ns[row]
    ]
    times, numbers = (np.array([item[i] for item in items], np.int64) for i in (0, 1))
    return times, numbers, np.array([box for _, _, box in items], np.float32).reshape(-1, 4)


def _boxes(
    store: Store, source: int, by_ordinal: Mapping[int, int], start: int, end: int
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Time, row and box of every region of the tracks in `by_ordinal` (ordinal: row) from start to end."""
    ordinals = np.array(list(by_ordinal), np.int64)
    for frame in store.regions(source, start, end):
        for i in np.flatnonzero(np.isin(frame.tracks, ordinals)).tolist():
            yield frame.t_ns, by_ordinal[int(frame.tracks[i])], frame.boxes[i]


def _any_close(box: NDArray[np.float32], others: Float32, max_gap: float) -> bool:
    """Return True if the gap from `box` to one of `others` is at most `max_gap` longest sides of the two."""
    if not len(others):
        return False
    dx = np.maximum(0, np.maximum(others[:, 0] - box[2], box[0] - others[:, 2]))
    dy = np.maximum(0, np.maximum(others[:, 1] - box[3], box[1] - others[:, 3]))
    own = max(box[2] - box[0], box[3] - box[1])
    longest = np.maximum(own, np.maximum(others[:, 2] - others[:, 0], others[:, 3] - others[:, 1]))
    return bool((np.hypot(dx, dy) <= max_gap * longest).any())


@dataclass(slots=True)
class _Views:
    """Times and boxes `(4,)` of the regions of one track that passed."""

    times: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)

    def best(self) -> tuple[int, Box]:
        """Time and box of the largest region. Boxes much larger than the median are left out: they hold other things
        too."""
        boxes = np.array(self.boxes, np.float64)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        i = int(np.where(areas <= MUCH_LARGER * np.median(areas), areas, -1).argmax())
        x0, y0, x1, y1 = boxes[i].tolist()
        return self.times[i], (x0, y0, x1, y1)


def _add(views: dict[int, _Views], row: int, t_ns: int, box: NDArray[np.float32]) -> None:
    known = views.setdefault(row, _Views())
    known.times.append(t_ns)
    known.boxes.append(box)


def _cut(columns: Columns, hits: Hits, views: Mapping[int, _Views]) -> Filtered:
    """The hits with the spans of the tracks in `views` cut to the times there."""
    if not views:
        return Filtered(hits, columns)
    start, end = columns.start_ns.copy(), columns.end_ns.copy()
    for row, part in views.items():
        start[row], end[row] = min(part.times), max(part.times)
    cut = replace(columns, start_ns=start, end_ns=end)
    return Filtered(hits, cut, {row: part.best() for row, part in views.items()})
