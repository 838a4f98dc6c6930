"""Regions without a segmenter: neighbouring patches joined while they are alike.

Plain agglomeration over the patch grid, in rounds: every region names the neighbour that it is most like, and those
that name each other are joined. No seed and no chance in it; ties go to the lower number. A round joins at least the
most alike pair, so some log2(N) rounds do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...records import Float32

Labels = NDArray[np.int64]


def cluster(features: Float32, *, threshold: float, least: int = 1, most: int | None = None) -> Labels:
    """features `(h, w, D)` -> labels `(h, w)` int64, 0, 1, ... in reading order of their first patches; each region
    is connected (patches that share a side).

    threshold: least cosine between the means of two regions that are joined. least: regions of fewer patches are
    joined to whom they are most like, whatever the cosine. most: so are the most alike when more regions are left.
    """
    h, w, _ = features.shape
    unit = features.reshape(h * w, -1).astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    index = np.arange(h * w).reshape(h, w)
    pairs = np.concatenate(
        [
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1),
            np.stack([index[:-1].ravel(), index[1:].ravel()], 1),
        ]
    )
    labels, sums, sizes = np.arange(h * w), unit, np.ones(h * w, np.int64)
    while len(sizes) > 1:
        edges = np.unique(np.sort(labels[pairs], axis=1), axis=0)
        edges = edges[edges[:, 0] != edges[:, 1]]
        means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        alike = np.einsum("ed,ed->e", means[edges[:, 0]], means[edges[:, 1]])
        small = (sizes[edges] < least).any(axis=1)
        allowed = (alike >= threshold) | small
        if not allowed.any():
            if most is None or len(sizes) <= most:
                break
            # Only the best pairs, as many as are too many: a round must not overshoot.
            surplus = len(sizes) - most
            allowed = np.zeros(len(edges), bool)
            allowed[np.argsort(-alike, kind="stable")[:surplus]] = True
        joined = _mutual(edges[allowed], alike[allowed], len(sizes))
        labels = joined[labels]
        count = int(joined.max()) + 1
        new_sums, new_sizes = np.zeros((count, sums.shape[1])), np.zeros(count, np.int64)
        np.add.at(new_sums, joined, sums)
        np.add.at(new_sizes, joined, sizes)
        sums, sizes = new_sums, new_sizes
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return np.asarray(order[inverse].reshape(h, w))


def _mutual(edges: Labels, alike: NDArray[np.float64], count: int) -> Labels:
    """New numbers of `count` regions after those joined that are each other's best along `edges` `(E, 2)`."""
    both = np.concatenate([edges, edges[:, ::-1]])
    # Sorted by region, best first, ties to the lower pair of numbers: a total order on pairs, so that the best of all
    # is surely mutual.
    low, high = both.min(axis=1), both.max(axis=1)
    order = np.lexsort((high, low, -np.concatenate([alike, alike]), both[:, 0]))
    regions, at = np.unique(both[order, 0], return_index=True)
    best = np.arange(count)
    best[regions] = both[order[at], 1]
    own = np.arange(count)
    mutual = best[best] == own
    parent = np.where(mutual, np.minimum(own, best), own)
    return np.asarray(np.unique(parent, return_inverse=True)[1], np.int64)


def one_hot(labels: Labels) -> Float32:
    """Labels `(h, w)` -> masks `(n, h, w)` float32, 0 or 1."""
    return np.asarray(labels[None] == np.arange(labels.max() + 1)[:, None, None], np.float32)
