"""Fitting probabilities on questions with known answers: a file of them, and the candidates that a memory has."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..encoders.base import Calibration
from ..encoders.probability import CANDIDATES, Samples
from ..errors import MediaError, UsageError
from ..records import Float32
from ..store import Store, VectorCache
from ..timecode import NS, parse_time
from .probable import share
from .search import find, loose

SLACK_NS = NS // 2
"""Spans by eye are told to the second: evidence so far outside is inside."""
ABSENT = "absent"
EVERYWHERE = "*"
FORM = "name,source,from-to, or name,source,absent"


@dataclass(frozen=True, slots=True)
class Known:
    """A question and its answer. source: path or file name, EVERYWHERE for all. spans: all times (ns, inclusive) at
    which the thing is in view there; none when it is absent."""

    name: str
    source: str
    spans: tuple[tuple[int, int], ...]


def load_known(path: str) -> list[Known]:
    """The questions of a text file, a line for each time that a thing is in view: name, source, from-to, parted by
    commas or tabs; or `absent` in place of the times. Lines that begin with "#" do not count, nor does a header.

    Raises MediaError when it cannot be read, UsageError for a line that says something else.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise MediaError(f"the questions are not UTF-8 text; save them as such: {path}") from None
    except OSError as error:
        raise MediaError(f"the questions cannot be read ({error.strerror}); check the path: {path}") from None
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    absent: set[tuple[str, str]] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [c.strip() for c in next(csv.reader(io.StringIO(line), delimiter="\t" if "\t" in line else ","))]
        if number == 1 and cells[:2] == ["name", "source"]:
            continue
        if len(cells) != 3 or not all(cells):
            raise UsageError(f"line {number} is not {FORM}: {path}")
        key = (cells[0], cells[1])
        if cells[2].lower() == ABSENT:
            absent.add(key)
            spans.setdefault(key, [])
            continue
        if cells[1] == EVERYWHERE:
            raise UsageError(f"line {number} names no source for its times; only absent things may say *: {path}")
        spans.setdefault(key, []).append(_span(cells[2], number, path))
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


def candidates(
    store: Store,
    cache: VectorCache,
    calibration: Calibration,
    known: Sequence[Known],
    phrase: Callable[[str], tuple[Float32, Float32]],
) -> Samples:
    """The best tracks for each question, at most CANDIDATES each; right when the evidence lies in a known span.

    phrase: the vector of a name and its contrast phrases. Raises UsageError for a source that is not there.
    """
    scores, shares, right, question, best = [], [], [], [], []
    for number, one in enumerate(known):
        vector, contrast = phrase(one.name)
        hits = find(cache, loose(calibration), vector, None)
        if one.source != EVERYWHERE:
            hits = hits.take(cache.columns.source_ids[hits.rows] == store.source(one.source).id)
        hits = hits.take(np.argsort(-hits.score, kind="stable")[:CANDIDATES])
        if not len(hits):
            continue
        at = [track.best_ns for track in store.tracks([int(i) for i in cache.columns.ids[hits.rows]])]
        scores.append(hits.score.astype(np.float64))
        shares.append(share(cache, hits, contrast, calibration.temperature).astype(np.float64))
        right.append(np.array([any(a - SLACK_NS <= t <= b + SLACK_NS for a, b in one.spans) for t in at], bool))
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
