"""Pooling and masks of the second look, against plain loops."""

from __future__ import annotations

import numpy as np

from vidmem.encoders.tiny.box_pooling import part_means
from vidmem.encoders.tiny.region_heads import SHAPE, assemble_masks, bilinear_weights, box_statistics, coverage, widen
from vidmem.geometry import cell_share


def test_part_means_by_hand() -> None:
    features = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)
    (whole,) = part_means(features, np.array([[1, 1, 3, 3]], np.float32), 1)
    assert np.allclose(whole, features[:, 1:3, 1:3].mean((1, 2)))
    (parts,) = part_means(features, np.array([[2, 0, 6, 4]], np.float32), 2)
    wanted = [features[:, y : y + 2, x : x + 2].mean((1, 2)) for y in (0, 2) for x in (2, 4)]
    assert np.allclose(parts, np.concatenate(wanted))


def test_part_means_weigh_cells_by_their_share() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 5, 7)).astype(np.float32)
    for _ in range(20):
        x0, y0 = rng.uniform(0, 4), rng.uniform(0, 2.5)
        box = (x0, y0, x0 + rng.uniform(1, 3), y0 + rng.uniform(1, 2.5))
        share = cell_share(box, (5, 7), 7, 5)
        (mean,) = part_means(features, np.array([box], np.float32), 1)
        assert np.allclose(mean, (features * share).sum((1, 2)) / share.sum(), atol=1e-4)


def test_small_boxes_are_widened_within_the_picture() -> None:
    features = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    boxes = np.array([[3.9, 2.9, 4, 3], [1.4, 1.4, 1.6, 1.6]], np.float32)
    assert np.allclose(part_means(features, boxes, 1)[:, 0], [11, 5])


def test_spread_puts_the_shape_over_the_box() -> None:
    weights = bilinear_weights(np.array([8], np.float32), np.array([8 + 8 * SHAPE], np.float32), SHAPE + 2)
    assert np.allclose(weights[0, 1:-1], np.eye(SHAPE))
    assert np.allclose(weights[0, 0], np.eye(SHAPE)[0])
    assert np.allclose(weights[0, -1], np.eye(SHAPE)[-1])
    assert np.allclose(coverage(np.array([4], np.float32), np.array([20], np.float32), 4), [[0.5, 1, 0.5, 0]])


def test_masks_mix_prototypes_within_their_boxes() -> None:
    prototypes = np.zeros((2, 8, 8), np.float32)
    prototypes[0, :, 4:], prototypes[1, :, :] = 1, 1
    boxes = np.array([[16, 16, 48, 48], [40, 40, 42, 42]], np.float32)
    mix = np.array([[40, -20], [0, -40]], np.float32)
    masks = assemble_masks(prototypes, mix, np.zeros((2, SHAPE * SHAPE), np.float32), boxes, (64, 64))
    edges = widen(boxes, (64, 64))
    assert np.allclose(edges[0], [16 - 7.2, 16 - 7.2, 48 + 7.2, 48 + 7.2])
    held = np.zeros((8, 8), bool)
    held[1:7, 4:7] = True  # 55.2 / 8 = 6.9 cells
    assert np.array_equal(masks[0] > 0.5, held)
    assert masks[1].max() == 1
    assert (masks[1] > 0.5).sum() >= 1


def test_box_statistics_are_finite() -> None:
    boxes, stride = np.array([[0, 0, 5, 5], [3, 3, 3, 3]], np.float32), np.array([8, 32], np.float32)
    rows = box_statistics(np.zeros((2, 80), np.float32), np.zeros((2, 44), np.float32), boxes, stride, (64, 64))
    assert rows.shape == (2, 33)
    assert np.isfinite(rows).all()
    assert box_statistics(
        np.zeros((0, 80), np.float32),
        np.zeros((0, 44), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        (64, 64),
    ).shape == (0, 33)
