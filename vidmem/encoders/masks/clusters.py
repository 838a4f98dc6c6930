"""Regions without a segmenter: similar neighbouring patches are merged.

Agglomerative clustering on the patch grid, in rounds. In each round, two regions are merged if each is the other's most
similar neighbour. The result is deterministic; ties go to the lower number. A round merges at least the most similar
pair, and usually far more, so about log2(N) rounds are enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...records import Float32

Labels = NDArray[np.int64]


def cluster(features: Float32, *, threshold: float, min_patches: int = 1, max_regions: int | None = None) -> Labels:
    """Cluster patches into connected regions (patches that share a side).

    Args:
        features: `(h, w, D)`.
        threshold: Minimum cosine between the means of two regions that are merged.
        min_patches: Smaller regions are merged with their most similar neighbour, whatever the cosine.
        max_regions: If more regions are left, the most similar ones are merged, whatever the cosine.

    Returns:
        Labels `(h, w)` int64: 0, 1, ... in reading order of the regions' first patches.
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
        cosines = np.einsum("ed,ed->e", means[edges[:, 0]], means[edges[:, 1]])
        small = (sizes[edges] < min_patches).any(axis=1)
        allowed = (cosines >= threshold) | small
        if not allowed.any():
            if max_regions is None or len(sizes) <= max_regions:
                break
            # No more pairs than there are surplus regions, so that a round does not merge too much.
            surplus = len(sizes) - max_regions
            allowed = np.zeros(len(edges), bool)
            allowed[np.argsort(-cosines, kind="stable")[:surplus]] = True
        merged = _merge_mutual(edges[allowed], cosines[allowed], len(sizes))
        labels = merged[labels]
        count = int(merged.max()) + 1
        new_sums, new_sizes = np.zeros((count, sums.shape[1])), np.zeros(count, np.int64)
        np.add.at(new_sums, merged, sums)
        np.add.at(new_sizes, merged, sizes)
        sums, sizes = new_sums, new_sizes
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return np.asarray(order[inverse].reshape(h, w))


def _merge_mutual(edges: Labels, cosines: NDArray[np.float64], count: int) -> Labels:
    """New numbers of `count` regions after regions that are each other's best neighbour are merged.

    edges: Pairs of neighbours `(E, 2)`. cosines: `(E,)`.
    """
    both = np.concatenate([edges, edges[:, ::-1]])
    # Sorted by region, then best first, ties to the lower pair of numbers. This is a total order on pairs, so the best
    # pair of all is always mutual.
    low, high = both.min(axis=1), both.max(axis=1)
    order = np.lexsort((high, low, -np.concatenate([cosines, cosines]), both[:, 0]))
    regions, first = np.unique(both[order, 0], return_index=True)
    best = np.arange(count)
    best[regions] = both[order[first], 1]
    numbers = np.arange(count)
    mutual = best[best] == numbers
    parent = np.where(mutual, np.minimum(numbers, best), numbers)
    return np.asarray(np.unique(parent, return_inverse=True)[1], np.int64)


def one_hot(labels: Labels) -> Float32:
    """Turn labels `(h, w)` into masks `(n, h, w)` float32, 0 or 1."""
    return np.asarray(labels[None] == np.arange(labels.max() + 1)[:, None, None], np.float32)
