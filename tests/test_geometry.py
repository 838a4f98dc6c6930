"""Boxes and masks against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.geometry import binarised, box_iou, cell_share, mask_boxes, unit
from vidmem.records import Box

CORNERS = st.tuples(*[st.integers(0, 20)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


def pixels(box: Box) -> set[tuple[int, int]]:
    x0, y0, x1, y1 = map(int, box)
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


@given(st.lists(CORNERS, max_size=5), CORNERS)
def test_iou_counts_pixels(boxes: list[Box], box: Box) -> None:
    found = box_iou(np.array(boxes, np.float32).reshape(-1, 4), box)
    assert found.dtype == np.float32
    for value, other in zip(found, boxes, strict=True):
        union = pixels(box) | pixels(other)
        assert value == pytest.approx(len(pixels(box) & pixels(other)) / len(union) if union else 0, abs=1e-6)


@given(CORNERS, st.integers(1, 5), st.integers(1, 5))
def test_cell_share_counts_pixels(box: Box, h: int, w: int) -> None:
    share = cell_share(box, (h, w), w * 4, h * 4)
    inside = np.zeros((h * 4, w * 4))
    for x, y in pixels(box):
        if x < w * 4 and y < h * 4:
            inside[y, x] = 1
    np.testing.assert_allclose(share, inside.reshape(h, 4, w, 4).mean((1, 3)), atol=1e-6)


@pytest.mark.parametrize("box", [(30, 30, 40, 40), (-9, -9, 0, 0), (5, 5, 5, 9)])
def test_a_box_outside_or_empty_covers_nothing(box: Box) -> None:
    assert not cell_share(box, (3, 4), 16, 12).any()


def test_mask_boxes_by_hand() -> None:
    masks = np.zeros((4, 3, 4), np.float32)
    masks[0, 1, 2] = 1
    # max .2, more than half of it counts: right of .2 the column's .11 counts too, its edge lies where .11 falls to .1
    masks[1, 0:2, 1:3] = [[0.2, 0.05], [0.1, 0.11]]
    masks[2] = 0.3
    right, low = 100 * (2.5 + 0.01 / 0.11), 50 * (1.5 + 0.01 / 0.11)
    expected = [[200, 50, 300, 100], [100, 0, right, low], [0, 0, 400, 150], [0, 0, 0, 0]]
    np.testing.assert_allclose(mask_boxes(masks, 400, 150), expected, rtol=1e-6)


@given(st.floats(3, 5), st.floats(0.2, 2))
def test_boxes_of_fading_masks_are_finer_than_a_patch(centre: float, half: float) -> None:
    """Shares of patches under an interval: what a fading rim says of where it ends is off by a third of a patch at
    most; whole patches are off by up to one half."""
    low, high = centre - half, centre + half
    share = np.clip(np.minimum(np.arange(1, 9), high) - np.maximum(np.arange(8), low), 0, 1)
    if share.max() < 1:  # narrower than a patch: its largest value stands for the whole
        return
    (box,) = mask_boxes(share.astype(np.float32).reshape(1, 1, 8), 8, 1)
    assert abs(box[0] - low) <= 0.34
    assert abs(box[2] - high) <= 0.34


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**16))
def test_mask_boxes_are_the_tightest(h: int, w: int, seed: int) -> None:
    masks = (np.random.default_rng(seed).random((5, h, w)) < 0.3).astype(np.float32)
    boxes = mask_boxes(masks, w * 10, h * 10)
    for mask, box in zip(masks, boxes, strict=True):
        ys, xs = np.nonzero(mask)
        tight = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0)
        np.testing.assert_allclose(box, np.array(tight) * 10)


def test_no_masks_have_no_boxes() -> None:
    assert mask_boxes(np.empty((0, 3, 4), np.float32), 10, 10).shape == (0, 4)
    assert binarised(np.empty((0, 12), np.float32), 0.5).shape == (0, 12)


def test_half_the_maximum_is_not_held() -> None:
    assert binarised(np.array([[0.5, 1.0, 0.51], [0, 0, 0]], np.float32), 0.5).tolist() == [
        [False, True, True],
        [False] * 3,
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_mask_that_is_not_finite_fails(value: float) -> None:
    with pytest.raises(ValueError, match="a region mask has a value that is not finite"):
        mask_boxes(np.array([[[0, value]]], np.float32), 10, 10)


def test_unit_rows_keep_their_direction_and_zeros() -> None:
    rows = unit(np.array([[3, 4], [0, 0], [-2, 0]], np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)
