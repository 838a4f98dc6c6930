"""Metrics of evidence retrieval and abstention for SuperMemory-VQA, from answers as plain data.

The benchmark itself asks for one of four written answers. vidmem does not write; it says where it looked. So what is
scored is whether the windows that it finds are those of the evidence, and whether it finds nothing where the recordings
do not hold the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .supermemory_files import MemoryQuestion, Window

FIRST = (1, 5, 10)
"""Numbers of windows that are looked at."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well the evidence of answerable questions is found.

    Attributes:
        questions: Answerable ones with windows of evidence.
        hit: By k, the share for which one of the first k windows overlaps a window of the evidence, in 0 to 1.
        recall: By k, the mean share of the windows of evidence that one of the first k overlaps.
        iou: By k, the mean of the best temporal IoU among the first k.
    """

    questions: int
    hit: dict[int, float]
    recall: dict[int, float]
    iou: dict[int, float]


@dataclass(frozen=True, slots=True)
class Abstention:
    """Whether it is known when the recordings do not hold the answer.

    Attributes:
        answerable, unanswerable: How many questions.
        accuracy: Share of questions that were answered if and only if they are answerable.
        balanced: Mean of that share over both kinds; None if there is only one kind.
        auroc: Probability that an answerable question has a higher score than one that is not; None likewise.
    """

    answerable: int
    unanswerable: int
    accuracy: float
    balanced: float | None
    auroc: float | None


def retrieval(questions: Sequence[MemoryQuestion], results: Mapping[str, Mapping[str, Any]]) -> Retrieval:
    """Score the windows found, best first.

    questions: All; those without a result, without evidence or without an answer do not count. results: By number, with
    `windows` as [video, start_s, end_s].
    """
    hits: dict[int, list[float]] = {k: [] for k in FIRST}
    recalls: dict[int, list[float]] = {k: [] for k in FIRST}
    ious: dict[int, list[float]] = {k: [] for k in FIRST}
    for question in questions:
        if not question.answerable or not question.evidence or str(question.number) not in results:
            continue
        found = [Window(*row) for row in results[str(question.number)]["windows"]]
        table = np.array([[overlap(one, true) for true in question.evidence] for one in found]).reshape(
            len(found), len(question.evidence), 2
        )
        for k in FIRST:
            first = table[:k]
            reached = (first[:, :, 0] > 0).any(axis=0)
            hits[k].append(float(reached.any()))
            recalls[k].append(float(reached.mean()))
            ious[k].append(float(first[:, :, 1].max(initial=0.0)))
    count = len(hits[FIRST[0]])

    def means(values: Mapping[int, list[float]]) -> dict[int, float]:
        return {k: float(np.mean(each)) if each else 0.0 for k, each in values.items()}

    return Retrieval(count, means(hits), means(recalls), means(ious))


def abstention(questions: Sequence[MemoryQuestion], results: Mapping[str, Mapping[str, Any]]) -> Abstention:
    """Score `found` and `score` of results, by number."""
    kept = [(question, results[str(question.number)]) for question in questions if str(question.number) in results]
    truth = np.array([question.answerable for question, _ in kept], np.bool_)
    found = np.array([bool(result["found"]) for _, result in kept], np.bool_)
    scores = np.array([result["score"] for _, result in kept], np.float64)
    right = found == truth
    both = bool(truth.any()) and not bool(truth.all())
    return Abstention(
        answerable=int(truth.sum()),
        unanswerable=int((~truth).sum()),
        accuracy=float(right.mean()) if len(right) else 0.0,
        balanced=float((right[truth].mean() + right[~truth].mean()) / 2) if both else None,
        auroc=auroc(scores[truth], scores[~truth]) if both else None,
    )


def overlap(one: Window, other: Window) -> tuple[float, float]:
    """Whether two windows share a moment (1 or 0), and their temporal IoU. A window without length is a moment."""
    if one.video != other.video or one.end_s < other.start_s or other.end_s < one.start_s:
        return 0.0, 0.0
    both = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    either = max(one.end_s, other.end_s) - min(one.start_s, other.start_s)
    return 1.0, both / either if either > 0 else 1.0


def auroc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Area under the ROC curve: of all pairs of a positive `(n,)` and a negative `(m,)`, the share in which the
    positive has the higher score; equal ones count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    upto = np.searchsorted(ordered, positive, "right")
    return float((below + upto).sum() / (2 * len(positive) * len(negative)))
