"""Questions to answers: a `Question` in; sightings out, newest first, or an honest "not found"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..encoders.base import Calibration
from ..errors import UsageError
from ..records import Float32
from ..store import SourceRow, Store, Vectors
from .answers import Answer, Thing
from .chronology import doubt, in_time, unsure_order
from .filters import Filtered
from .instances import Instances, Members
from .question import Phrase, Question
from .reid import things
from .search import Found, find_each, found, found_in_span, nearest_in_span, with_similar
from .sightings import sightings_of

NEAR_MISSES = 3
"""How many near misses an answer of "not found" has."""
MUCH_LIKELIER = 0.2
"""An older sighting is given beside the newest when its probability is higher by at least this much."""


def where(
    store: Store,
    cache: Vectors,
    calibration: Calibration,
    question: Question,
    *,
    top: int | None = 1,
) -> Answer:
    """The `top` newest sightings of what is asked for, or near misses.

    Args:
        store: The memory.
        cache: Its vectors.
        calibration: Of the encoder.
        question: What to look for, and where.
        top: How many sightings; None for all.
    """
    result = found(store, cache, calibration, question)
    sources = {row.id: row for row in store.sources()}
    answer = _answer(store, sources, cache, calibration, result.near, question.contrast, top)
    if not answer.total:
        answer, looked_at = _near_misses(store, sources, cache, calibration, question, result)
        nothing_searched = result.allowed is not None and not looked_at
        note = "nothing was looked at in the times and places asked for" if nothing_searched else None
    else:
        note = doubt(store, sources, [result.near.columns])
        unsure = unsure_order(store, result.near.columns, in_time(store, sources, result.near.columns)[1])
        return replace(answer, notes=tuple(one for one in (note, unsure) if one))
    return replace(answer, notes=(note,)) if note else answer


def each(
    store: Store, cache: Vectors, calibration: Calibration, questions: Sequence[Question], *, top: int | None = 1
) -> list[Answer]:
    """`where` for each of many questions in words, without `near` and near misses.

    Questions without spans and with one `min_probability` are searched in one pass over the tracks, unless
    probabilities are fitted.
    """
    sources = {row.id: row for row in store.sources()}
    results = _found_each(store, cache, calibration, questions)
    note = doubt(store, sources, [result.columns for result in results])
    out = []
    for question, result in zip(questions, results, strict=True):
        answer = _answer(store, sources, cache, calibration, result, question.contrast, top)
        out.append(replace(answer, notes=(note,)) if note and answer else answer)
    return out


def _found_each(
    store: Store, cache: Vectors, calibration: Calibration, questions: Sequence[Question]
) -> list[Filtered]:
    phrases = [
        Phrase(question.text, question.contrast)
        for question in questions
        if question.text is not None and question.spans is None
    ]
    limits = {question.min_probability for question in questions}
    if len(phrases) < len(questions) or len(limits) != 1:
        return [found_in_span(store, cache, calibration, question)[0] for question in questions]
    (min_probability,) = limits
    return [Filtered.whole(cache, hits) for hits in find_each(cache, calibration, phrases, min_probability)]


def timeline(
    store: Store,
    cache: Vectors,
    calibration: Calibration,
    question: Question,
    *,
    similar: bool = False,
    most: int | None = None,
) -> list[Thing]:
    """All sightings, thing by thing (see reid.py), the thing seen last first.

    Args:
        store: The memory.
        cache: Its vectors.
        calibration: Of the encoder.
        question: What to look for, and where.
        similar: Add the tracks that look like one that was found, though the question did not find them.
        most: The most tracks that may be found; None for any number.

    Raises:
        UsageError: more tracks than `most` are found.
    """
    sources, min_cosine = {row.id: row for row in store.sources()}, calibration.same_thing
    result = found(store, cache, calibration, question)
    hits = result.near
    if most is not None and len(hits.hits) > most:
        raise UsageError(
            f"{len(hits.hits):,} tracks match, and one answer has up to {most:,}; ask for a shorter time, or give "
            "`sources` or a higher `min_probability`"
        )
    if similar and len(hits.hits):
        hits = with_similar(store, cache, calibration, question, result)
    order, zeros = in_time(store, sources, hits.columns)
    instances = Instances(store, cache, hits, order, zeros, min_cosine)
    out = []
    for members in things(store, cache, hits.hits.rows, min_cosine, hits.columns):
        groups = instances.of(members)
        sightings = tuple(sightings_of(store, sources, cache, hits, groups, calibration, question.contrast))
        if sightings:
            tracks = tuple(sorted(track for s in sightings for track in s.tracks))
            out.append((instances.newness(groups[0]), Thing(sightings, tracks)))
    return [thing for _, thing in sorted(out, key=lambda pair: pair[0], reverse=True)]


def _answer(
    store: Store,
    sources: dict[int, SourceRow],
    cache: Vectors,
    calibration: Calibration,
    result: Filtered,
    contrast: Float32 | None,
    top: int | None,
) -> Answer:
    """The newest sightings among what was found, and a likelier older one."""
    order, zeros = in_time(store, sources, result.columns)
    instances = Instances(store, cache, result, order, zeros, calibration.same_thing)
    newest, total = instances.newest(top)
    if not newest:
        return Answer((), total=total)
    likelier = _likelier(instances, result, newest[0])
    groups = newest if likelier is None else [*newest, likelier]
    sightings = sightings_of(store, sources, cache, result, groups, calibration, contrast)
    if likelier is None or len(sightings) < len(groups):  # or a source was removed meanwhile
        return Answer(tuple(sightings[: len(newest)]), total=total)
    return Answer(tuple(sightings[:-1]), total=total, likelier=sightings[-1])


def _likelier(instances: Instances, result: Filtered, newest: Members) -> Members | None:
    """The most probable sighting, if it is older than the newest and more probable by MUCH_LIKELIER."""
    probability = result.hits.probability
    if probability is None or probability.max() < probability[newest].max() + MUCH_LIKELIER:
        return None
    other = instances.holding(int(probability.argmax()))
    return other if instances.older(other, newest) else None


def _near_misses(
    store: Store,
    sources: dict[int, SourceRow],
    cache: Vectors,
    calibration: Calibration,
    question: Question,
    result: Found,
) -> tuple[Answer, bool]:
    """An answer of "not found": what was found but is not near the other things, or else the tracks with the highest
    scores among those that may answer; and False if there are none."""
    misses = result.in_span
    if not len(misses.hits):
        misses = nearest_in_span(store, cache, question, result.allowed)
    order, zeros = in_time(store, sources, misses.columns)
    groups, _ = Instances(store, cache, misses, order, zeros, calibration.same_thing).newest(None)
    groups.sort(key=lambda members: -float(misses.hits.score[members].max()))
    best = groups[:NEAR_MISSES]
    shown = sightings_of(store, sources, cache, misses, best, calibration, question.contrast)
    return Answer((), tuple(shown)), len(misses.hits) > 0
