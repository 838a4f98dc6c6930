"""What answers a question: the tracks that are probably meant, within the times that may answer, near other things."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..records import Float32
from ..store import Store, VectorCache
from .filters import APART, WITHIN_NS, Narrowed, Spans, by_time, may_answer, merged, near
from .probable import deciding, probabilities
from .reid import seen_again
from .scores import Hits, Rows, hits_of, nearest
from .search import find

_NEAREST_TRACKS = 12
"""Tracks that near misses are made of."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is looked for: vectors as in `search.find`, and conditions as in narrow.py. near: one or more other things,
    each a text vector with its contrast phrases. least: least probability."""

    text: Float32 | None = None
    visual: Float32 | None = None
    contrast: Float32 | None = None
    threshold: float | None = None
    spans: Spans | None = None
    near: tuple[tuple[Float32, Float32 | None], ...] = ()
    within_ns: int = WITHIN_NS
    apart: float = APART
    least: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """alone: what was found in the times that may answer; near: what of that is near the other things as well, the same
    where there are none. others: what was found of each of these. may: rows that may answer `(n,)`, None for all."""

    alone: Narrowed
    near: Narrowed
    others: tuple[Narrowed, ...]
    may: NDArray[np.bool_] | None


def found(store: Store, cache: VectorCache, calibration: Calibration, asked: Question) -> Found:
    """What answers the question."""
    alone, may = in_its_times(store, cache, calibration, asked)
    others = tuple(
        in_its_times(store, cache, calibration, Question(vector, contrast=contrast, spans=asked.spans))[0]
        for vector, contrast in asked.near
    )
    return Found(alone, near(store, alone, others, asked.within_ns, asked.apart), others, may)


def in_its_times(
    store: Store, cache: VectorCache, calibration: Calibration, asked: Question
) -> tuple[Narrowed, NDArray[np.bool_] | None]:
    """What is found within `asked.spans`, and the rows that may answer; of `near` nothing is asked."""
    may = may_rows(cache, asked.spans)
    while True:
        hits = find(cache, calibration, asked.text, asked.visual, asked.contrast, asked.threshold, asked.least, may)
        held = narrowed(store, cache, hits, asked.spans)
        if may is None:
            return held, None
        # A track may be out of view at just the time asked for. Others are held against what was found, and against
        # the best of all: neither may be such a track.
        text = asked.text if asked.visual is None else None
        rows = np.union1d(hits.rows, nearest(cache, text, asked.visual, 1, np.flatnonzero(may)).rows)
        if not _leave_out(store, cache, rows, asked.spans, may):
            return held, may


def closest(store: Store, cache: VectorCache, asked: Question, may: NDArray[np.bool_] | None) -> Narrowed:
    """The tracks nearest to the question, whatever their score, of those that may answer."""
    while True:
        rows = None if may is None else np.flatnonzero(may)
        hits = nearest(cache, asked.text, asked.visual, _NEAREST_TRACKS, rows)
        if may is None or not _leave_out(store, cache, hits.rows, asked.spans, may):
            return narrowed(store, cache, hits, asked.spans)


def with_alike(store: Store, cache: VectorCache, calibration: Calibration, asked: Question, was: Found) -> Narrowed:
    """What was found, and all that looks like one of these tracks and meets the same conditions."""
    held = was.near
    more = np.setdiff1d(seen_again(cache, held.hits.rows, calibration.same_thing), held.hits.rows)
    text = None if asked.text is None else cache.scores("text", asked.text, more)
    visual = None if asked.visual is None else cache.scores("visual", asked.visual, more)
    hits = hits_of(more, text, visual)
    if held.hits.likely is not None:
        best = deciding(held.hits).max(initial=0)
        hits = replace(hits, likely=probabilities(cache, calibration, hits, asked.contrast, best))
    there = narrowed(store, cache, hits, asked.spans)
    return merged(held, near(store, there, was.others, asked.within_ns, asked.apart))


def may_rows(cache: VectorCache, spans: Spans | None) -> NDArray[np.bool_] | None:
    """Which rows may answer, as far as their first and last times say; None for all."""
    if spans is None:
        return None
    may = np.zeros(len(cache), np.bool_)
    may[may_answer(cache.columns, spans)] = True
    return may


def narrowed(store: Store, cache: VectorCache, hits: Hits, spans: Spans | None) -> Narrowed:
    """The hits that were seen within `spans`."""
    return Narrowed(hits, cache.columns) if spans is None else by_time(store, cache.columns, hits, spans)


def _leave_out(store: Store, cache: VectorCache, rows: Rows, spans: Spans | None, may: NDArray[np.bool_]) -> bool:
    """Take out of `may` those of the rows that were not seen within `spans`; whether there were any."""
    assert spans is not None
    there = by_time(store, cache.columns, Hits(rows, np.zeros(len(rows), np.float32)), spans).hits.rows
    may[np.setdiff1d(rows, there)] = False
    return len(there) < len(rows)
