"""From matching tracks to sightings: contiguous times in which the thing was in view, newest first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..store import Columns
from ..timecode import NS
from .scores import Hits

GAP_NS = 2 * NS
"""Tracks of one source that leave less than this between them are one sighting: things are half hidden, or a hand
passes, for a second or two without having left."""


def group(
    columns: Columns,
    hits: Hits,
    order: NDArray[np.int64],
    gap_ns: int = GAP_NS,
    *,
    zero_ns: NDArray[np.int64] | None = None,
) -> list[NDArray[np.intp]]:
    """Positions in `hits` of the members of each sighting, newest sighting first.

    order: `(n,)` int64, a key of each hit's source that sorts sources by time (older first); spans are compared
    within a source only. zero_ns: `(n,)` int64, where each hit's source has its zero on one clock, if all have: then
    that clock says what is newest, and sources that ran side by side, as a robot's cameras do, take turns. No Python
    loop over hits: a sighting ends where the next start lies beyond the furthest end so far plus the gap.
    """
    if not len(hits):
        return []
    rows = hits.rows
    start, end, source = columns.start_ns[rows], columns.end_ns[rows], columns.source_ids[rows]
    by_time = np.lexsort((start, source, order))
    start, end, source = start[by_time], end[by_time], source[by_time]
    change = np.empty(len(start), bool)
    change[0] = True
    new_source = source[1:] != source[:-1]
    # The furthest end so far, per source: count each source's times from its first one, above all of the one before.
    block = np.concatenate([[0], np.cumsum(new_source)])
    first = start[np.concatenate([[0], np.flatnonzero(new_source) + 1])][block]
    span = int((end - first).max()) + gap_ns + 1
    lifted_start, lifted_end = start - first + block * span, end - first + block * span
    furthest = np.maximum.accumulate(lifted_end)
    change[1:] = lifted_start[1:] > furthest[:-1] + gap_ns
    change[1:] |= new_source
    parts = np.split(by_time, np.flatnonzero(change)[1:])
    # Newest first: by source, then by when it was last in view.
    ends = np.maximum.reduceat(end, np.flatnonzero(change))
    keys = order[by_time][np.flatnonzero(change)]
    if zero_ns is not None:
        newest = np.lexsort((keys, ends + zero_ns[by_time][np.flatnonzero(change)]))[::-1]
    else:
        newest = np.lexsort((ends, keys))[::-1]
    return [parts[i] for i in newest]
