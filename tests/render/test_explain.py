"""Explanations: heat maps and the numbers beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vidmem.config import MergeConfig
from vidmem.encoders import Encoder, ViewEncoder, ViewTokens
from vidmem.errors import UsageError
from vidmem.query.occlusion import Covered, cover
from vidmem.query.single_image import by_regions
from vidmem.records import RegionTokens, View
from vidmem.render.drawing import heading_height
from vidmem.render.explain import explain_cosines, explain_covered


def regions(masks: np.ndarray, text: np.ndarray) -> RegionTokens:
    m = len(masks)
    return RegionTokens(
        text, text, masks, np.zeros((m, 2), np.float32), np.zeros((m, 4), np.float32), np.zeros(m, np.float32)
    )


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
    explained = explain_cosines(image, (20, 10, 40, 30), cosines, "red cup", "patches")
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
    explained = explain_cosines(image, (0, 0, 10, 10), cosines, "cup", "regions")
    assert explained.inside == pytest.approx(0.4)
    assert explained.outside is None
    assert explain_cosines(image, (10, 10, 20, 20), cosines, "cup", "regions").inside is None
    assert explain_cosines(image, (0, 0, 20, 20), np.full((2, 2), 0.2, np.float32), "cup", "patches").outside is None


def test_a_frame_without_regions_fails() -> None:
    with pytest.raises(UsageError, match="finds no region in that frame"):
        explain_cosines(
            np.zeros((20, 20, 3), np.uint8), (0, 0, 5, 5), np.full((2, 2), np.nan, np.float32), "cup", "regions"
        )


class Greens(Encoder, ViewEncoder):
    """An encoder whose score is the share of green in a view. It finds one region."""

    view_pixels, max_views, wants_hint = 64, 1, False
    box = (60.0, 40.0, 120.0, 80.0)

    @property
    def views(self) -> Greens:
        return self

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def encode(self, images: list[np.ndarray], width: int, height: int) -> list[RegionTokens]:
        one, mask = np.ones((1, 2), np.float32), np.ones((1, 4, 6), np.float32)
        box, point, area = (np.array(v, np.float32) for v in ([self.box], [[90, 60]], [0.1]))
        return [RegionTokens(one, one, mask, point, box, area) for _ in images]

    def encode_text(self, phrases: Sequence[str]) -> np.ndarray:
        return np.ones((len(phrases), 2), np.float32)

    def contrast(self, vector: np.ndarray) -> np.ndarray:
        return np.zeros((0, 2), np.float32)

    def look(self, views: list[View]) -> ViewTokens:
        share = [float((v.image[..., 1].astype(int) - v.image[..., 0] > 60).mean()) for v in views]
        text = np.array([[s, 0] for s in share], np.float32)
        return ViewTokens(text, text)


def test_covering_tells_which_part_it_is() -> None:
    """Only the upper right quarter of the box is green; the rest stays cold."""
    image = np.full((120, 180, 3), 128, np.uint8)
    image[40:60, 90:120] = (0, 200, 0)
    covered = cover(Greens(), image, Greens.box, np.array([1, 0], np.float32), MergeConfig())
    assert covered.score > 0.1
    h, w = covered.falls.shape
    assert h > 4
    assert w > 4
    x0, y0, x1, y1 = covered.area
    row, column = np.unravel_index(covered.falls.argmax(), covered.falls.shape)
    assert 90 <= x0 + (column + 0.5) * (x1 - x0) / w <= 120
    assert 40 <= y0 + (row + 0.5) * (y1 - y0) / h <= 60
    assert covered.falls[-1].max() < 0.1 * covered.falls.max()
    assert covered.falls.std() > 0.2 * covered.falls.max()  # not one value all over
    told = explain_covered(image, Greens.box, covered, "green thing")
    assert told.by == "covering"
    assert told.score == covered.score
    assert told.inside is not None
    assert told.outside is not None
    assert told.inside > told.outside
    assert told.picture.width == 960


def test_where_nothing_matters_nothing_glows() -> None:
    image = np.full((120, 180, 3), 128, np.uint8)
    covered = Covered(np.full((4, 6), 0.001, np.float32), (50, 30, 130, 90), 0.8, 20)
    sheet = np.asarray(explain_covered(image, Greens.box, covered, "road").picture).astype(int)
    middle = sheet[100:700, 200:760]
    spread = middle.max(-1) - middle.min(-1)
    assert np.median(spread) < 12  # grey all over, but for the box


@pytest.mark.parametrize("box", [(0, 0, 180, 120), (179, 119, 180, 120), (10, 10, 10, 10), (0, 0, 180, 2)])
def test_any_box_can_be_covered(box: tuple[float, float, float, float]) -> None:
    image = np.full((120, 180, 3), 128, np.uint8)
    covered = cover(Greens(), image, box, np.array([1, 0], np.float32), MergeConfig())
    assert np.isfinite(covered.falls).all()
    explain_covered(image, box, covered, "cup")
