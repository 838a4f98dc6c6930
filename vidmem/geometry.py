"""Boxes and masks: small functions on arrays that several packages share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .records import Box, Float32


def unit(rows: Float32) -> Float32:
    """Scale rows `(..., D)` to unit length; a row of zeros stays zeros."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, np.float32(1e-12)), dtype=np.float32)


def box_iou(boxes: Float32, others: Float32 | Box) -> Float32:
    """Intersection over union of boxes `(..., 4)` and others `(..., 4)`, broadcast: `(...)` float32, 0 for empty
    boxes."""
    a, b = np.asarray(boxes), np.asarray(others)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    return np.where(union > 0, inter / np.maximum(union, 1e-12), 0).astype(np.float32)


def cell_share(box: Box, grid: tuple[int, int], width: float, height: float) -> Float32:
    """Share of each grid cell that a box covers.

    Args:
        box: x0, y0, x1, y1 in pixels.
        grid: Rows and columns, (h, w).
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Returns:
        `(h, w)` float32 in [0, 1].
    """
    h, w = grid

    def along(low: float, high: float, size: float, cells: int) -> NDArray[np.float64]:
        edges = np.linspace(0, size, cells + 1)
        return np.clip((np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)) / (size / cells), 0, 1)

    return np.outer(along(box[1], box[3], height, h), along(box[0], box[2], width, w)).astype(np.float32)


def mask_boxes(masks: Float32, frame_width: int, frame_height: int, *, binarise: float = 0.5) -> Float32:
    """Boxes `(n, 4)` float32 x0, y0, x1, y1 in pixels around masks `(n, h, w)` on the patch grid.

    A patch is inside where the mask, divided by its maximum, exceeds `binarise`. An edge lies where the maximum along
    its side, interpolated between the centres of the patches, crosses `binarise`: finer than a patch where a mask
    fades, at the border of a patch where it is 0 or 1. An empty mask has the box 0, 0, 0, 0.

    Args:
        masks: `(n, h, w)` float32.
        frame_width: In pixels.
        frame_height: In pixels.
        binarise: Share of a mask's maximum.
    """
    n, h, w = masks.shape
    held = binarised(masks.reshape(n, h * w), binarise).reshape(n, h, w)
    limit = np.float32(binarise) * masks.reshape(n, h * w).max(axis=1, initial=0)
    boxes = np.empty((n, 4), dtype=np.float32)
    for axis, (cells, size) in enumerate(((w, frame_width), (h, frame_height))):
        profile, on = masks.max(axis=1 + axis, initial=0), np.asarray(held.any(axis=1 + axis))  # (n, cells)
        boxes[:, axis] = _first_edge(profile, on, limit) * (size / cells)
        boxes[:, axis + 2] = (cells - _first_edge(profile[:, ::-1], on[:, ::-1], limit)) * (size / cells)
    boxes[~held.any(axis=(1, 2))] = 0
    return boxes


def _first_edge(profile: Float32, on: NDArray[np.bool_], limit: Float32) -> Float32:
    """Where each row of profile `(n, cells)` first rises above its limit `(n,)`, in cells from the left.

    Interpolated between the centres of the last cell below and the first one above; 0 if the first cell is above."""
    first = on.argmax(axis=1)
    rows = np.arange(len(profile))
    below, above = profile[rows, np.maximum(first - 1, 0)], profile[rows, first]
    rise = (limit - below) / np.maximum(above - below, np.float32(1e-12))
    return np.where(first > 0, first - 0.5 + rise, 0).astype(np.float32)


def binarised(flat: Float32, binarise: float) -> NDArray[np.bool_]:
    """The patches in each mask `(n, p)`, bool `(n, p)`: values above `binarise` times the mask's maximum."""
    peak = flat.max(axis=1, initial=0)
    if not np.isfinite(peak).all():
        raise ValueError("a region mask has a value that is not finite; the encoder's output is damaged")
    return np.asarray(flat > np.float32(binarise) * peak[:, None])


def nearest(picture: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    """Scale `(H, W)` to `(height, width)` by the nearest pixel to each new centre."""
    rows = (2 * np.arange(height) + 1) * picture.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * picture.shape[1] // (2 * width)
    # Columns first: then whole rows are copied, ten times as fast as single pixels.
    return np.asarray(picture[:, columns][rows])


def stretching(cells: int, pixels: int) -> Float32:
    """The matrix `(pixels, cells)` float32 that stretches a row of cells bilinearly, pixel centres on cell centres and
    the outermost cells held beyond theirs: `stretching(h, H) @ mask @ stretching(w, W).T` is a mask `(H, W)`."""
    at = np.clip((np.arange(pixels) + 0.5) * (cells / pixels) - 0.5, 0, cells - 1)
    low = np.floor(at).astype(np.intp)
    share = (at - low).astype(np.float32)
    out = np.zeros((pixels, cells), np.float32)
    rows = np.arange(pixels)
    out[rows, low] = 1 - share
    out[rows, np.minimum(low + 1, cells - 1)] += share
    return out
