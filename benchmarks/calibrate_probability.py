"""The curves from scores to probabilities that calibrate.py fits, and how true they are on worlds that had no part.

Each question gives its best tracks as candidates (vidmem/probability.py); a candidate is right when its evidence lies
in the box of the thing asked for. Much more is asked here that is absent than people ask; one question in four counts
as absent, for each way of asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate_questions import RIGHT_BOX, TEMPERATURES, Question
from benchmarks.lostfound import true_box_iou
from vidmem.encoders.base import Calibration
from vidmem.errors import UsageError
from vidmem.probability import CANDIDATES, LOOSE, MODES, Curve, Probabilities, Samples, brier, fit, reliability
from vidmem.world.lostfound import World

ABSENT_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The best tracks of one question: scores, shares (None without words), and which are right, `(n,)` each."""

    world: int
    mode: str
    absent: bool
    score: NDArray[np.float64]
    share: NDArray[np.float64] | None
    right: NDArray[np.bool_]


def candidates(
    question: Question, world: World, boxes: NDArray[np.float64], times: NDArray[np.int64], temperature: float
) -> Candidates:
    """boxes `(n, 4)` and times `(n,)`: the evidence of all tracks of the world, by row."""
    best = np.argsort(-question.score, kind="stable")[:CANDIDATES]
    right = [
        question.span is not None
        and (true_box_iou(world.truth, question.asked, int(times[row]), tuple(boxes[row])) or 0.0) >= RIGHT_BOX
        for row in question.rows[best].tolist()
    ]
    share = None if question.shares is None else question.shares[TEMPERATURES.index(temperature)][best]
    return Candidates(
        question.world, question.mode, question.span is None, question.score[best].astype(np.float64),
        None if share is None else share.astype(np.float64), np.array(right, bool),
    )  # fmt: skip


def samples_of(
    asked: Sequence[Candidates], mode: str, least: float
) -> tuple[Samples, NDArray[np.float64], NDArray[np.int64]]:
    """The candidates of one way of asking with a score of at least `least`, what each one's question weighs, and its
    world."""
    mine = [one for one in asked if one.mode == mode]
    n_absent = sum(one.absent for one in mine)
    n_there = len(mine) - n_absent
    # Weights under which one question in four is absent, whatever was asked.
    heavy = {True: ABSENT_SHARE / max(n_absent, 1), False: (1 - ABSENT_SHARE) / max(n_there, 1)}
    score, share, right, question, weight, world = [], [], [], [], [], []
    for number, one in enumerate(mine):
        keep = one.score >= least
        n = int(keep.sum())
        score.append(one.score[keep])
        share.append(one.share[keep] if one.share is not None else np.empty(0))
        right.append(one.right[keep])
        question.append(np.full(n, number, np.int64))
        weight.append(np.full(n, heavy[one.absent] * len(mine)))
        world.append(np.full(n, one.world, np.int64))
    if not mine:
        return Samples(np.empty(0), None, np.empty(0, bool), np.empty(0, np.int64)), np.empty(0), np.empty(0, np.int64)
    shared = None if mode == "visual" else np.concatenate(share)
    samples = Samples(np.concatenate(score), shared, np.concatenate(right), np.concatenate(question))
    return samples, np.concatenate(weight), np.concatenate(world)


def fit_all(asked: Sequence[Candidates], calibration: Calibration) -> tuple[Probabilities, dict[str, Any]]:
    """The curves of every way of asking, and for each how true it is: every world is told by the curve of the others.
    A way with too few candidates has none, and says so."""
    least = {"text": calibration.text_threshold, "visual": calibration.visual_threshold,
             "product": calibration.product_threshold}  # fmt: skip
    curves: dict[str, Curve] = {}
    facts: dict[str, Any] = {}
    for mode in MODES:
        samples, weight, world = samples_of(asked, mode, LOOSE * least[mode])
        try:
            curves[mode] = fit(samples, weight)
        except UsageError as error:
            facts[mode] = {"fitted": False, "why": str(error)}
            continue
        told = np.full(len(samples), np.nan)
        for one in np.unique(world).tolist():
            held = world == one
            try:
                curve = fit(samples.take(~held), weight[~held])
            except UsageError:
                continue
            part = samples.take(held)
            told[held] = curve.at(part.score, part.share)
        known = ~np.isnan(told)
        facts[mode] = {
            "fitted": True, "curve": asdict(curves[mode]), "candidates": len(samples),
            "brier_elsewhere": brier(told[known], samples.right[known]) if known.any() else None,
            "reliability_elsewhere": [asdict(b) for b in reliability(told[known], samples.right[known], 10)],
        }  # fmt: skip
    return Probabilities(**curves), facts
