"""Search: the tracks that answer a question, with and without filters.

A track counts as found when it is more probably meant than not, or, where no probability is fitted, when it passes the
calibrated tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..encoders.base import Calibration
from ..encoders.probability import LOOSE_SHARE, MIN_PROBABILITY
from ..records import Float32
from ..store import Store, VectorCache
from .filters import Filtered, Spans, by_time, merged, near, rows_within
from .probable import curve_of, deciding, probabilities, probable, share
from .question import Phrase, Question
from .reid import seen_again
from .scores import Hits, Mask, Rows, hits_of, nearest, scored

_NEAREST_TRACKS = 12
"""How many tracks near misses are made of."""


def find(
    cache: VectorCache,
    calibration: Calibration,
    text: Float32 | None,
    visual: Float32 | None,
    contrast: Float32 | None = None,
    threshold: float | None = None,
    min_probability: float | None = None,
    allowed: Mask | None = None,
) -> Hits:
    """All tracks that count as found for a text, a picture or both.

    Args:
        cache: The vectors of the memory.
        calibration: Of the encoder.
        text: Unit text vector `(Dt,)`.
        visual: Unit visual token `(Dv,)`. One of the two may be None.
        contrast: Contrast phrases of the text `(c, Dt)`.
        threshold: Minimum score; overrides the calibrated tests and the probability.
        min_probability: Minimum probability; None for `MIN_PROBABILITY`.
        allowed: Which rows may answer; None for all. Other rows have no effect on the result.

    Raises:
        UsageError: `min_probability` is given and no curve was fitted for such questions.
    """
    if text is None and visual is None:
        raise ValueError("a text, a picture or both")
    if threshold is not None:
        return scored(cache, text, visual, threshold, allowed)
    curve = curve_of(calibration, text is not None, visual is not None)
    if curve is not None or min_probability is not None:
        return probable(cache, calibration, text, visual, contrast, min_probability, allowed)
    if text is not None and visual is not None:
        hits = scored(cache, text, visual, calibration.product_threshold, allowed)
        return _passing_contrast(cache, calibration, hits, contrast, calibration.contrast_probability_product)
    if text is not None:
        hits = scored(cache, text, None, calibration.text_threshold, allowed)
        return _passing_contrast(cache, calibration, hits, contrast, calibration.contrast_probability)
    return scored(cache, None, visual, calibration.visual_threshold, allowed)


def find_each(
    cache: VectorCache,
    calibration: Calibration,
    phrases: Sequence[Phrase],
    min_probability: float | None = None,
    allowed: Mask | None = None,
) -> list[Hits]:
    """`find` for each of many phrases; where no probability is fitted, in one pass over the tracks.

    Args:
        cache: The vectors of the memory.
        calibration: Of the encoder.
        phrases: What to find.
        min_probability: As in `find`.
        allowed: As in `find`.
    """
    if curve_of(calibration, True, False) is not None or min_probability is not None:
        return [
            probable(cache, calibration, phrase.text, None, phrase.contrast, min_probability, allowed)
            for phrase in phrases
        ]
    texts = np.array([phrase.text for phrase in phrases], np.float32)
    out = []
    results = cache.range_search_many("text", texts, calibration.text_threshold)
    for phrase, (rows, scores) in zip(phrases, results, strict=True):
        hits = hits_of(rows, scores, None)
        hits = hits if allowed is None else hits.take(allowed[rows])
        out.append(_passing_contrast(cache, calibration, hits, phrase.contrast, calibration.contrast_probability))
    return out


def among(cache: VectorCache, calibration: Calibration, rows: Rows, phrase: Phrase) -> tuple[Hits, Mask]:
    """The tracks in `rows`, and which of them count as found for `phrase`, each judged by itself alone."""
    scores = cache.scores("text", phrase.text, rows)
    hits = hits_of(rows, scores, None)
    # Whether a thing is in a picture does not depend on how well another picture shows one: each is its own best.
    probability = probabilities(cache, calibration, hits, phrase.contrast, hits.score)
    if probability is not None:
        return hits, np.asarray(probability >= np.float32(MIN_PROBABILITY))
    found = scores >= np.float32(calibration.text_threshold)
    if phrase.contrast is not None and calibration.contrast_probability > 0 and found.any():
        shares = share(cache, hits.take(found), phrase.contrast, calibration.temperature)
        found[found] = shares >= calibration.contrast_probability
    return hits, found


def loose(calibration: Calibration) -> Calibration:
    """The tests that a track must pass to be a candidate when probabilities are fitted."""
    return Calibration(
        LOOSE_SHARE * calibration.text_threshold,
        0,
        LOOSE_SHARE * calibration.visual_threshold,
        LOOSE_SHARE * calibration.product_threshold,
        temperature=calibration.temperature,
    )


def _passing_contrast(
    cache: VectorCache, calibration: Calibration, hits: Hits, contrast: Float32 | None, min_share: float
) -> Hits:
    """The hits whose share against the contrast phrases is at least `min_share`."""
    if contrast is None or min_share <= 0 or not len(hits):
        return hits
    return hits.take(share(cache, hits, contrast, calibration.temperature) >= min_share)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What answers a question.

    in_span: what was found in the spans to search. near: those of them that are near the other things as well, the same
    if there are no other things. others: what was found of each of the other things. allowed: the rows that may answer,
    None for all.
    """

    in_span: Filtered
    near: Filtered
    others: tuple[Filtered, ...]
    allowed: Mask | None


