"""The plain data: what it accepts and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vidmem.records import Frame, RegionTokens, Sighting
from vidmem.timecode import NS


def regions(m: int = 3) -> RegionTokens:
    rng = np.random.default_rng(0)
    shapes = ((m, 4), (m, 2), (m, 5, 6), (m, 2), (m, 4), (m,))
    return RegionTokens(*(rng.random(shape, np.float32) for shape in shapes))


def test_a_frame_says_what_it_is() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 5, 0)
    assert repr(frame) == "Frame(6x4, t_ns=5, index=0)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.t_ns = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((3, 4, 6), np.uint8),
        np.zeros((4, 6, 3), np.float32),
    ],
)
def test_what_is_no_picture_fails(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"a frame is \(H, W, 3\) uint8, not"):
        Frame(image, 0, 0)


@pytest.mark.parametrize("m", [0, 3])
def test_regions_have_a_length(m: int) -> None:
    assert len(regions(m)) == m
    assert repr(regions(m)) == f"RegionTokens({m} of Dv=4, Dt=2)"


@pytest.mark.parametrize("name", ["text", "masks", "points", "boxes", "area"])
def test_regions_of_unlike_lengths_fail(name: str) -> None:
    with pytest.raises(ValueError, match=rf"RegionTokens\.{name} has shape .*want \d axes and 3 rows"):
        dataclasses.replace(regions(), **{name: getattr(regions(), name)[:2]})


@pytest.mark.parametrize("name", ["visual", "text", "masks", "points", "boxes", "area"])
def test_regions_with_an_axis_too_many_fail(name: str) -> None:
    with pytest.raises(ValueError, match=rf"RegionTokens\.{name} has shape"):
        dataclasses.replace(regions(), **{name: getattr(regions(), name)[..., None]})


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True]), np.array([], np.intp)])
def test_take_keeps_the_order(rows: np.ndarray) -> None:
    every, some = regions(), regions().take(rows)
    for field in dataclasses.fields(RegionTokens):
        np.testing.assert_array_equal(getattr(some, field.name), getattr(every, field.name)[rows])


def test_a_sighting_tells_seconds() -> None:
    sighting = Sighting("a", 3 * NS // 2, 4 * NS, 0.5, 0.5, None, 2 * NS, (0, 0, 1, 1))
    assert (sighting.start_s, sighting.end_s, sighting.frame_s) == (1.5, 4.0, 2.0)
