"""Heat over a picture and its means."""

from __future__ import annotations

import numpy as np
import pytest

from vidmem.render.heatmap import means, over


def test_without_heat_the_picture_stays() -> None:
    image = np.full((8, 12, 3), 77, np.uint8)
    np.testing.assert_array_equal(over(image, np.zeros((8, 12), np.float32)), image)


def test_means_inside_and_outside_of_a_box() -> None:
    raw = np.zeros((4, 4), np.float32)
    raw[1:3, 1:3] = 0.5
    assert means(raw, (1, 1, 3, 3)) == pytest.approx((0.5, 0))
    assert means(raw, (0, 0, 2, 4))[0] == pytest.approx(0.125)
    assert means(raw, (0, 0, 4, 4)) == (pytest.approx(0.125), None)
    assert means(raw, (5, 5, 6, 6)) == (None, pytest.approx(0.125))
    known = raw > 0
    assert means(raw, (1, 1, 2, 4), known) == pytest.approx((0.5, 0.5))


def test_the_hottest_place_is_red() -> None:
    shown = np.zeros((2, 2), np.float32)
    shown[0, 1] = 1
    out = over(np.zeros((2, 2, 3), np.uint8), shown)
    assert out[0, 1].tolist() == [140, 0, 0]
    assert not out[1].any()
