"""The heat map over a picture, against recordings of GEM's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidmem.errors import UsageError
from vidmem.query.heatmap import heat, inside_outside, over


@pytest.mark.golden
@pytest.mark.parametrize("depth", [7, 5])
def test_heat_is_as_recorded(depth: int) -> None:
    with np.load(Path(__file__).parents[1] / "golden" / "gem" / "gem_golden.npz", allow_pickle=False) as golden:
        patches, text = golden[f"named_d{depth}_feat_gem"][1:].reshape(10, 14, -1), golden["named_text"]
        raw, shown = golden[f"named_d{depth}_raw"], golden[f"named_d{depth}_heat"]
    patches = patches / np.linalg.norm(patches, axis=-1, keepdims=True)
    for i, vector in enumerate(text):
        found = heat(patches, vector, 160, 224)
        np.testing.assert_allclose(found.raw[::4, ::4], raw[i], atol=1e-5)  # every fourth pixel was recorded
        np.testing.assert_allclose(found.shown[::4, ::4], shown[i], atol=1e-5)


def test_a_flat_map_has_no_peak() -> None:
    patches = np.ones((2, 3, 4), np.float32) / 2
    found = heat(patches, np.full(4, 0.5, np.float32), 8, 12)
    assert found.raw == pytest.approx(1)
    assert not found.shown.any()
    image = np.full((8, 12, 3), 77, np.uint8)
    np.testing.assert_array_equal(over(image, found.shown), image)


def test_raw_cosines_inside_and_outside_of_a_box() -> None:
    raw = np.zeros((4, 4), np.float32)
    raw[1:3, 1:3] = 0.5
    assert inside_outside(raw, (1, 1, 3, 3)) == pytest.approx((0.5, 0))
    assert inside_outside(raw, (0, 0, 2, 4))[0] == pytest.approx(0.125)
    for box in ((0, 0, 4, 4), (5, 5, 6, 6)):
        with pytest.raises(UsageError, match="none or all of the picture"):
            inside_outside(raw, box)


def test_the_hottest_place_is_red() -> None:
    shown = np.zeros((2, 2), np.float32)
    shown[0, 1] = 1
    out = over(np.zeros((2, 2, 3), np.uint8), shown)
    assert out[0, 1].tolist() == [140, 0, 0]
    assert not out[1].any()
