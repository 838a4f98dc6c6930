"""Ask the standing questions of one source: which sightings are new since the last time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..query.filters import Filtered
from ..query.places import found_twice
from ..query.probable import WEAK, curve_of, probabilities
from ..query.query import Query
from ..query.question import Question
from ..query.reid import things
from ..query.scores import Hits, hits_of
from ..query.search import find
from ..query.sightings import sightings_of
from ..query.view import View
from ..records import Sighting
from ..store import Columns
from ..store.vectors import Rows
from .questions import Prepared
from .visits import visits

Positions = np.ndarray[tuple[int], np.dtype[np.intp]]
MOST_PAIRS = 20_000
"""The most pairs of tracks in view together whose places are compared at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A visit with tracks that were not told of before.

    asked: the question. tracks: their ids. sighting: what to tell; None if the visit was told of already. ordinals:
    the numbers of the tracks in their source. start_ns: the zero of the source's clock.
    """

    asked: Prepared
    tracks: tuple[int, ...]
    sighting: Sighting | None = None
    ordinals: tuple[int, ...] = ()
    start_ns: int | None = None


def ask(
    query: Query, asked: Sequence[Prepared], source_id: int, away_ns: int, since_ns: int
) -> tuple[list[Visit], int]:
    """The visits to a source that are not told of, or have new tracks, and until when all visits are known now, in ns.

    A track counts as `where` finds it in the whole memory.

    Args:
        query: Of the memory.
        asked: The questions.
        source_id: The source.
        away_ns: How long a thing must be away before it is told of again.
        since_ns: Until when all visits were known. Tracks that ended `away_ns` before that are not looked at again.

    Raises:
        StoreError: the memory is damaged or closed.
        ModelError: the encoder is not there any more.
    """
    with query.view() as now:
        own = now.cache.rows_of_source(source_id)
        if not len(own):
            return [], since_ns
        end_ns = now.cache.columns_of(own).end_ns
        newest = int(end_ns.max())
        recent = own[end_ns >= min(since_ns, newest) - away_ns]
        found = [visit for one in asked for visit in _visits(now, one, own, recent, away_ns)]
        return sorted(found, key=lambda visit: visit.sighting.start_ns if visit.sighting else 0), newest


def _visits(now: View, asked: Prepared, own: Rows, recent: Rows, away_ns: int) -> list[Visit]:
    store, cache = now.store, now.cache
    ids = cache.columns_of(recent).ids
    untold = _without(recent, ids, store.told(asked.key, ids.tolist()))
    untold = untold[_possible(now, asked.question, untold)]
    if not len(untold):
        return []  # most of the time: nothing new that can be meant, so no search
    question = asked.question
    hits = find(
        cache,
        now.calibration,
        question.text,
        question.visual,
        question.contrast,
        min_probability=question.min_probability,
    )
    new = hits.take(np.isin(hits.rows, untold))
    if not len(new):
        return []
    # What was told of long before may have been in view shortly before a track that is probable only now.
    before = own[cache.columns_of(own).end_ns >= cache.columns_of(new.rows).start_ns.min() - away_ns]
    ids = cache.columns_of(before).ids
    old = before[np.isin(ids, list(store.told(asked.key, ids.tolist())))]
    rows = np.concatenate([new.rows, old])
    columns = cache.columns_of(rows)
    is_new = np.arange(len(rows)) < len(new)
    groups: list[Positions] = []
    out = []
    for thing in _one_place(now, columns, is_new, things(store, cache, rows, now.calibration.same_thing, columns)):
        spans = list(zip(columns.start_ns[thing].tolist(), columns.end_ns[thing].tolist(), strict=True))
        for positions in visits(spans, away_ns):
            members = thing[positions]
            fresh = members[is_new[members]]
            if not len(fresh):
                continue
            if len(fresh) == len(members):
                groups.append(fresh)
            else:
                out.append(Visit(asked, _ids(columns.ids[fresh])))
    return [*out, *_told(now, asked, new, groups)]


def _one_place(
    now: View, columns: Columns, is_new: np.ndarray[tuple[int], np.dtype[np.bool_]], found: Sequence[Positions]
) -> list[Positions]:
    """The things with those joined that have tracks in one place at one time.

    A detector often finds a thing in two boxes, and one box passes from track to track. What looks alike decides
    which sighting a track belongs to; but to tell of the second box would be to tell of the thing twice.
    """
    start, end = columns.start_ns, columns.end_ns
    a, b = np.triu_indices(len(columns), 1)
    meet = (is_new[a] | is_new[b]) & (np.maximum(start[a], start[b]) <= np.minimum(end[a], end[b]))
    a, b = a[meet][:MOST_PAIRS], b[meet][:MOST_PAIRS]
    number = np.empty(len(columns), np.intp)
    for i, thing in enumerate(found):
        number[thing] = i
    if len(a):
        twice = found_twice(now.store, columns, (a, b))
        for i, j in zip(a[twice].tolist(), b[twice].tolist(), strict=True):
            number[number == number[j]] = number[i]
    return [np.flatnonzero(number == i) for i in np.unique(number).tolist()]


def _told(now: View, asked: Prepared, new: Hits, groups: Sequence[Positions]) -> list[Visit]:
    """The visits that are told, one for each group of positions in the new hits."""
    sources = {row.id: row for row in now.store.sources()}
    found = Filtered.whole(now.cache, new)
    out = []
    for group in groups:
        for sighting in sightings_of(
            now.store, sources, now.cache, found, [group], now.calibration, asked.question.contrast
        ):
            own = found.columns.take(group)
            start_ns = sources[int(own.source_ids[0])].start_ns
            out.append(Visit(asked, _ids(own.ids), sighting, tuple(own.ordinals.tolist()), start_ns))
    return out


def _possible(now: View, question: Question, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows can be found for the question: an upper bound, without a search.

    A better candidate elsewhere makes these less probable, and one that looks like a probable one needs a share of the
    floor by itself.
    """
    curve = curve_of(now.calibration, question.text is not None, question.visual is not None)
    if curve is None or question.min_probability is None or not len(rows):
        return np.ones(len(rows), np.bool_)
    text = None if question.text is None else now.cache.scores("text", question.text, rows)
    visual = None if question.visual is None else now.cache.scores("visual", question.visual, rows)
    alone = probabilities(now.cache, now.calibration, hits_of(rows, text, visual), question.contrast)
    assert alone is not None
    return np.asarray(alone >= np.float32(WEAK * question.min_probability) - np.float32(1e-4))


def _without(rows: Rows, ids: np.ndarray[tuple[int], np.dtype[np.int64]], known: set[int]) -> Rows:
    return rows[~np.isin(ids, list(known))] if known else rows


def _ids(ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, ...]:
    return tuple(sorted(ids.tolist()))
