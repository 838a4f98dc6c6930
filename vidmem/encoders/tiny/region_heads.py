"""The second look of `tiny` at boxes that its detector found: what its small heads are told of a box, one row of
numbers each, and what their answers mean."""

from __future__ import annotations

import numpy as np

from ...records import Float32
from .box_pooling import part_means

BINS, SIDES, TOP = 11, 4, 4
PARTS = 2
SHAPE = 7
"""Cells a side of the shape that the heads give a mask."""
WIDER, RIM = 0.1, 4.0
"""A mask may reach beyond its box by this share of each side and so many pixels: boxes are not exact."""
LEAST = 0.5


def appearance(necks: tuple[Float32, Float32, Float32], boxes: Float32) -> Float32:
    """Mean features of boxes `(n, 4)`, pixels of the working picture: of the neck `(D, h, w)` of stride 8 in 2 x 2
    parts, of those of strides 16 and 32 as a whole, `(n, 6 D)` float32."""
    parts = ((necks[0], 8, PARTS), (necks[1], 16, 1), (necks[2], 32, 1))
    return np.concatenate([part_means(n, boxes * np.float32(1 / stride), count) for n, stride, count in parts], 1)


def opinion(scores: Float32, bins: Float32, boxes: Float32, stride: Float32, size: tuple[int, int]) -> Float32:
    """What the detector thought of boxes `(n, 4)`, and how they lie in a picture of `size` (height, width): `(n, 33)`
    float32. scores `(n, 80)`; bins `(n, 44)`: the TOP highest probabilities of each side's distance and their mean
    tell how sure it is of the side (Li et al. 2021, Generalized Focal Loss V2); stride `(n,)`: of their places."""
    n = len(scores)
    sides = bins.reshape(n, SIDES, BINS)
    sure = np.exp(sides - sides.max(-1, keepdims=True))
    sure /= sure.sum(-1, keepdims=True)
    top = np.sort(sure, -1)[..., : -TOP - 1 : -1]
    top = np.concatenate([top, top.mean(-1, keepdims=True)], -1).reshape(n, SIDES * (TOP + 1))
    held = scores.clip(1e-6, 1 - 1e-6)
    logits = np.log(held / (1 - held))
    best = np.sort(logits, -1)[:, :-4:-1]
    h, w = size
    wide = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    place = np.stack(
        [
            np.log(wide[:, 0]),
            np.log(wide[:, 1]),
            boxes[:, 0] <= 1,
            boxes[:, 1] <= 1,
            boxes[:, 2] >= w - 1,
            boxes[:, 3] >= h - 1,
            np.log2(stride),
            wide[:, 0] / w,
            wide[:, 1] / h,
        ],
        1,
    )
    return np.concatenate([top, best, logits.mean(1, keepdims=True), place], 1).astype(np.float32)


def widened(boxes: Float32, size: tuple[int, int]) -> Float32:
    """Boxes `(n, 4)` with what their masks may reach into, cut at the edges of a picture of `size` (height, width)."""
    out = np.tile((boxes[:, 2:] - boxes[:, :2]) * np.float32(WIDER) + np.float32(RIM), 2)
    out[:, :2] *= -1
    h, w = size
    return np.clip(boxes + out, 0, np.array([w, h, w, h], np.float32)).astype(np.float32)


def spread(low: Float32, high: Float32, cells: int) -> Float32:
    """Of each of `cells` cells of stride 8 along an axis, which of the SHAPE cells between `low` and `high` `(n,)`,
    pixels, lie at its middle: `(n, cells, SHAPE)` float32, bilinear, the outermost held beyond theirs."""
    middle = (np.arange(cells, dtype=np.float32) + 0.5) * 8
    at = (middle - low[:, None]) / np.maximum(high - low, 1)[:, None] * SHAPE - 0.5
    away = np.abs(np.clip(at, 0, SHAPE - 1)[..., None] - np.arange(SHAPE, dtype=np.float32))
    return np.asarray(np.maximum(1 - away, 0), np.float32)


def covered(low: Float32, high: Float32, cells: int) -> Float32:
    """The share of each of `cells` cells of stride 8 along an axis between `low` and `high` `(n,)`: `(n, cells)`."""
    start = np.arange(cells, dtype=np.float32) * 8
    inside = np.minimum(high[:, None], start + 8) - np.maximum(low[:, None], start)
    return np.asarray(np.clip(inside, 0, None) / 8, np.float32)


def drawn(
    prototypes: Float32, coefficients: Float32, shapes: Float32, boxes: Float32, size: tuple[int, int]
) -> Float32:
    """Masks `(n, h, w)` float32 in [0, 1] on the grid of stride 8 of a picture of `size` (height, width).

    prototypes `(K, h, w)` mixed by coefficients `(n, K)` (Bolya et al. 2019, YOLACT) and a shape `(n, SHAPE * SHAPE)`
    over the widened box, added before the sigmoid. A mask that nowhere exceeds one half, of a thing smaller than a
    cell, is raised until it peaks at 1: every region holds a cell.
    """
    k, h, w = prototypes.shape
    area = widened(boxes, size)
    across, down = spread(area[:, 0], area[:, 2], w), spread(area[:, 1], area[:, 3], h)
    logits = down @ shapes.reshape(-1, SHAPE, SHAPE) @ across.transpose(0, 2, 1)
    logits += (coefficients @ prototypes.reshape(k, h * w)).reshape(-1, h, w)
    masks = 1 / (1 + np.exp(-np.clip(logits, -15, 15)))
    masks *= covered(area[:, 1], area[:, 3], h)[:, :, None]
    masks *= covered(area[:, 0], area[:, 2], w)[:, None]
    peak = masks.max((1, 2), initial=0, keepdims=True)
    return np.asarray(np.where(peak > LEAST, masks, masks / np.maximum(peak, 1e-12)), np.float32)
