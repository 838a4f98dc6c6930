"""Heat over a picture and its means, against recordings of GEM's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidmem.geometry import stretching
from vidmem.render.heatmap import means, over


@pytest.mark.golden
@pytest.mark.parametrize("depth", [7, 5])
def test_stretched_cosines_are_as_recorded(depth: int) -> None:
    with np.load(Path(__file__).parents[1] / "golden" / "gem" / "gem_golden.npz", allow_pickle=False) as golden:
        patches, text = golden[f"named_d{depth}_feat_gem"][1:].reshape(10, 14, -1), golden["named_text"]
        raw = golden[f"named_d{depth}_raw"]
    patches = patches / np.linalg.norm(patches, axis=-1, keepdims=True)
    for i, vector in enumerate(text):
        found = stretching(10, 160) @ (patches @ vector) @ stretching(14, 224).T
        np.testing.assert_allclose(found[::4, ::4], raw[i], atol=1e-5)  # every fourth pixel was recorded


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
