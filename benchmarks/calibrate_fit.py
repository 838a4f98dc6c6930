"""Fit the curves from scores to probabilities on the questions of calibrate_sets.py, and check them.

Each question gives its best tracks as candidates (vidmem/encoders/probability.py). Sets weigh as WEIGHT says, whatever
they ask; so do what is there and what is absent, as the share of absent questions says. A higher share makes answers
shyer: the least one is taken under which no set finds more of what is absent than LIMIT lets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate_sets import Asked
from vidmem.encoders.base import Calibration
from vidmem.encoders.probability import (
    MAX_CANDIDATES,
    MIN_PROBABILITY,
    MODES,
    Curve,
    Probabilities,
    Samples,
    brier,
    fit,
    reliability,
)
from vidmem.errors import UsageError
from vidmem.query.probable import deciding, share
from vidmem.query.scores import hits_of, nearest

SHARES = tuple(np.round(np.arange(0.02, 0.96, 0.04), 2).tolist())
LIMIT = {"text": {"walks": 0.03, "clips": 0.03}, "visual": {"walks": 0.25}, "product": {"walks": 0.06}}
"""Most of what is absent that may be found, by set. Who brings a picture of a thing has mostly seen it, so false finds
weigh less there. Pictures of other homes have no limit: a door of another home is like one of this."""
WEIGHT = {"photos": 0.5}
"""Of a set, if not 1: in photographs much is called rightly that nobody boxed."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """The best tracks of one question: scores, shares (None without words) and which are right, `(n,)` each.

    memory: the number of the memory that was asked.
    """

    memory: int
    group: str
    kind: str
    mode: str
    absent: bool
    score: NDArray[np.float64]
    share: NDArray[np.float64] | None
    right: NDArray[np.bool_]


def tried(number: int, asked: Asked, calibration: Calibration) -> list[Tried]:
    """Ask every question of a memory once."""
    cache = asked.memory.cache()
    out = []
    for q in asked.questions:
        hits = nearest(cache, q.text, q.visual, MAX_CANDIDATES)
        if q.mode == "product":  # the pictures that are most alike as well, whatever they are called
            also = nearest(cache, None, q.visual, MAX_CANDIDATES).rows
            assert q.text is not None
            assert q.visual is not None
            both = np.union1d(hits.rows, also)
            hits = hits_of(both, cache.scores("text", q.text, both), cache.scores("visual", q.visual, both))
        rows = asked.memory.store.tracks([int(i) for i in cache.columns_of(hits.rows).ids])
        right = [q.right is not None and q.right(row) for row in rows]
        held = None
        if q.contrast is not None:
            held = share(cache, hits, q.contrast, calibration.temperature).astype(np.float64)
        out.append(
            Tried(
                number,
                asked.group,
                q.kind,
                q.mode,
                q.right is None,
                deciding(hits).astype(np.float64),
                held,
                np.array(right, bool),
            )
        )
    return out


def samples(questions: Sequence[Tried], absent: float) -> tuple[Samples, NDArray[np.float64]]:
    """The candidates of all questions of one mode, and the weight of each question."""
    groups: dict[tuple[str, bool], int] = {}
    for q in questions:
        groups[q.group, q.absent] = groups.get((q.group, q.absent), 0) + 1
    sides = {side: sum(a is side for _, a in groups) or 1 for side in (False, True)}
    score, shares, right, number, weight, best = [], [], [], [], [], []
    for i, q in enumerate(questions):
        n = len(q.score)
        score.append(q.score)
        shares.append(np.empty(0) if q.share is None else q.share)
        right.append(q.right)
        best.append(np.full(n, q.score.max(initial=0)))
        number.append(np.full(n, i, np.int64))
        heavy = (absent if q.absent else 1 - absent) / sides[q.absent] / groups[q.group, q.absent]
        heavy *= WEIGHT.get(q.group, 1.0)
        weight.append(np.full(n, heavy * len(questions)))
    held = None if questions[0].share is None else np.concatenate(shares)
    held_all = Samples(np.concatenate(score), held, np.concatenate(right), np.concatenate(number), np.concatenate(best))
    return held_all, np.concatenate(weight)


def found(curve: Curve, question: Tried) -> tuple[bool, bool]:
    """Whether anything is found, and whether the most probable track is right."""
    if not len(question.score):
        return False, False
    likely = curve.at(question.score, question.share, question.score.max())
    best = int(likely.argmax())
    hit = bool(likely[best] >= MIN_PROBABILITY)
    return hit, hit and bool(question.right[best])


def rates(curve: Curve, questions: Sequence[Tried]) -> dict[str, dict[str, float]]:
    """By kind of question: count, share with a result, and share whose most probable track is right."""
    out: dict[str, list[tuple[bool, bool]]] = {}
    for q in questions:
        out.setdefault(f"{q.group}: {q.kind}", []).append(found(curve, q))
    return {
        kind: {
            "questions": len(rows),
            "found": float(np.mean([a for a, _ in rows])),
            "right": float(np.mean([b for _, b in rows])),
        }
        for kind, rows in out.items()
    }


def fit_mode(questions: Sequence[Tried], limit: Mapping[str, float]) -> tuple[Curve, float]:
    """Fit a curve; return it and the weight of absent questions, the smallest of SHARES that keeps to `limit`.

    Raises UsageError for too few candidates.
    """
    curve: Curve | None = None
    for absent in SHARES:
        curve = fit(*samples(questions, absent))
        absents: dict[str, list[bool]] = {}
        for q in questions:
            if q.absent:
                absents.setdefault(q.group, []).append(found(curve, q)[0])
        if all(np.mean(hits) <= limit.get(group, 1.0) for group, hits in absents.items()):
            return curve, absent
    assert curve is not None
    return curve, SHARES[-1]


def fit_all(questions: Sequence[Tried]) -> tuple[Probabilities, dict[str, Any]]:
    """Fit the curves of all modes, with their results on the data of the fit and by leave-one-memory-out.

    A mode with too few candidates has no curve, which is reported.
    """
    curves: dict[str, Curve] = {}
    told: dict[str, Any] = {}
    for mode in MODES:
        mine = [q for q in questions if q.mode == mode]
        try:
            curves[mode], absent = fit_mode(mine, LIMIT[mode])
        except (UsageError, IndexError) as error:
            told[mode] = {"fitted": False, "why": str(error)}
            continue
        likely, right, held_out = [], [], []
        for number in sorted({q.memory for q in mine}):
            here = [q for q in mine if q.memory == number]
            try:
                curve = fit(*samples([q for q in mine if q.memory != number], absent))
            except (UsageError, IndexError):
                continue
            for q in here:
                held_out.append((q, curve))
                likely.append(curve.at(q.score, q.share, q.score.max(initial=0)))
                right.append(q.right)
        told[mode] = {
            "fitted": True,
            "curve": asdict(curves[mode]),
            "absent_share": absent,
            "here": rates(curves[mode], mine),
            "elsewhere": _elsewhere(held_out),
        }
        if likely:
            both = np.concatenate(likely), np.concatenate(right)
            told[mode] |= {
                "brier_elsewhere": brier(*both),
                "reliability_elsewhere": [asdict(b) for b in reliability(*both, 10)],
            }
    return Probabilities(**curves), told


def _elsewhere(pairs: Sequence[tuple[Tried, Curve]]) -> dict[str, dict[str, float]]:
    out: dict[str, list[tuple[bool, bool]]] = {}
    for q, curve in pairs:
        out.setdefault(f"{q.group}: {q.kind}", []).append(found(curve, q))
    return {
        kind: {"found": float(np.mean([a for a, _ in rows])), "right": float(np.mean([b for _, b in rows]))}
        for kind, rows in out.items()
    }
