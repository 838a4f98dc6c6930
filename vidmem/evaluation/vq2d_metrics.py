"""The metrics of Ego4D's visual queries (VQ2D), as its official evaluation computes them (Ego4D, arXiv 2110.07058).

A query has one true answer (a tube: a box in each frame of one run of frames) and at most one predicted tube. tAP and
stAP are average precisions of these predictions, pooled over all queries by score, with the interpolation of Pascal VOC
2011. A query without a prediction is a miss.

T-REN (arXiv 2604.18573, section 4.3) reports by another protocol, which is looser; see `loose_metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .vq2d_files import FrameBox, Key, Response, VisualQuery

AP_IOUS = (0.25, 0.5, 0.75, 0.95)
"""The overlaps at which average precision is taken; tAP and stAP are means over them."""
SUCCESS_IOU = 0.05
"""A tube with at least this overlap is a success."""
RECOVERY_IOU = 0.5
"""A true box is recovered by a predicted one with at least this IoU."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The official metrics.

    Attributes:
        queries: How many queries count.
        answered: How many of them have a prediction.
        tap25: Temporal average precision at an IoU of .25, in 0 to 1.
        tap: Mean of the temporal average precision at .25, .5, .75 and .95.
        stap25: Spatio-temporal average precision at .25.
        stap: Mean of the spatio-temporal average precision at the same IoUs.
        success: Share of the queries with a spatio-temporal IoU of at least .05, in percent.
        recovery: Share of all true boxes with an IoU of at least .5, in percent.
    """

    queries: int
    answered: int
    tap25: float
    tap: float
    stap25: float
    stap: float
    success: float
    recovery: float


@dataclass(frozen=True, slots=True)
class LooseMetrics:
    """Metrics of T-REN's looser protocol.

    Attributes:
        recall: Share of the queries whose predicted window has an IoU of at least .25 with the true window of any query
            about the same clip, in percent.
        tap: Mean over .25, .5, .75 and .95 of the temporal average precision with one score for all, where a
            prediction may take the true window of any query about the clip, each once, in percent.
        scored_tap: As `tap`, but by the predictions' own scores.
        own_recall: As `recall`, but only the window of the query itself counts.
    """

    recall: float
    tap: float
    scored_tap: float
    own_recall: float


def official_metrics(queries: Sequence[VisualQuery], answers: Mapping[Key, Response | None]) -> Metrics:
    """Score answers by the official rules.

    Boxes are compared in the pixels of the annotations, so those of an answer are in pixels of the query's own picture
    size.

    Args:
        queries: Those that count: valid, with a true answer.
        answers: By key. A query that is not in it, or that has None, is a miss.

    Raises:
        UsageError: There is no query, or one has no true answer.
    """
    _check(queries)
    found = [answers.get(query.key) for query in queries]
    temporal, tubes, hit, total = [], [], 0, 0
    for query, answer in zip(queries, found, strict=True):
        total += len(query.response)
        if answer is None:
            temporal.append(0.0)
            tubes.append(0.0)
            continue
        temporal.append(temporal_iou((answer.first, answer.last), _extent(query)))
        tubes.append(tube_iou(answer, query.response))
        hit += int((box_ious(answer, query.response) >= RECOVERY_IOU).sum())
    scores = np.array([answer.score for answer in found if answer is not None], np.float64)
    held = np.array([answer is not None for answer in found], np.bool_)
    aps = {
        name: [average_precision(np.array(ious)[held] >= iou, scores, len(queries)) for iou in AP_IOUS]
        for name, ious in (("t", temporal), ("st", tubes))
    }
    return Metrics(
        queries=len(queries),
        answered=int(held.sum()),
        tap25=aps["t"][0],
        tap=float(np.mean(aps["t"])),
        stap25=aps["st"][0],
        stap=float(np.mean(aps["st"])),
        success=100.0 * float((np.array(tubes) >= SUCCESS_IOU).mean()),
        recovery=100.0 * hit / total,
    )


def loose_metrics(queries: Sequence[VisualQuery], answers: Mapping[Key, Response | None]) -> LooseMetrics:
    """Score only the windows in time, as T-REN does: any true window of the same clip counts, and scores do not.

    The paper says that a prediction is right if its temporal IoU with the true window exceeds .25. Its figures come
    from an evaluation in the manner of ActivityNet, in which a video, here a clip, has all the windows of its queries.

    Raises:
        UsageError: There is no query, or one has no true answer.
    """
    _check(queries)
    by_clip: dict[object, list[int]] = defaultdict(list)
    for number, query in enumerate(queries):
        by_clip[query.clip if query.clip is not None else query.key[0]].append(number)
    windows = [_extent(query) for query in queries]
    ious: dict[int, dict[int, float]] = {}
    for numbers in by_clip.values():
        for i in numbers:
            if (answer := answers.get(queries[i].key)) is not None:
                ious[i] = {j: temporal_iou((answer.first, answer.last), windows[j]) for j in numbers}
    matched = sum(max(own.values()) >= AP_IOUS[0] for own in ious.values())
    right = sum(own[i] >= AP_IOUS[0] for i, own in ious.items())
    # All have one score, and of equal scores the later comes first, as in the official evaluation.
    last_first = [*reversed(ious)]
    by_score = sorted(last_first, key=lambda i: -_score(answers, queries[i]))
    tap, scored_tap = (
        100.0 * float(np.mean([_matched_precision([ious[i] for i in order], iou, len(queries)) for iou in AP_IOUS]))
        for order in (last_first, by_score)
    )
    return LooseMetrics(100.0 * matched / len(queries), tap, scored_tap, 100.0 * right / len(queries))


def temporal_iou(first: tuple[int, int], second: tuple[int, int]) -> float:
    """IoU of two runs of frames, given by their first and last frame, both inclusive."""
    both = max(0, min(first[1], second[1]) - max(first[0], second[0]) + 1)
    either = (first[1] - first[0] + 1) + (second[1] - second[0] + 1) - both
    return both / either


def tube_iou(answer: Response, truth: Sequence[FrameBox]) -> float:
    """Spatio-temporal IoU: the intersection of the boxes of common frames, over the union of all boxes of both."""
    predicted, wanted, _, common = _boxes(answer, truth)
    both = float(common.sum())
    either = float(_areas(predicted).sum() + _areas(wanted).sum()) - both
    return both / either if either > 0 else 0.0


def box_ious(answer: Response, truth: Sequence[FrameBox]) -> Floats:
    """IoU `(n,)` of each true box with the predicted box of its frame; 0 where there is none."""
    predicted, wanted, where, common = _boxes(answer, truth)
    held = where >= 0
    union = _areas(predicted)[np.maximum(where, 0)] + _areas(wanted) - common
    return np.where(held & (union > 0), common / np.where(union > 0, union, 1), 0.0)


def average_precision(right: NDArray[np.bool_], scores: Floats, total: int) -> float:
    """Average precision in 0 to 1, interpolated as in Pascal VOC 2011.

    Args:
        right: `(n,)` whether each prediction is right.
        scores: `(n,)`; of equal scores the later prediction comes first, as in the official evaluation.
        total: How many could be right.
    """
    if not len(right):
        return 0.0
    order = np.argsort(scores, kind="stable")[::-1]
    return _interpolated(right[order], total)


def _interpolated(right: NDArray[np.bool_], total: int) -> float:
    """right: `(n,)`, best first."""
    hits = np.cumsum(right)
    precision = np.concatenate([[0.0], hits / np.arange(1, len(right) + 1), [0.0]])
    recall = np.concatenate([[0.0], hits / total, [1.0]])
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * highest[1:]).sum())


def _matched_precision(ious: Sequence[Mapping[int, float]], threshold: float, total: int) -> float:
    """Average precision if each prediction takes the best window that no prediction before it has taken.

    ious: for each prediction, best first, its IoU with each window that it may take.
    """
    if not ious:
        return 0.0
    taken: set[int] = set()
    right = np.zeros(len(ious), np.bool_)
    for number, own in enumerate(ious):
        free = [(iou, window) for window, iou in own.items() if window not in taken and iou >= threshold]
        if free:
            taken.add(max(free)[1])
            right[number] = True
    return _interpolated(right, total)


def _score(answers: Mapping[Key, Response | None], query: VisualQuery) -> float:
    answer = answers[query.key]
    assert answer is not None  # only queries with an answer are ordered
    return answer.score


def _extent(query: VisualQuery) -> tuple[int, int]:
    return query.response[0].frame, query.response[-1].frame


def _boxes(answer: Response, truth: Sequence[FrameBox]) -> tuple[Floats, Floats, NDArray[np.intp], Floats]:
    """Predicted boxes `(p, 4)`, true boxes `(n, 4)`, the predicted box of each true one `(n,)` or -1, and the area
    `(n,)` that the two share."""
    predicted = np.array(answer.boxes, np.float64).reshape(-1, 4)
    wanted = np.array([one.box for one in truth], np.float64).reshape(-1, 4)
    where = np.array([one.frame - answer.first for one in truth], np.intp)
    where[(where < 0) | (where >= len(predicted))] = -1
    other = predicted[np.maximum(where, 0)] if len(predicted) else np.zeros_like(wanted)
    width = np.minimum(other[:, 2], wanted[:, 2]) - np.maximum(other[:, 0], wanted[:, 0])
    height = np.minimum(other[:, 3], wanted[:, 3]) - np.maximum(other[:, 1], wanted[:, 1])
    common = np.where(where >= 0, np.maximum(width, 0) * np.maximum(height, 0), 0.0)
    return predicted, wanted, where, common


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _check(queries: Sequence[VisualQuery]) -> None:
    if not queries:
        raise UsageError("there is no query with a known answer; the metrics need annotations that have answers")
    for query in queries:
        if not query.response:
            raise UsageError(f"query {query.key[1]} of annotation {query.key[0]} has no known answer to compare with")
