"""Inputs and outputs of the second look of `tiny`: a row of numbers for each box, and masks from its answers."""

from __future__ import annotations

import numpy as np

from ...records import Float32
from .box_pooling import part_means

BINS, SIDES, TOP = 11, 4, 4
"""Bins and sides of a box distribution, and how many of the highest probabilities of a side are used."""
PARTS = 2
"""Parts along each side of a box in which features of stride 8 are averaged."""
SHAPE = 7
"""Cells along each side of the coarse mask that the heads predict within the box."""
MARGIN, MARGIN_PIXELS = 0.1, 4.0
"""How far a mask may reach beyond its inexact box: this share of each side plus this many pixels."""
MIN_PEAK = 0.5
"""A mask without a value above this is scaled up; see `assemble_masks`."""


def neck_features(necks: tuple[Float32, Float32, Float32], boxes: Float32) -> Float32:
    """Mean neck features of boxes `(n, 4)` in pixels of the working picture: `(n, 6 D)` float32.

    necks: `(D, h, w)` of strides 8, 16 and 32. The first is averaged in 2 x 2 parts, the others over the whole box.
    """
    parts = ((necks[0], 8, PARTS), (necks[1], 16, 1), (necks[2], 32, 1))
    return np.concatenate([part_means(n, boxes * np.float32(1 / stride), count) for n, stride, count in parts], 1)


def box_statistics(scores: Float32, bins: Float32, boxes: Float32, stride: Float32, size: tuple[int, int]) -> Float32:
    """Statistics of the detector's outputs and the position of each box: `(n, 33)` float32.

    Args:
        scores: `(n, 80)` class scores.
        bins: `(n, 44)` logits. The TOP highest probabilities of each side and their mean say how certain the side is
            (Li et al. 2021, Generalized Focal Loss V2).
        boxes: `(n, 4)` in pixels.
        stride: `(n,)` strides of their anchor points.
        size: Height and width of the picture.
    """
    n = len(scores)
    sides = bins.reshape(n, SIDES, BINS)
    probability = np.exp(sides - sides.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    top = np.sort(probability, -1)[..., : -TOP - 1 : -1]
    top = np.concatenate([top, top.mean(-1, keepdims=True)], -1).reshape(n, SIDES * (TOP + 1))
    clipped = scores.clip(1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped))
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


def widen(boxes: Float32, size: tuple[int, int]) -> Float32:
    """Boxes `(n, 4)` with the margin that masks may reach into, clipped to a picture of `size` (height, width)."""
    out = np.tile((boxes[:, 2:] - boxes[:, :2]) * np.float32(MARGIN) + np.float32(MARGIN_PIXELS), 2)
    out[:, :2] *= -1
    h, w = size
    return np.clip(boxes + out, 0, np.array([w, h, w, h], np.float32)).astype(np.float32)


def bilinear_weights(low: Float32, high: Float32, cells: int) -> Float32:
    """Weights `(n, cells, SHAPE)` float32 to resample a coarse mask along one axis, bilinearly.

    Args:
        low: `(n,)`, where the coarse mask begins, in pixels.
        high: `(n,)`, where it ends. Its outermost cells continue beyond.
        cells: Number of target cells of stride 8.
    """
    middle = (np.arange(cells, dtype=np.float32) + 0.5) * 8
    at = (middle - low[:, None]) / np.maximum(high - low, 1)[:, None] * SHAPE - 0.5
    away = np.abs(np.clip(at, 0, SHAPE - 1)[..., None] - np.arange(SHAPE, dtype=np.float32))
    return np.asarray(np.maximum(1 - away, 0), np.float32)


def coverage(low: Float32, high: Float32, cells: int) -> Float32:
    """The share of each of `cells` cells of stride 8 that lies between `low` and `high` `(n,)` pixels: `(n, cells)`."""
    start = np.arange(cells, dtype=np.float32) * 8
    inside = np.minimum(high[:, None], start + 8) - np.maximum(low[:, None], start)
    return np.asarray(np.clip(inside, 0, None) / 8, np.float32)


def assemble_masks(
    prototypes: Float32, coefficients: Float32, shapes: Float32, boxes: Float32, size: tuple[int, int]
) -> Float32:
    """Masks `(n, h, w)` float32 in [0, 1] on the grid of stride 8.

    Prototypes and coarse masks are added before the sigmoid. A mask that nowhere exceeds MIN_PEAK, of a thing smaller
    than a cell, is scaled to a peak of 1, so that every region has a cell.

    Args:
        prototypes: `(K, h, w)` mask prototypes (Bolya et al. 2019, YOLACT).
        coefficients: `(n, K)` weights of the prototypes.
        shapes: `(n, SHAPE * SHAPE)` coarse masks over the widened boxes.
        boxes: `(n, 4)` in pixels.
        size: Height and width of the picture.
    """
    k, h, w = prototypes.shape
    area = widen(boxes, size)
    across, down = bilinear_weights(area[:, 0], area[:, 2], w), bilinear_weights(area[:, 1], area[:, 3], h)
    logits = down @ shapes.reshape(-1, SHAPE, SHAPE) @ across.transpose(0, 2, 1)
    logits += (coefficients @ prototypes.reshape(k, h * w)).reshape(-1, h, w)
    masks = 1 / (1 + np.exp(-np.clip(logits, -15, 15)))
    masks *= coverage(area[:, 1], area[:, 3], h)[:, :, None]
    masks *= coverage(area[:, 0], area[:, 2], w)[:, None]
    peak = masks.max((1, 2), initial=0, keepdims=True)
    return np.asarray(np.where(peak > MIN_PEAK, masks, masks / np.maximum(peak, 1e-12)), np.float32)
