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
from ..store import Store, Vectors, Within
from ..store.vectors import Rows
from ..store.within import ALWAYS, Mask
from .filters import Filtered, by_time, merged, near
from .probable import curve_of, deciding, probabilities, probable, share
from .question import Phrase, Question
from .reid import seen_again
from .scores import Hits, hits_of, nearest, scored

_NEAREST_TRACKS = 12
"""How many tracks near misses are made of."""


def find(
    cache: Vectors,
    calibration: Calibration,
    text: Float32 | None,
    visual: Float32 | None,
    contrast: Float32 | None = None,
    threshold: float | None = None,
    min_probability: float | None = None,
    allowed: Within | None = None,
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
        allowed: Which tracks may answer; None for all. Other tracks have no effect on the result.

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
    cache: Vectors,
    calibration: Calibration,
    phrases: Sequence[Phrase],
    min_probability: float | None = None,
    allowed: Within | None = None,
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
    results = cache.range_search_many("text", texts, calibration.text_threshold, allowed)
    for phrase, (rows, scores) in zip(phrases, results, strict=True):
        hits = hits_of(rows, scores, None)
        out.append(_passing_contrast(cache, calibration, hits, phrase.contrast, calibration.contrast_probability))
    return out


def among(cache: Vectors, calibration: Calibration, rows: Rows, phrase: Phrase) -> tuple[Hits, Mask]:
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
    cache: Vectors, calibration: Calibration, hits: Hits, contrast: Float32 | None, min_share: float
) -> Hits:
    """The hits whose share against the contrast phrases is at least `min_share`."""
    if contrast is None or min_share <= 0 or not len(hits):
        return hits
    return hits.take(share(cache, hits, contrast, calibration.temperature) >= min_share)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What answers a question.

    in_span: what was found in the spans to search. near: those of them that are near the other things as well, the same
    if there are no other things. others: what was found of each of the other things. allowed: the tracks that may
    answer, None for all.
    """

    in_span: Filtered
    near: Filtered
    others: tuple[Filtered, ...]
    allowed: Within | None


def found(store: Store, cache: Vectors, calibration: Calibration, question: Question) -> Found:
    """What answers the question, with all of its filters."""
    in_span, allowed = found_in_span(store, cache, calibration, question)
    others = tuple(
        found_in_span(store, cache, calibration, Question(other.text, contrast=other.contrast, spans=question.spans))[0]
        for other in question.near
    )
    return Found(in_span, near(store, in_span, others, question.within_ns, question.max_gap), others, allowed)


def found_in_span(
    store: Store, cache: Vectors, calibration: Calibration, question: Question
) -> tuple[Filtered, Within | None]:
    """What is found within `question.spans`, and the tracks that may answer. `question.near` is ignored."""
    allowed = None if question.spans is None else Within(question.spans)
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
        result = _filtered(store, cache, hits, allowed)
        if allowed is None:
            return result, None
        # A track may be out of view at just the time asked for. Others are compared with what was found, and with the
        # best of all: neither may be such a track.
        text = question.text if question.visual is None else None
        best = nearest(cache, text, question.visual, 1, allowed).rows
        fewer = _without_unseen(store, cache, np.union1d(hits.rows, best), allowed)
        if fewer is allowed:
            return result, allowed
        allowed = fewer


def nearest_in_span(store: Store, cache: Vectors, question: Question, allowed: Within | None) -> Filtered:
    """The tracks with the highest scores among those that may answer, whatever their score."""
    while True:
        hits = nearest(cache, question.text, question.visual, _NEAREST_TRACKS, allowed)
        fewer = allowed if allowed is None else _without_unseen(store, cache, hits.rows, allowed)
        if fewer is allowed:
            return _filtered(store, cache, hits, allowed)
        allowed = fewer


def with_similar(store: Store, cache: Vectors, calibration: Calibration, question: Question, result: Found) -> Filtered:
    """What was found, and all tracks that look like one of these and pass the same filters."""
    known = result.near
    more = np.setdiff1d(seen_again(cache, known.hits.rows, calibration.same_thing), known.hits.rows)
    text = None if question.text is None else cache.scores("text", question.text, more)
    visual = None if question.visual is None else cache.scores("visual", question.visual, more)
    hits = hits_of(more, text, visual)
    if known.hits.probability is not None:
        best = deciding(known.hits).max(initial=0)
        hits = replace(hits, probability=probabilities(cache, calibration, hits, question.contrast, best))
    in_span = _filtered(store, cache, hits, result.allowed)
    return merged(known, near(store, in_span, result.others, question.within_ns, question.max_gap))


def _filtered(store: Store, cache: Vectors, hits: Hits, allowed: Within | None) -> Filtered:
    """The hits that were in view within the spans of `allowed`."""
    if allowed is None or allowed.spans is None:
        return Filtered.whole(cache, hits)
    return by_time(store, cache, hits, allowed.spans)


def _without_unseen(store: Store, cache: Vectors, rows: Rows, allowed: Within) -> Within:
    """`allowed` without those of the rows that were not in view within its spans; itself if there are none."""
    in_view = _filtered(store, cache, Hits(rows, np.zeros(len(rows), np.float32)), allowed).hits.rows
    return allowed if len(in_view) == len(rows) else allowed.excluding(np.setdiff1d(rows, in_view))


@dataclass(frozen=True, slots=True)
class Named:
    """The label of a track. label: its index in the list. score: the cosine. probability: that the label is meant, None
    if no probability is fitted."""

    label: int
    score: float
    probability: float | None


def name_tracks(
    cache: Vectors, calibration: Calibration, source_id: int, phrases: Sequence[Phrase]
) -> dict[int, Named]:
    """The label of each track of a source, by track id; tracks that no label is found for are left out.

    A label is found for the tracks that `find_each` finds in that source alone. Of several labels the most probable one
    counts, or, where no probability is fitted, the one with the highest score; of equals the first.
    """
    best: dict[int, tuple[float, Named]] = {}
    allowed = Within({source_id: ALWAYS})
    for label, hits in enumerate(find_each(cache, calibration, phrases, None, allowed)):
        for i, (row, ranking) in enumerate(zip(hits.rows.tolist(), hits.ranking.tolist(), strict=True)):
            if row not in best or ranking > best[row][0]:
                probability = None if hits.probability is None else float(hits.probability[i])
                best[row] = ranking, Named(label, float(hits.score[i]), probability)
    ids = cache.columns_of(np.array(list(best), np.int64)).ids.tolist()
    return {track: named for track, (_, named) in zip(ids, best.values(), strict=True)}
