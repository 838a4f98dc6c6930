"""Labels per pixel, and the region that is meant, against recordings of TextRegion's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.geometry import box_iou
from vidmem.query.region_scores import dense, largest_part, mask_box, parts, referred, without_small_parts


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    path = Path(__file__).parents[1] / "golden" / "textregion" / "textregion_golden.npz"
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file if name.startswith(("ref_", "reason_"))}


@pytest.mark.golden
def test_several_objects_are_found_as_recorded(golden: dict[str, NDArray[np.float32]]) -> None:
    h, w = golden["reason_pred"].shape
    labels, share = dense(golden["reason_logits"], golden["reason_masks"], uncovered=0, size=(h, w))
    np.testing.assert_array_equal(labels, golden["reason_pred"])
    np.testing.assert_allclose(share.max(axis=0), golden["reason_prob"], atol=1e-5)


@pytest.mark.golden
def test_the_region_that_is_meant_is_the_recorded_one(golden: dict[str, NDArray[np.float32]]) -> None:
    mask = golden["ref_mask"].astype(np.float32)
    found = referred(np.array([0.1, 0.9], np.float32), np.stack([1 - mask, mask]))
    assert found is not None
    best, part, box = found
    assert best == 1
    np.testing.assert_array_equal(part, golden["ref_clean"])
    np.testing.assert_array_equal(without_small_parts(mask > 0, 100), golden["ref_clean_min100"])
    last = golden["ref_box_xyxy"] + np.array([0, 0, 1, 1])  # recorded with the last pixel inside
    assert box == tuple(last)
    x, y, w, h = golden["ref_props_xywh"].T
    boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
    # Their IoU, of a box that ends a pixel early.
    early = (box[0], box[1], box[2] - 1, box[3] - 1)
    np.testing.assert_allclose(box_iou(boxes, early), golden["ref_ious"], atol=1e-6)


def test_without_masks_nothing_crashes() -> None:
    labels, share = dense(np.zeros((0, 3), np.float32), np.zeros((0, 4, 5), np.float32), uncovered=2)
    assert (labels == 2).all()
    assert dense(np.zeros((0, 3), np.float32), np.zeros((0, 4, 5), np.float32))[1] == pytest.approx(1 / 3)
    assert share.shape == (3, 4, 5)
    assert referred(np.zeros(0, np.float32), np.zeros((0, 4, 5), np.float32)) is None
    assert referred(np.ones(1, np.float32), np.zeros((1, 4, 5), np.float32)) is None
    assert not largest_part(np.zeros((3, 3), bool)).any()
    assert not without_small_parts(np.zeros((3, 3), bool), 2).any()
    assert mask_box(np.zeros((3, 3), bool)) is None


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_parts_are_those_of_a_flood(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((9, 11)) < share
    labels = parts(mask)
    assert ((labels >= 0) == mask).all()
    for y, x in np.argwhere(mask):
        around = labels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert set(around[around >= 0].tolist()) == {labels[y, x]}
    for number in range(labels.max() + 1 if mask.any() else 0):
        todo = [tuple(np.argwhere(labels == number)[0])]
        seen = set(todo)
        while todo:
            y, x = todo.pop()
            near = [(a, b) for a in range(y - 1, y + 2) for b in range(x - 1, x + 2)]
            new = {p for p in near if 0 <= p[0] < 9 and 0 <= p[1] < 11 and mask[p]} - seen
            seen |= new
            todo += new
        assert len(seen) == (labels == number).sum()
