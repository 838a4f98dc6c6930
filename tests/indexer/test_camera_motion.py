"""How the picture moved, told from pictures alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vidmem.indexer.camera_motion import SIZE, grey, shift


def scene(seed: int) -> np.ndarray:
    """A wide picture of blotches, 2000 x 1200."""
    small = np.random.default_rng(seed).integers(0, 255, (60, 100, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((2000, 1200), Image.Resampling.BICUBIC))


def seen(wide: np.ndarray, x: int, y: int) -> np.ndarray:
    return wide[y : y + 720, x : x + 1280]


@given(st.integers(0, 50), st.integers(-300, 300), st.integers(-150, 150))
@settings(deadline=None, max_examples=30)
def test_a_turn_of_the_camera_is_told(seed: int, dx: int, dy: int) -> None:
    wide = scene(seed)
    before, after = grey(seen(wide, 350, 240)), grey(seen(wide, 350 - dx, 240 - dy))
    moved = shift(before, after, 1280, 720)
    assert moved is not None
    assert abs(moved[0] - dx) <= 1280 / SIZE[0]
    assert abs(moved[1] - dy) <= 720 / SIZE[1]


def test_a_thing_that_moves_does_not_move_the_picture() -> None:
    wide = scene(1)
    first, then = seen(wide, 300, 200).copy(), seen(wide, 300, 200).copy()
    first[200:500, 100:400], then[200:500, 500:800] = (200, 30, 30), (200, 30, 30)
    assert shift(grey(first), grey(then), 1280, 720) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_pictures_that_have_nothing_in_common_nothing_is_told(seed: int) -> None:
    assert shift(grey(seen(scene(seed), 0, 0)), grey(seen(scene(seed + 90), 0, 0)), 1280, 720) is None


def test_nor_of_plain_ones() -> None:
    plain = np.full((720, 1280, 3), 90, np.uint8)
    assert shift(grey(plain), grey(plain), 1280, 720) is None


def test_the_compared_image_is_small_and_grey() -> None:
    red = np.zeros((36, 64, 3), np.uint8)
    red[..., 0] = 255
    small = grey(red)
    assert (small.shape, small.dtype) == ((72, 128), np.uint8)
    assert (small == 76).all()  # red is three tenths of the brightness


@pytest.mark.parametrize(("right", "down"), [(5, -3), (-7, 4), (0, 0), (64, 0), (0, 36), (-63, 0)])
def test_a_shift_is_in_pixels_of_the_frame_right_and_down(right: int, down: int) -> None:
    before = np.random.default_rng(3).integers(0, 255, (72, 128), np.uint8)
    after = np.roll(before, (down, right), axis=(0, 1))
    assert shift(before, after, 1280, 1440) == (right * 10, down * 20)


def test_light_that_rises_everywhere_does_not_move_the_picture() -> None:
    before = np.random.default_rng(3).integers(0, 100, (72, 128), np.uint8)
    assert shift(before, before + np.uint8(100), 128, 72) == (0, 0)


def test_a_lamp_that_stays_at_the_border_does_not_hide_a_turn() -> None:
    """What leaves there comes in on no other side, so the borders count little."""
    before = np.random.default_rng(3).integers(0, 100, (72, 128), np.uint8)
    after = np.roll(before, 9, axis=1)
    before[:, :6] = after[:, :6] = 255
    assert shift(before, after, 128, 72) == (9, 0)


def test_the_compared_image_is_of_means() -> None:
    fine = np.zeros((144, 256, 3), np.uint8)
    fine[::2, ::2] = 200
    assert (grey(fine) == 50).all()