def found(store: Store, cache: VectorCache, calibration: Calibration, question: Question) -> Found:
    """What answers the question, with all of its filters."""
    in_span, allowed = found_in_span(store, cache, calibration, question)
    others = tuple(
        found_in_span(store, cache, calibration, Question(other.text, contrast=other.contrast, spans=question.spans))[0]
        for other in question.near
    )
    return Found(in_span, near(store, in_span, others, question.within_ns, question.max_gap), others, allowed)


def found_in_span(
    store: Store, cache: VectorCache, calibration: Calibration, question: Question
) -> tuple[Filtered, Mask | None]:
    """What is found within `question.spans`, and the rows that may answer. `question.near` is ignored."""
    allowed = _allowed_rows(cache, question.spans)
    while True:
        hits = find(
            cache,
            calibration,
            question.text,
            question.visual,
            question.contrast,
            question.threshold,
            question.min_probability,
            allowed,
        )
        result = _filtered(store, cache, hits, question.spans)
        if allowed is None:
            return result, None
        # A track may be out of view at just the time asked for. Others are compared with what was found, and with the
        # best of all: neither may be such a track.
        text = question.text if question.visual is None else None
        best = nearest(cache, text, question.visual, 1, np.flatnonzero(allowed)).rows
        if not _remove_unseen(store, cache, np.union1d(hits.rows, best), question.spans, allowed):
            return result, allowed


def nearest_in_span(store: Store, cache: VectorCache, question: Question, allowed: Mask | None) -> Filtered:
    """The tracks with the highest scores among the rows that may answer, whatever their score."""
    while True:
        rows = None if allowed is None else np.flatnonzero(allowed)
        hits = nearest(cache, question.text, question.visual, _NEAREST_TRACKS, rows)
        if allowed is None or not _remove_unseen(store, cache, hits.rows, question.spans, allowed):
            return _filtered(store, cache, hits, question.spans)


def with_similar(
    store: Store, cache: VectorCache, calibration: Calibration, question: Question, result: Found
) -> Filtered:
    """What was found, and all tracks that look like one of these and pass the same filters."""
    known = result.near
    more = np.setdiff1d(seen_again(cache, known.hits.rows, calibration.same_thing), known.hits.rows)
    text = None if question.text is None else cache.scores("text", question.text, more)
    visual = None if question.visual is None else cache.scores("visual", question.visual, more)
    hits = hits_of(more, text, visual)
    if known.hits.probability is not None:
        best = deciding(known.hits).max(initial=0)
        hits = replace(hits, probability=probabilities(cache, calibration, hits, question.contrast, best))
    in_span = _filtered(store, cache, hits, question.spans)
    return merged(known, near(store, in_span, result.others, question.within_ns, question.max_gap))


def _allowed_rows(cache: VectorCache, spans: Spans | None) -> Mask | None:
    """Which rows may answer by their first and last times; None for all."""
    if spans is None:
        return None
    allowed = np.zeros(len(cache), np.bool_)
    allowed[rows_within(cache.columns, spans)] = True
    return allowed


def _filtered(store: Store, cache: VectorCache, hits: Hits, spans: Spans | None) -> Filtered:
    """The hits that were in view within `spans`."""
    return Filtered(hits, cache.columns) if spans is None else by_time(store, cache.columns, hits, spans)


def _remove_unseen(store: Store, cache: VectorCache, rows: Rows, spans: Spans | None, allowed: Mask) -> bool:
    """Remove from `allowed` those of the rows that were not in view within `spans`; return True if there were any."""
    assert spans is not None
    in_view = by_time(store, cache.columns, Hits(rows, np.zeros(len(rows), np.float32)), spans).hits.rows
    allowed[np.setdiff1d(rows, in_view)] = False
    return len(in_view) < len(rows)


@dataclass(frozen=True, slots=True)
class Named:
    """The label of a track. label: its index in the list. score: the cosine. probability: that the label is meant, None
    if no probability is fitted."""

    label: int
    score: float
    probability: float | None


def name_tracks(
    cache: VectorCache, calibration: Calibration, source_id: int, phrases: Sequence[Phrase]
) -> dict[int, Named]:
    """The label of each track of a source, by track id; tracks that no label is found for are left out.

    A label is found for the tracks that `find_each` finds in that source alone. Of several labels the most probable one
    counts, or, where no probability is fitted, the one with the highest score; of equals the first.
    """
    best = np.full(len(cache), -np.inf, np.float32)
    out: dict[int, Named] = {}
    ids = cache.columns.ids
    allowed = cache.columns.source_ids == source_id
    for label, hits in enumerate(find_each(cache, calibration, phrases, None, allowed)):
        for i in np.flatnonzero(hits.ranking > best[hits.rows]).tolist():
            row = int(hits.rows[i])
            best[row] = hits.ranking[i]
            probability = None if hits.probability is None else float(hits.probability[i])
            out[int(ids[row])] = Named(label, float(hits.score[i]), probability)
    return out
