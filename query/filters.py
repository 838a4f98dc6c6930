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
from ..store import Columns, SourceRow, Spans, Store, Vectors
from ..store.within import Mask, bounds, meeting
from ..timecode import NS, Moment
from .scores import Hits, joined

WITHIN_NS = 2 * NS
"""Two things are near in time when they are in view at most this far apart: a head turns from one to the other."""
MAX_GAP = 1.0
"""Two things are near in place when the gap between their boxes is at most this many times the longest side of the
two."""
MUCH_LARGER = 1.5
"""A box with more than this many times the median area of its track is not used as evidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """Hits that passed the filters.

    columns: those of the hits, in their order, with cut spans. evidence: time and box by row, for hits whose best view
    lies outside of their cut span.
    """

    hits: Hits
    columns: Columns
    evidence: dict[int, tuple[int, Box]] = field(default_factory=dict)

    @classmethod
    def whole(cls, cache: Vectors, hits: Hits) -> Filtered:
        """The hits with all of their time."""
        return cls(hits, cache.columns_of(hits.rows))


def merged(a: Filtered, b: Filtered) -> Filtered:
    """The hits of both, each with its own times and evidence. No row may be in both."""
    return Filtered(joined(a.hits, b.hits), a.columns.joined(b.columns), a.evidence | b.evidence)


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
    rows = [row for name in sources for row in store.sources_named(name)] if sources else store.sources()
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
    # What may lie within, as far as the clock of the source is known, is searched.
    error = store.clock_error(row.id)
    low -= error if after is not None and after.wall else 0
    high += error if before is not None and before.wall else 0
    return low, high - (before is not None)


def _pictures_between(
    store: Store, row: SourceRow, after: Moment | None, before: Moment | None
) -> NDArray[np.int64] | None:
    """The sorted times, on their source's clock, of the single pictures that were taken within; None when no picture
    has a date."""
    dates = store.pictures_recorded(row.id)
    if all(ns is None for ns, _ in dates.values()):
        return None
    error = store.clock_error(row.id)
    low = -math.inf if after is None else after.ns - error
    high = math.inf if before is None else before.ns + error
    return np.array(sorted(t for t, (ns, _) in dates.items() if ns is not None and low <= ns < high), np.int64)


def _stale(store: Store) -> list[str]:
    """A note on sources that still have the tokens of an earlier encoder, if there are any."""
    names = [Path(uri).name for uri in store.stale_sources()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"left out, since they wait for `vidmem reembed`: {', '.join(names[:3])}{more}"] if names else []


def by_time(store: Store, cache: Vectors, hits: Hits, spans: Spans) -> Filtered:
    """The hits that were in view within `spans`."""
    columns = cache.columns_of(hits.rows)
    low, high = bounds(columns.source_ids, spans)
    meets = meeting(columns, spans)
    inside = meets & (columns.start_ns >= low) & (columns.end_ns <= high)
    crossing = np.flatnonzero(meets & ~inside)
    views: dict[int, _Views] = {}
    for source in np.unique(columns.source_ids[crossing]).tolist():
        here = crossing[columns.source_ids[crossing] == source]
        by_ordinal = {int(columns.ordinals[i]): i for i in here.tolist()}
        for t_ns, i, box in _boxes(store, source, by_ordinal, int(spans[source][0]), int(spans[source][-1])):
            _add(views, i, t_ns, box)
    inside[list(views)] = True  # a track may be out of view at just that time
    return _cut(columns, hits, inside, views)


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
    views: dict[int, _Views] = {}
    for source in np.intersect1d(found.columns.source_ids, other.columns.source_ids).tolist():
        own = np.flatnonzero(found.columns.source_ids == source)
        others = np.flatnonzero(other.columns.source_ids == source)
        own_columns, other_columns = found.columns.take(own), other.columns.take(others)
        for start, end in _shared_times(own_columns, other_columns, within_ns):
            times, places, boxes = _arrays(store, source, other_columns, start, end)
            rows = other.hits.rows[others[places]]
            for t_ns, i, box in zip(*_arrays(store, source, own_columns, start, end), strict=True):
                low, high = np.searchsorted(times, [t_ns - within_ns, t_ns + within_ns + 1])
                different = rows[low:high] != found.hits.rows[own[i]]  # a thing is not near itself
                if _any_close(box, boxes[low:high][different], max_gap):
                    _add(views, int(own[i]), int(t_ns), box)
    keep = np.zeros(len(found.hits), np.bool_)
    keep[list(views)] = True
    return _cut(found.columns, found.hits, keep, views)


def _shared_times(columns: Columns, other: Columns, within_ns: int) -> Iterator[tuple[int, int]]:
    """Spans that hold tracks of both kinds, widened by within_ns, in order and without overlap."""
    low, high = other.start_ns - within_ns, other.end_ns + within_ns
    times = np.empty((0, 2), np.int64)
    for first, last in zip(columns.start_ns.tolist(), columns.end_ns.tolist(), strict=True):
        start, end = np.maximum(first, low), np.minimum(last, high)  # the union so far, not a list of all pairs
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
    store: Store, source: int, columns: Columns, start: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]:
    """Times, positions and boxes of the regions of these tracks from start to end, each within its track's span, by
    time."""
    by_ordinal = {ordinal: i for i, ordinal in enumerate(columns.ordinals.tolist())}
    items = [
        (t_ns, i, box)
        for t_ns, i, box in _boxes(store, source, by_ordinal, start, end)
        if columns.start_ns[i] <= t_ns <= columns.end_ns[i]
    ]
    times, numbers = (np.array([item[i] for item in items], np.int64) for i in (0, 1))
    return times, numbers, np.array([box for _, _, box in items], np.float32).reshape(-1, 4)


def _boxes(
    store: Store, source: int, by_ordinal: Mapping[int, int], start: int, end: int
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Time, position and box of every region of the tracks in `by_ordinal` (ordinal: position) from start to end."""
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


def _add(views: dict[int, _Views], position: int, t_ns: int, box: NDArray[np.float32]) -> None:
    known = views.setdefault(position, _Views())
    known.times.append(t_ns)
    known.boxes.append(box)


def _cut(columns: Columns, hits: Hits, keep: Mask, views: Mapping[int, _Views]) -> Filtered:
    """The hits to keep, with the spans of those in `views` (by position) cut to the times there."""
    start, end = columns.start_ns.copy(), columns.end_ns.copy()
    for i, part in views.items():
        start[i], end[i] = min(part.times), max(part.times)
    cut = replace(columns, start_ns=start, end_ns=end)
    return Filtered(hits.take(keep), cut.take(keep), {int(hits.rows[i]): part.best() for i, part in views.items()})
