"""Confusion matrices as short plain lists, so that a journal can hold one per picture or video.

Of 150 classes a picture shows about ten. Only the cells that are not zero are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .masks import Counts

Cells = list[list[int]]
"""Rows of truth, predicted class and pixels. The number of classes as predicted class means that none is predicted."""


def cells(matrix: Counts) -> Cells:
    """The cells of a matrix `(C, C + 1)` of `masks.confusion` that are not zero."""
    truth, predicted = np.nonzero(matrix)
    rows: Cells = np.stack([truth, predicted, matrix[truth, predicted]], axis=1).tolist()
    return rows


def total(results: Iterable[Sequence[Sequence[int]]], classes: int) -> Counts:
    """The sum `(C, C + 1)` int64 of the matrices of several results.

    Raises UsageError when a result has a class that is not there, since it is then of another run.
    """
    out = np.zeros((classes, classes + 1), np.int64)
    for rows in results:
        if not len(rows):
            continue
        found: NDArray[np.int64] = np.array(rows, np.int64).reshape(-1, 3)
        truth, predicted, pixels = found.T
        if found.min() < 0 or truth.max() >= classes or predicted.max() > classes:
            raise UsageError(f"a result in the journal has a class beyond {classes}; start again in an empty folder")
        np.add.at(out, (truth, predicted), pixels)
    return out
