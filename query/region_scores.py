"""Answers on one picture: which region is meant, which pixel is what. Plain functions after TextRegion, sections 3.2
and 4; the scores come from an encoder.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import stretching
from ..records import Box, Float32, RegionTokens

Bools = NDArray[np.bool_]
TEMPERATURE = 50.0
"""Of the softmax over labels, in the authors' code; the paper says 100."""


def dense(
    logits: Float32,
    masks: Float32,
    *,
    temperature: float = TEMPERATURE,
    uncovered: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[NDArray[np.int64], Float32]:
    """Labels `(H, W)` int64 and their probabilities `(C, H, W)` from the regions' cosines to C labels `(R, C)` and soft
    masks `(R, h, w)`: softmax of temperature * sum_r logits_r M_r, masks clamped to [0, 1] (Eq. 4).

    size: (H, W) that the masks are stretched to, bilinearly, by default their own. uncovered: the label of a region
    more, as in the authors' code: all that is in no mask, with the cosine 1 to that label and 0 to the others; None
    leaves all labels alike there (the first one).
    """
    soft = np.clip(masks, 0, 1).astype(np.float32)
    empty = (~soft.any(axis=0)).astype(np.float32)
    if size is not None:
        down, across = stretching(soft.shape[1], size[0]), stretching(soft.shape[2], size[1]).T
        soft, empty = (np.asarray(down @ each @ across, np.float32) for each in (soft, empty))
    scores = temperature * np.einsum("rc,rhw->chw", logits.astype(np.float32), soft)
    if uncovered is not None:
        scores[uncovered] += temperature * empty
    scores -= scores.max(axis=0, keepdims=True)
    share = np.exp(scores)
    share /= share.sum(axis=0, keepdims=True)
    return share.argmax(axis=0), np.asarray(share, np.float32)


def referred(scores: Float32, masks: Float32 | Bools) -> tuple[int, Bools, Box] | None:
    """The region of the highest score `(R,)`, its largest connected part `(H, W)` in masks `(R, H, W)` > 0, and that
    part's box; None when there is no region or the best one is empty."""
    if not len(scores):
        return None
    best = int(scores.argmax())
    part = largest_part(masks[best] > 0)
    box = mask_box(part)
    return None if box is None else (best, part, box)


def mask_box(mask: Bools) -> Box | None:
    """The box x0, y0, x1, y1 around a mask, x1 and y1 exclusive; None when it is empty."""
    y, x = np.nonzero(mask)
    if not len(x):
        return None
    return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)


def largest_part(mask: Bools) -> Bools:
    """Of a mask `(H, W)` its largest connected part, of two the upper; corners connect."""
    labels = parts(mask)
    sizes = np.bincount(labels[mask], minlength=1)
    if not mask.any():
        return np.zeros_like(mask)
    return np.asarray(mask & (labels == sizes.argmax()))


def without_small_parts(mask: Bools, least: int) -> Bools:
    """The mask without connected parts of fewer than `least` pixels."""
    labels = parts(mask)
    sizes = np.bincount(labels[mask], minlength=1)
    return np.asarray(mask & (sizes >= least)[np.maximum(labels, 0)])


def parts(mask: Bools) -> NDArray[np.int64]:
    """Numbers of the connected parts of a mask `(H, W)`, 0, 1, ... in reading order, -1 outside; corners connect.

    Works on runs, the stretches of a row that are inside: few, so that a union of them one by one costs little.
    """
    h, w = mask.shape
    padded = np.zeros((h, w + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # exclusive
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    # A run touches those of the next row that begin at most one past its end and end at least at its start. Runs are
    # sorted, so they are a slice; a row's width apart, rows do not mix.
    line = rows * (w + 2)
    first = np.searchsorted(line + ends, line + w + 2 + starts, side="left")
    last = np.searchsorted(line + starts, line + w + 2 + ends, side="right")
    for i in range(len(rows)):
        for j in range(first[i], last[i]):
            if rows[j] == rows[i] + 1:
                a, b = root(i), root(j)
                parent[max(a, b)] = min(a, b)
    roots = np.array([root(i) for i in range(len(rows))], np.int64)
    numbers = np.unique(roots, return_inverse=True)[1] if len(roots) else roots
    out = np.full((h, w), -1, np.int64)
    out[mask] = np.repeat(numbers, ends - starts)
    return out


HELD = 0.5
"""A region holds the cells in which its mask is more than this share of its peak, as its box has them."""


def by_regions(found: RegionTokens, vector: Float32) -> Float32:
    """The cosines of regions to a unit vector `(Dt,)` over the patches that they hold `(h, w)`: of the one that is most
    like it, NaN where there is none. A mean over all would drown a small thing in the regions around it."""
    held = held_cells(found.masks)
    best = np.full(held.shape[1:], np.nan, np.float32)
    for cosine, cells in zip(cosines(found, vector[None])[:, 0], held, strict=True):
        best[cells] = np.fmax(best[cells], cosine)
    return best


def cosines(found: RegionTokens, vectors: Float32) -> Float32:
    """Of the regions with unit vectors `(n, Dt)`: `(M, n)` float32; of a token shorter than 1, the cosine times its
    length, which is how sure it is (see `ViewTokens`)."""
    lengths = np.maximum(np.linalg.norm(found.text, axis=1, keepdims=True), 1)
    return np.asarray(found.text / lengths @ vectors.T, np.float32)


def held_cells(masks: Float32) -> NDArray[np.bool_]:
    """The cells that each of the masks `(M, h, w)` holds."""
    peak = masks.max(axis=(1, 2), keepdims=True, initial=0)
    return np.asarray((masks > HELD * peak) & (peak > 0))
