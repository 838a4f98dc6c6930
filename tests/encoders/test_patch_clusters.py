"""Regions from clusters of similar patches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.encoders.masks.clusters import cluster, one_hot


def scene() -> np.ndarray:
    """An object of 2 x 3 patches and a single patch on a background, with a little noise."""
    kinds = np.zeros((6, 8), int)
    kinds[1:3, 1:4] = 1
    kinds[4, 6] = 2
    noise = np.random.default_rng(0).normal(0, 0.05, (6, 8, 16))
    return (np.eye(3, 16)[kinds] + noise).astype(np.float32)


def test_objects_are_found() -> None:
    labels = cluster(scene(), threshold=0.8)
    assert labels.max() == 2
    assert labels[0, 0] == 0
    assert (labels[1:3, 1:4] == 1).all()
    assert (labels == 1).sum() == 6
    assert (labels == 2).sum() == 1
    masks = one_hot(labels)
    assert masks.shape == (3, 6, 8)
    np.testing.assert_array_equal(masks.sum(0), 1)


def test_small_and_surplus_regions_are_merged() -> None:
    assert cluster(scene(), threshold=0.8, min_patches=2).max() == 1
    assert cluster(scene(), threshold=0.8, max_regions=2).max() == 1
    assert cluster(scene(), threshold=0.8, max_regions=1).max() == 0
    assert (
        cluster(np.zeros((3, 3, 4), np.float32), threshold=0.5).max() == 8
    )  # zero vectors are not similar to anything
    assert cluster(np.ones((1, 1, 4), np.float32), threshold=0.5).tolist() == [[0]]


@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.9), st.integers(1, 4), st.none() | st.integers(1, 9))
def test_regions_are_connected_and_deterministic(
    seed: int, threshold: float, min_patches: int, max_regions: int | None
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(6, 7, 5)).astype(np.float32)
    labels = cluster(features, threshold=threshold, min_patches=min_patches, max_regions=max_regions)
    np.testing.assert_array_equal(
        labels, cluster(features.copy(), threshold=threshold, min_patches=min_patches, max_regions=max_regions)
    )
    sizes = np.bincount(labels.ravel())
    assert (sizes >= min_patches).all()
    assert max_regions is None or len(sizes) <= max_regions
    first = [int(np.flatnonzero(labels.ravel() == i)[0]) for i in range(len(sizes))]
    assert first == sorted(first)
    for i in range(len(sizes)):
        inside = labels == i
        reached = np.zeros_like(inside)
        reached.ravel()[first[i]] = True
        for _ in range(inside.size):
            grown = reached.copy()
            grown[1:] |= reached[:-1]
            grown[:-1] |= reached[1:]
            grown[:, 1:] |= reached[:, :-1]
            grown[:, :-1] |= reached[:, 1:]
            reached = grown & inside
        assert (reached == inside).all()


def test_similar_neighbours_end_in_one_region() -> None:
    row = np.array([[1, 0], [0.99, 0.14], [0.95, 0.3], [0, 1]], np.float32)[None]
    assert cluster(row, threshold=0.9).tolist() == [[0, 0, 0, 1]]
    assert pytest.approx(1) == np.linalg.norm(row[0, 0])
