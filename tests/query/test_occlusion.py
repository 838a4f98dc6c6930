"""How a score falls where the thing is covered, with an encoder whose score is counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.config import MergeConfig
from vidmem.encoders import Encoder, ViewEncoder, ViewTokens
from vidmem.query.occlusion import _ends, _mean_colour, _score, _surroundings, cover
from vidmem.records import Box, Float32, RegionTokens, View

PLAIN = MergeConfig(2.0, 2.0)
UP = np.array([1, 0], np.float32)


class Sees(Encoder, ViewEncoder):
    """Its score is the share of white pixels in the frame, which it remembers from the detection, or as set."""

    view_pixels, max_views, wants_hint = 32, 1, True

    def __init__(self, *boxes: Box, confidence: Sequence[float] | None = None) -> None:
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self.confidence = np.array(confidence or [1] * len(boxes), np.float32)
        self.told: list[View] = []
        self.pictures: list[NDArray[np.uint8]] = []

    @property
    def views(self) -> Sees:
        return self

    def parallel(self) -> AbstractContextManager[int]:
        return nullcontext(1)

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        raise NotImplementedError

    def contrast(self, vector: Float32) -> Float32:
        raise NotImplementedError

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        self.pictures += images
        m = len(self.boxes)
        tokens = np.arange(2 * m, dtype=np.float32).reshape(m, 2)
        masks, points = np.ones((m, 2, 2), np.float32), np.zeros((m, 2), np.float32)
        return [RegionTokens(tokens, tokens, masks, points, self.boxes, points[:, 0], self.confidence)] * len(images)

    def look(self, views: Sequence[View]) -> ViewTokens:
        self.told += views
        score = float((self.pictures[-1] == 255).all(-1).mean())
        tokens = np.array([[score, 0]] * len(views), np.float32)
        return ViewTokens(tokens, tokens)


def test_a_quarter_around_the_box_is_covered_too_within_the_picture() -> None:
    assert _surroundings((40, 20, 80, 60), 200, 100) == (30, 10, 90, 70)
    assert _surroundings((4, 2, 84, 42), 200, 100) == (0, 0, 104, 52)
    assert _surroundings((100, 60, 190, 100), 200, 100) == (77.5, 50, 200, 100)


def test_the_patch_has_the_mean_colour_of_the_area_in_whole_pixels() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[2:4, 5:7] = (200, 100, 40)
    assert _mean_colour(image, (5, 2, 7, 4)).tolist() == [200, 100, 40]
    assert _mean_colour(image, (5.9, 2.9, 6.1, 3.1)).tolist() == [200, 100, 40]
    assert _mean_colour(image, (5, 2, 9, 4)).tolist() == [100, 50, 20]
    assert _mean_colour(image, (5, 2, 7, 6)).tolist() == [100, 50, 20]
    grey = _mean_colour(image, (5, 2, 5, 4))
    assert (grey.dtype, grey.tolist()) == (np.uint8, [128] * 3)


def test_a_patch_covers_three_cells_within_the_area() -> None:
    edges = np.array([1.5, 3.5, 5.5, 7.5, 9.25])
    assert [_ends(edges, first) for first in (-2, -1, 0, 1, 2, 3)] == [
        (1, 4),
        (1, 6),
        (1, 8),
        (3, 10),
        (5, 10),
        (7, 10),
    ]


@pytest.mark.parametrize("corner", ["upper right", "lower left"])
def test_each_cell_has_the_mean_fall_of_the_patches_that_held_it(corner: str) -> None:
    """A white pixel in one cell: all patches over that cell make the score fall by the whole, and no other does."""
    image = np.zeros((32, 32, 3), np.uint8)
    box = (8.0, 8.0, 24.0, 24.0)  # the area is 4 to 28, in cells of 3 pixels
    image[(5, 26) if corner == "upper right" else (26, 5)] = 255
    found = cover(Sees(), image, box, UP, PLAIN)
    assert found.area == (4, 4, 28, 28)
    assert found.patch == 9
    assert found.score == pytest.approx(1 / 1024)
    assert (found.falls.shape, found.falls.dtype) == ((8, 8), np.float32)
    expected = np.zeros((8, 8))
    for row, column in np.ndindex(3, 3):
        # Of the nine patches that hold a cell, those that reach the corner as well.
        expected[row, 7 - column] = (3 - row) * (3 - column) / 9 / 1024
    falls = found.falls if corner == "upper right" else found.falls[::-1, ::-1]
    np.testing.assert_allclose(falls, expected, atol=1e-7)


def test_cells_are_at_least_a_pixel_and_as_square_as_the_area_lets_them_be() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    found = cover(Sees(), image, (20, 16, 24, 18), UP, PLAIN)
    assert (found.area, found.patch, found.falls.shape) == ((19, 15.5, 25, 18.5), 3, (3, 6))
    wide = cover(Sees(), image, (8, 10, 72, 20), UP, PLAIN)  # an area of 80 x 15
    side = (80 * 15) ** 0.5 / 8
    assert wide.falls.shape == (round(15 / side), round(80 / side))
    assert wide.patch == pytest.approx(3 * side)
    assert cover(Sees(), image, (30, 30, 30, 30), UP, PLAIN).falls.shape == (1, 1)


def test_the_picture_itself_stays_as_it_is() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[10:20, 10:20] = 255
    before = image.copy()
    cover(Sees(), image, (8, 8, 24, 24), UP, PLAIN)
    np.testing.assert_array_equal(image, before)


def test_a_look_has_the_hint_of_the_region_that_fits() -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    encoder = Sees((0, 0, 4, 4), (10, 8, 30, 24), confidence=[0.9, 0.7])
    _score(encoder, image, (10, 8, 30, 24), UP, PLAIN)
    (view,) = encoder.told
    assert (view.box, view.frame_size, view.t_ns) == ((10, 8, 30, 24), (64, 32), 0)
    assert (view.hint.tolist(), view.confidence) == ([2, 3], pytest.approx(0.7))
    assert view.image.shape == (20, 24, 3)  # a tenth around it, in whole pixels


@pytest.mark.parametrize(("right", "known"), [(20, True), (19.9, False)])
def test_a_region_fits_from_half_an_overlap_on(right: float, known: bool) -> None:
    encoder = Sees((10, 8, right, 24), confidence=[0.7])
    _score(encoder, np.zeros((32, 64, 3), np.uint8), (10, 8, 30, 24), UP, PLAIN)
    (view,) = encoder.told
    assert (len(view.hint), view.confidence) == ((2, pytest.approx(0.7)) if known else (0, 0))


def test_without_regions_there_is_no_hint() -> None:
    encoder = Sees()
    _score(encoder, np.zeros((32, 64, 3), np.uint8), (10, 8, 30, 24), UP, PLAIN)
    assert (len(encoder.told[0].hint), encoder.told[0].confidence) == (0, 0)


def test_the_score_is_the_cosine_to_the_text() -> None:
    image = np.full((4, 4, 3), 255, np.uint8)
    assert _score(Sees(), image, (0, 0, 4, 4), np.array([0.5, 9], np.float32), PLAIN) == 0.5
