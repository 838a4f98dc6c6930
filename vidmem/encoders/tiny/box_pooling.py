"""Mean features in parts of boxes."""

from __future__ import annotations

import numpy as np

from ...records import Float32

MIN_SIDE = 1.0
"""Minimum side of a box in cells; smaller boxes are widened around their centre."""


def part_means(features: Float32, boxes: Float32, parts: int) -> Float32:
    """Means of features in `parts` x `parts` equal parts of each box: `(n, parts * parts * D)` float32, row by row.

    A cell is weighted by the share of it that lies in the part.

    Args:
        features: `(D, h, w)`.
        boxes: `(n, 4)` x0, y0, x1, y1 in cells.
        parts: Number of parts along each side.
    """
    d, h, w = features.shape
    n = len(boxes)
    middle, side = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], np.float32(MIN_SIDE))
    start = np.clip(middle - side / 2, 0, np.maximum(np.array([w, h], np.float32) - side, 0))
    columns = _shares(start[:, 0], side[:, 0], w, parts)
    rows = _shares(start[:, 1], side[:, 1], h, parts)
    # One matrix product, a row for each part: as fast as an integral image, which rounds worse.
    weights = (rows[:, :, None, :, None] * columns[:, None, :, None]).reshape(n * parts * parts, h * w)
    means = weights @ features.reshape(d, h * w).T
    return np.asarray(means.reshape(n, parts * parts * d), np.float32)


def _shares(start: Float32, side: Float32, cells: int, parts: int) -> Float32:
    """Weights of the cells along one axis in the mean of each part: `(n, parts, cells)` float32 that sum to 1.

    Args:
        start: `(n,)`, where each box begins, in cells.
        side: `(n,)`, its length in cells.
        cells: Number of cells along the axis.
        parts: Number of parts.
    """
    steps = np.arange(parts + 1, dtype=np.float32) / np.float32(parts)
    edges = start[:, None] + side[:, None] * steps
    low = np.arange(cells, dtype=np.float32)
    inside = np.minimum(edges[:, 1:, None], low + 1) - np.maximum(edges[:, :-1, None], low)
    inside = np.maximum(inside, 0)
    return np.asarray(inside / inside.sum(-1, keepdims=True).clip(1e-6), np.float32)
