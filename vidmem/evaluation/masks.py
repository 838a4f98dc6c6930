"""Scores of predicted masks, as the papers on referring and semantic segmentation publish them.

Referring segmentation compares one predicted mask with one true mask per question. `overlaps` counts the pixels, and
the scores are functions of these counts:

- `ciou`, the cumulative IoU: the sum of all intersections over the sum of all unions (RefCOCO's "oIoU" or "cIoU").
- `giou`, the mean IoU of the questions. A question without a target counts 1 when the prediction is empty, too, and 0
  otherwise (LISA, CVPR 2024; gRefCOCO, CVPR 2023).
- `precision`, the share of questions with a target whose IoU reaches a threshold (Pr@0.5 to Pr@0.9).
- `no_target`, gRefCOCO's N-acc and T-acc: how often the absence and the presence of a target are recognised.
- `box_accuracy`, Acc@0.5 of referring comprehension, with the boxes around the masks (Text4Seg, section 4.3).

Semantic segmentation counts a `confusion` matrix of all pixels; `class_iou` and `miou` are functions of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..export.rle import box
from ..geometry import box_iou

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Of Pr@X, as RefCOCO's and gRefCOCO's tables have them."""
LEAST_PIXELS = 50
"""A prediction with fewer pixels counts as empty in `no_target` of models that cannot say "no target" (gRefCOCO)."""

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Pixels of n pairs of masks.

    Attributes:
        both: `(n,)` int64 pixels that are in both masks.
        predicted: `(n,)` int64 pixels of the predicted masks.
        wanted: `(n,)` int64 pixels of the true masks.
        unanswered: `(n,)` bool, True for questions without an answer. These are missed, also where nothing is meant and
            the mask is empty. None when all have one.
    """

    both: Counts
    predicted: Counts
    wanted: Counts
    unanswered: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.both)

    @property
    def either(self) -> Counts:
        """`(n,)` int64 pixels that are in at least one mask."""
        return self.predicted + self.wanted - self.both

    @property
    def iou(self) -> NDArray[np.float64]:
        """`(n,)` intersection over union; 1 where both masks are empty, 0 without an answer."""
        either = self.either
        found = np.where(either > 0, self.both / np.maximum(either, 1), 1.0)
        return found if self.unanswered is None else np.where(self.unanswered, 0.0, found)


def overlaps(pairs: Iterable[tuple[Mask, Mask]]) -> Overlaps:
    """Count the pixels of pairs (predicted, wanted) of masks `(H, W)` bool. Pairs may differ in size.

    Raises UsageError when the two masks of a pair differ in size.
    """
    rows = []
    for number, (predicted, wanted) in enumerate(pairs):
        _same_size(number, predicted, wanted)
        p, w = np.asarray(predicted, bool), np.asarray(wanted, bool)
        rows.append((np.count_nonzero(p & w), np.count_nonzero(p), np.count_nonzero(w)))
    counts = np.array(rows, np.int64).reshape(-1, 3)
    return Overlaps(counts[:, 0], counts[:, 1], counts[:, 2])


def _same_size(number: int, predicted: Mask, wanted: Mask) -> None:
    if predicted.shape != wanted.shape:
        raise UsageError(f"pair {number}: the masks have different sizes, {predicted.shape} and {wanted.shape}")


def ciou(counted: Overlaps) -> float:
    """Sum of the intersections over the sum of the unions, in [0, 1]; NaN when there is nothing in any mask."""
    union = int(counted.either.sum())
    return int(counted.both.sum()) / union if union else math.nan


def giou(counted: Overlaps) -> float:
    """Mean IoU of the pairs, in [0, 1], where a pair of two empty masks counts 1, unless it has no answer; NaN without
    pairs."""
    return float(counted.iou.mean()) if len(counted) else math.nan


def precision(counted: Overlaps, threshold: float = 0.5) -> float:
    """Share of the pairs with a target whose IoU is at least `threshold` (Pr@X); NaN when no pair has a target."""
    iou = counted.iou[counted.wanted > 0]
    return float((iou >= threshold).mean()) if len(iou) else math.nan


def no_target(counted: Overlaps, least: int = 1) -> tuple[float, float]:
    """N-acc and T-acc of gRefCOCO: the shares of questions without and with a target that are recognised as such.

    Args:
        counted: Of all questions.
        least: Predictions with fewer pixels count as empty; 1 or `LEAST_PIXELS`.

    Returns:
        Share of the questions without a target whose prediction is empty, and share of those with a target whose
        prediction is not empty; NaN where there are none. A question without an answer is not recognised.
    """
    absent, empty = counted.wanted == 0, counted.predicted < least
    if counted.unanswered is not None:
        empty = np.where(counted.unanswered, ~absent, empty)
    return (
        float(empty[absent].mean()) if absent.any() else math.nan,
        float((~empty[~absent]).mean()) if (~absent).any() else math.nan,
    )


def box_accuracy(pairs: Iterable[tuple[Mask, Mask]], threshold: float = 0.5) -> float:
    """Share of pairs (predicted, wanted) of masks `(H, W)` whose boxes have an IoU above `threshold` (Acc@0.5).

    Pairs without a target are left out. NaN when none is left.

    Raises UsageError when the two masks of a pair differ in size.
    """
    right = []
    for number, (predicted, wanted) in enumerate(pairs):
        _same_size(number, predicted, wanted)
        if wanted.any():
            (x, y, w, h), (x2, y2, w2, h2) = box(predicted), box(wanted)
            a, b = np.array([x, y, x + w, y + h], np.float32), np.array([x2, y2, x2 + w2, y2 + h2], np.float32)
            right.append(bool(box_iou(a, b) > threshold))
    return sum(right) / len(right) if right else math.nan


def confusion(
    predicted: NDArray[np.integer], wanted: NDArray[np.integer], classes: int, ignore: int | None = 255
) -> Counts:
    """Count the pixels of each pair of classes. Matrices of several pictures can be added.

    Args:
        predicted: `(H, W)` numbers of classes. Any number outside 0 to `classes` - 1 means that no class is predicted;
            such a pixel is missed by its true class and claimed by none.
        wanted: `(H, W)` numbers of classes. Pixels with `ignore` or a negative number do not count.
        classes: C, the number of classes.
        ignore: Number of unlabelled pixels in `wanted`; None when there is no such number.

    Returns:
        `(C, C + 1)` int64: pixels of class i for which class j is predicted; the last column is for no class.

    Raises:
        UsageError: The two differ in size, or `wanted` has a number that is no class.
    """
    if predicted.shape != wanted.shape:
        raise UsageError(f"the label pictures have different sizes, {predicted.shape} and {wanted.shape}")
    if classes < 1:
        raise UsageError(f"there is at least one class; got {classes}")
    truth, said = np.asarray(wanted, np.int64).ravel(), np.asarray(predicted, np.int64).ravel()
    counts = truth >= 0
    if ignore is not None:
        counts &= truth != ignore
    truth, said = truth[counts], said[counts]
    if truth.size and truth.max() >= classes:
        raise UsageError(f"class {int(truth.max())} is in the labels and there are {classes} classes, numbered from 0")
    said = np.where((said >= 0) & (said < classes), said, classes)
    return np.bincount(truth * (classes + 1) + said, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def class_iou(matrix: Counts) -> NDArray[np.float64]:
    """IoU of each class `(C,)` of a `confusion` matrix; NaN for a class that is neither there nor predicted."""
    right, wanted = np.diagonal(matrix), matrix.sum(axis=1)
    union = wanted + matrix[:, :-1].sum(axis=0) - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


def miou(matrix: Counts) -> float:
    """Mean of `class_iou` over the classes that are there or predicted; NaN when there are none."""
    iou = class_iou(matrix)
    return float(np.nanmean(iou)) if np.isfinite(iou).any() else math.nan


def pixel_accuracy(matrix: Counts) -> float:
    """Share of the labelled pixels whose class is right; NaN without pixels."""
    total = int(matrix.sum())
    return int(np.diagonal(matrix).sum()) / total if total else math.nan


def class_accuracy(matrix: Counts) -> float:
    """Mean over the classes that are there of the share of their pixels that are right; NaN when there are none."""
    wanted = matrix.sum(axis=1)
    there = wanted > 0
    return float((np.diagonal(matrix)[there] / wanted[there]).mean()) if there.any() else math.nan
