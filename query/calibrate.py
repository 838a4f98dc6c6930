"""Fitting probabilities to questions with known answers: the file of questions, and the candidates of a memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..encoders.base import Calibration
from ..encoders.probability import MAX_CANDIDATES, Curve, Samples, check_fit, fit
from ..errors import UsageError
from ..store import Store, Vectors
from ..text_files import csv_cells, read_text
from ..timecode import NS, parse_time
from .probable import share
from .question import Phrase
from .search import find, loose

SLACK_NS = NS // 2
"""Evidence this far outside of a span counts as inside: people note times to the second."""
ABSENT = "absent"
EVERYWHERE = "*"
FORM = "name,source,from-to, or name,source,absent"


@dataclass(frozen=True, slots=True)
class Known:
    """A question with its answer. source: path or file name, EVERYWHERE for all. spans: all times (ns, inclusive) at
    which the thing is in view there; empty when it is absent."""

    name: str
    source: str
    spans: tuple[tuple[int, int], ...]


def load_known(path: str) -> list[Known]:
    """Read the questions of a text file.

    Each line is one time that a thing is in view: name, source, from-to, separated by commas or tabs; or `absent` in
    place of the times. Lines that begin with "#" are ignored, and so is a header.

    Raises:
        MediaError: the file cannot be read.
        UsageError: a line has another form, lines contradict each other, or there is no question.
    """
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    absent: set[tuple[str, str]] = set()
    for number, line in enumerate(read_text(path, "the questions cannot").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = csv_cells(line, f"line {number} of {path}")
        if number == 1 and cells[:2] == ["name", "source"]:
            continue
        if len(cells) != 3 or not all(cells):
            raise UsageError(f"line {number} is not {FORM}: {path}")
        key = (cells[0], cells[1])
        held = spans.setdefault(key, [])
        if cells[2].lower() == ABSENT:
            absent.add(key)
            continue
        if cells[1] == EVERYWHERE:
            raise UsageError(f"line {number} names no source for its times; use * for absent things alone: {path}")
        held.append(_span(cells[2], number, path))
    for key in absent:
        if spans[key]:
            raise UsageError(f"{key[0]!r} is absent from {key[1]} and in view there; delete one of the lines: {path}")
    if not spans:
        raise UsageError(f"there is no question; write {FORM}: {path}")
    return [Known(name, source, tuple(held)) for (name, source), held in spans.items()]


def _span(text: str, number: int, path: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        start, end = parse_time(first), parse_time(last if dash else first)
    except UsageError as error:
        raise UsageError(f"line {number}: {error}: {path}") from None
    if start > end:
        raise UsageError(f"line {number} ends before it begins: {path}")
    return start, end


def fit_curve(
    store: Store,
    cache: Vectors,
    calibration: Calibration,
    known: Sequence[Known],
    phrase_of: Callable[[str], Phrase],
) -> tuple[Curve, Samples]:
    """The curve fitted to the candidates of these questions, and the candidates.

    Raises:
        UsageError: as `candidates`, `fit` and `check_fit`.
    """
    samples = candidates(store, cache, calibration, known, phrase_of)
    curve = fit(samples)
    check_fit(samples)
    return curve, samples


def candidates(
    store: Store,
    cache: Vectors,
    calibration: Calibration,
    known: Sequence[Known],
    phrase_of: Callable[[str], Phrase],
) -> Samples:
    """The best tracks for each question, at most MAX_CANDIDATES each; right when the evidence lies in a known span.

    Args:
        store: The memory.
        cache: Its vectors.
        calibration: Of the encoder.
        known: The questions.
        phrase_of: Gives the vectors of a name.

    Raises:
        UsageError: a source is not in the memory, or no question has a candidate.
    """
    scores, shares, right, question, best = [], [], [], [], []
    for number, one in enumerate(known):
        phrase = phrase_of(one.name)
        hits = find(cache, loose(calibration), phrase.text, None)
        if one.source != EVERYWHERE:
            hits = hits.take(cache.columns_of(hits.rows).source_ids == store.source(one.source).id)
        hits = hits.take(np.argsort(-hits.score, kind="stable")[:MAX_CANDIDATES])
        if not len(hits):
            continue
        assert phrase.contrast is not None
        times = [track.best_ns for track in store.tracks(cache.columns_of(hits.rows).ids.tolist())]
        scores.append(hits.score.astype(np.float64))
        shares.append(share(cache, hits, phrase.contrast, calibration.temperature).astype(np.float64))
        right.append(np.array([_in_spans(t_ns, one.spans) for t_ns in times], bool))
        question.append(np.full(len(hits), number, np.int64))
        best.append(np.full(len(hits), float(hits.score[0])))
    if not scores:
        raise UsageError("nothing in the memory is like any of the names; are they what was filmed?")
    return Samples(
        np.concatenate(scores),
        np.concatenate(shares),
        np.concatenate(right),
        np.concatenate(question),
        np.concatenate(best),
    )


def _in_spans(t_ns: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start - SLACK_NS <= t_ns <= end + SLACK_NS for start, end in spans)
