"""Naming every pixel of a frame from region tokens: arrays in, labels out.

Two ways to spread the scores of regions over the frame, for T-REN's paper and its code say different things
(arXiv 2604.18573, section 4.3): `hard_labels` gives a region the class that its track's token is most like,
`soft_votes` lets all regions of a place vote with all their scores. `dense_scores` is open-vocabulary segmentation
without regions (section 4.2): each point by its own tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import stretching, unit
from ..records import Float32

UNLABELLED = -1
"""Where `hard_labels` has no region to go by."""

Labels = NDArray[np.int32]


def class_scores(tokens: Float32, classes: Float32) -> Float32:
    """Cosines `(n, C)` of text tokens `(n, Dt)` and vectors of classes `(C, Dt)`, any norm; 0 for a zero token."""
    return unit(tokens) @ unit(classes).T


def soft_votes(masks: Float32, scores: Float32, elsewhere: Float32 | None = None) -> Float32:
    """Score of each class in each cell, `(C, h, w)`: sum(score x mask) / sum(mask) over the regions there.

    masks `(M, h, w)` not negative, scores `(M, C)`: of the regions' tracks for the whole video, of the regions
    themselves for one frame. elsewhere `(C,)`: the scores of a cell that no mask touches; the authors' code comes to
    the mean over all tracks of the video there, also of those not in the frame. By default the mean of `scores`.
    """
    m, h, w = masks.shape
    if elsewhere is None:
        elsewhere = scores.mean(axis=0) if m else np.zeros(scores.shape[1], np.float32)
    flat = masks.reshape(m, h * w)
    weight = flat.sum(axis=0)
    votes = np.where(weight > 0, scores.T @ flat / np.where(weight > 0, weight, 1), elsewhere[:, None])
    return votes.astype(np.float32).reshape(-1, h, w)


def decoupled(scores: Float32, things: NDArray[np.bool_], temperature: float) -> Float32:
    """`scores` `(n, C)` with things and stuff apart, after DenseVLM (arXiv 2412.06244, Eqs. 3 and 4, there for
    training): a region that is rather a thing is compared with things only, any other with all classes.

    things `(C,)` bool. A region is rather a thing when the softmax at `temperature` gives the things together more than
    half; it then scores every stuff as low as the class that it is least like.
    """
    if not things.any() or things.all() or not len(scores):
        return scores
    wide = np.exp((scores - scores.max(axis=1, keepdims=True)) / np.float32(temperature))
    rather = wide[:, things].sum(axis=1) > wide[:, ~things].sum(axis=1)
    out = scores.copy()
    out[np.ix_(rather, ~things)] = scores[rather].min(axis=1, keepdims=True)
    return out


def dense_scores(tokens: Float32, classes: Float32, grid: tuple[int, int]) -> Float32:
    """Score of each class at each point of a grid (h, w), `(C, h, w)`: cosines with the mean of the point's k text
    tokens, tokens `(h * w, k, Dt)`, points in rows first."""
    if len(tokens) != grid[0] * grid[1]:
        raise ValueError(f"{len(tokens)} points are no grid of {grid[0]} x {grid[1]}")
    return np.ascontiguousarray(class_scores(tokens.mean(axis=1), classes).T).reshape(-1, *grid)


def best_class(votes: Float32, height: int, width: int) -> Labels:
    """The class with the best score at each pixel, `(height, width)` int32, of votes `(C, h, w)` stretched bilinearly.

    The first of equals. One class at a time: memory is a few times the picture, however many classes there are.
    """
    if not len(votes):
        raise ValueError("no class to choose from")
    down, right = stretching(votes.shape[1], height), stretching(votes.shape[2], width).T
    best = down @ votes[0] @ right
    labels = np.zeros((height, width), np.int32)
    for index, scores in enumerate(votes[1:], 1):
        pixels = down @ scores @ right
        better = pixels > best
        labels[better] = index
        np.copyto(best, pixels, where=better)
    return labels


def hard_labels(masks: Float32, scores: Float32, height: int, width: int) -> Labels:
    """The paper's rule, `(height, width)` int32: every region has the class that its track is most like, and a pixel
    that of the region whose mask, stretched bilinearly, is the largest there (the first of equals). UNLABELLED where
    no mask reaches. masks `(M, h, w)` not negative, scores `(M, C)` of the regions' tracks."""
    if not len(masks):
        return np.full((height, width), UNLABELLED, np.int32)
    # A region that is nowhere comes first and wins where all are zero.
    regions = best_class(np.concatenate([np.zeros_like(masks[:1]), masks]), height, width)
    classes = np.concatenate([[UNLABELLED], scores.argmax(axis=1)]).astype(np.int32)
    return np.asarray(classes[regions], dtype=np.int32)
