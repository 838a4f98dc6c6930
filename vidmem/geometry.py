"""Boxes and masks: small array functions that more than one layer needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .records import Box, Float32


def unit(rows: Float32) -> Float32:
    """`(..., D)` float32 at length 1; a row of zeros stays one."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, np.float32(1e-12)), dtype=np.float32)


def box_iou(boxes: Float32, others: Float32 | Box) -> Float32:
    """Intersection over union of boxes `(..., 4)` with others `(..., 4)`, broadcast against each other: `(...)`
    float32; 0 for empty ones."""
    a, b = np.asarray(boxes), np.asarray(others)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    return np.where(union > 0, inter / np.maximum(union, 1e-12), 0).astype(np.float32)


def cell_share(box: Box, grid: tuple[int, int], width: float, height: float) -> Float32:
    """How much of each cell of a `(h, w)` grid over a `width` x `height` picture lies in `box`: `(h, w)` in [0, 1]."""
    h, w = grid

    def along(low: float, high: float, size: float, cells: int) -> NDArray[np.float64]:
        edges = np.linspace(0, size, cells + 1)
        return np.clip((np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)) / (size / cells), 0, 1)

    return np.outer(along(box[1], box[3], height, h), along(box[0], box[2], width, w)).astype(np.float32)


def mask_boxes(masks: Float32, frame_width: int, frame_height: int, *, binarise: float = 0.5) -> Float32:
    """Boxes `(n, 4)` float32 x0, y0, x1, y1 in pixels around what masks `(n, h, w)` hold.

    A mask holds a patch when its max-normalised value exceeds `binarise`. An edge lies where the largest value along
    its side, drawn through the centres of the patches, crosses `binarise`: finer than a patch where a mask fades, at
    the border of the patches where it is 0 or 1. An empty mask has the box 0, 0, 0, 0.
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
    """Where each row of profile `(n, cells)` first rises above its limit `(n,)`, in cells from the left: between the
    centres of the last cell below and of the first one above; 0 when that is the first of all."""
    first = on.argmax(axis=1)
    rows = np.arange(len(profile))
    below, above = profile[rows, np.maximum(first - 1, 0)], profile[rows, first]
    rise = (limit - below) / np.maximum(above - below, np.float32(1e-12))
    return np.where(first > 0, first - 0.5 + rise, 0).astype(np.float32)


def binarised(flat: Float32, binarise: float) -> NDArray[np.bool_]:
    """Which patches `(n, p)` masks `(n, p)` hold: those whose share of the mask's maximum exceeds `binarise`."""
    peak = flat.max(axis=1, initial=0)
    if not np.isfinite(peak).all():
        raise ValueError("a region mask holds a value that is not finite; the encoder's output is damaged")
    return np.asarray(flat > np.float32(binarise) * peak[:, None])


def connected(masks: NDArray[np.bool_], seeds: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Of masks `(n, h, w)` the 4-connected part that holds the cell `seeds (n,)`, a flat index of `(h, w)`; a mask that
    does not hold its seed is all False.

    Works on runs of cells in a row, of all masks at once: some thousand, where there are a hundred thousand cells.
    """
    n, h, w = masks.shape
    apart = np.zeros((n, h + 1, w + 1), np.int8)  # a rim that no run crosses
    apart[:, :h, :w] = masks
    steps = np.diff(apart.ravel(), prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    # Runs of the next row that lie under each run follow one another: those from `low` on, `count` of them.
    low = np.searchsorted(ends, starts + (w + 1), side="right")
    count = np.searchsorted(starts, ends + (w + 1), side="left") - low
    upper = np.repeat(np.arange(len(starts)), count)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    part, before = np.arange(len(starts)), None
    while before is None or not np.array_equal(part, before):  # the least number of a part spreads, by ever more
        before = part.copy()
        least = np.minimum(part[upper], part[lower])
        np.minimum.at(part, before[upper], least)
        np.minimum.at(part, before[lower], least)
        part = part[part]
    at = np.arange(n) * ((h + 1) * (w + 1)) + seeds // w * (w + 1) + seeds % w
    run = np.searchsorted(starts, at, side="right") - 1
    held = (run >= 0) & (at < ends[run]) if len(ends) else np.zeros(n, np.bool_)
    kept = np.isin(part, part[run[held]])
    steps = np.zeros(apart.size, np.int8)
    steps[starts[kept]], steps[ends[kept]] = 1, -1
    out: NDArray[np.bool_] = np.cumsum(steps, dtype=np.int8).astype(np.bool_).reshape(apart.shape)[:, :h, :w]
    return out


def part_at(masks: Float32, points: Float32) -> Float32:
    """Masks `(n, h, w)` in [0, 1] without what they hold, above one half, apart from the part that its point `(n, 2)`,
    x, y in [0, 1], lies in; where it lies in none, apart from that of the peak. What is left of several has
    a peak of 1. Things alike answer one prompt together; this leaves the one that was meant."""
    n, h, w = masks.shape
    held, rows = masks > 0.5, np.arange(n)
    x, y = np.clip((points * (w, h)).astype(np.intp), 0, (w - 1, h - 1)).T
    seeds = y * w + x
    astray = np.flatnonzero(~held[rows, y, x])
    seeds[astray] = masks[astray].reshape(len(astray), h * w).argmax(1)
    part = connected(held, seeds)
    many = np.flatnonzero((part != held).any((1, 2)))  # the others are left as they are
    out = masks.copy()
    mine, own = masks[many], part[many]
    peak = np.where(own, mine, np.float32(0)).max((1, 2), initial=0)[:, None, None]
    rest = np.where(held[many], np.float32(0), np.minimum(mine, peak / 2))
    out[many] = np.where(own, mine, rest) / peak
    return out


def nearest(picture: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    """The values of `(H, W)` at another size, `(height, width)`: that of the pixel under the middle of each new one."""
    rows = (2 * np.arange(height) + 1) * picture.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * picture.shape[1] // (2 * width)
    # Columns first, on the few rows that there are: then whole rows are copied, ten times as fast as pixels are.
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
