"""Why there: cosines over a frame, in colour and in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from vidmem.errors import UsageError
from vidmem.query.drawing import heading_height
from vidmem.query.explain import by_regions, explain
from vidmem.records import RegionTokens


def regions(masks: np.ndarray, text: np.ndarray) -> RegionTokens:
    m = len(masks)
    return RegionTokens(text, text, masks, np.zeros((m, 2), np.float32), np.zeros((m, 4), np.float32),
                        np.zeros(m, np.float32))  # fmt: skip


def test_each_patch_has_the_best_of_its_regions() -> None:
    masks = np.zeros((3, 2, 3), np.float32)
    masks[0, :, :2] = 0.8
    masks[1, 0, 0] = 0.4
    masks[1, 0, 1] = 0.1  # less than half of its peak
    text = np.array([[2, 0], [3, 3], [1, 0]], np.float32)  # the last region holds nothing
    found = by_regions(regions(masks, text), np.array([0, 1], np.float32))
    np.testing.assert_allclose(found, [[0.5**0.5, 0, np.nan], [0, 0, np.nan]], atol=1e-6)


def test_numbers_beside_the_box_and_colours_over_the_frame() -> None:
    cosines = np.full((4, 6), 0.1, np.float32)
    cosines[1:3, 2:4] = 0.3
    image = np.full((40, 60, 3), 128, np.uint8)
    explained = explain(image, (20, 10, 40, 30), cosines, "red cup", "patches")
    assert explained.inside is not None
    assert explained.outside is not None
    assert explained.low == pytest.approx(0.1)
    assert explained.high == pytest.approx(0.3)
    assert explained.inside > 0.25
    assert 0.1 < explained.outside < 0.12
    sheet = np.asarray(explained.picture)
    assert sheet.shape[1] == 960
    top, left, scale = heading_height([""]), 16, 928 / 60
    hot = sheet[top + int(20 * scale), left + int(30 * scale)].astype(int)
    cold = sheet[top + int(2 * scale), left + int(2 * scale)].astype(int)
    assert hot[0] > hot[2] + 60
    assert np.abs(cold - 128).max() <= 2  # where it is cold the picture stays


def test_what_no_region_holds_does_not_count() -> None:
    cosines = np.full((2, 2), np.nan, np.float32)
    cosines[0, 0] = 0.4
    image = np.zeros((20, 20, 3), np.uint8)
    explained = explain(image, (0, 0, 10, 10), cosines, "cup", "regions")
    assert explained.inside == pytest.approx(0.4)
    assert explained.outside is None
    assert explain(image, (10, 10, 20, 20), cosines, "cup", "regions").inside is None
    assert explain(image, (0, 0, 20, 20), np.full((2, 2), 0.2, np.float32), "cup", "patches").outside is None


def test_a_frame_without_regions_fails() -> None:
    with pytest.raises(UsageError, match="finds no region in that frame"):
        explain(np.zeros((20, 20, 3), np.uint8), (0, 0, 5, 5), np.full((2, 2), np.nan, np.float32), "cup", "regions")
