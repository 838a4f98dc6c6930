"""What a question takes in Python, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vidmem import arguments
from vidmem.errors import MediaError, UsageError
from vidmem.when import Moment

RED = np.full((6, 9, 3), (200, 20, 30), np.uint8)


def test_boxes() -> None:
    asked = ("a@b.mp4", 12_500_000_000, (100.0, 80.0, 160.0, 140.0))
    assert arguments.crop("a@b.mp4@12.5s:100,80,60,60") == asked
    assert arguments.crop((Path("a@b.mp4"), 12_500_000_000, (100, 80, 160, 140))) == asked
    for wrong in ("", "a.mp4", "a.mp4@1s", "a.mp4@1s:1,2,3", "a.mp4@1s:1,2,3,nan", "a.mp4@yesterday:1,2,3,4"):
        with pytest.raises(UsageError, match=r"`crop` is VIDEO@TIME:X,Y,W,H|is no time"):
            arguments.crop(wrong)


@given(st.text(max_size=40))
def test_no_text_breaks_the_boxes(text: str) -> None:
    try:
        source, t_ns, box = arguments.crop(text)
    except UsageError:
        return
    assert source
    assert t_ns >= 0
    assert len(box) == 4


def test_names_one_or_several() -> None:
    assert arguments.several("walk.mp4") == arguments.several(Path("walk.mp4")) == ["walk.mp4"]
    assert arguments.several(["a", Path("b")]) == ["a", "b"]
    assert arguments.several(()) == []


def test_times() -> None:
    assert arguments.moment("12.5s") == Moment(12_500_000_000, False, "12.5s")
    assert arguments.moment(None) is None
    made = Moment(1, True, "x")
    assert arguments.moment(made) is made
    assert arguments.within_ns("0.5s") == 500_000_000
    for wrong in ("soon", 2, None):
        with pytest.raises(UsageError, match=r"is no time|`within` is a text"):
            arguments.within_ns(wrong)  # type: ignore[arg-type]


def test_how_many() -> None:
    assert (arguments.top(None), arguments.top(3), arguments.top(np.int64(2))) == (None, 3, 2)  # type: ignore[arg-type]
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises(UsageError, match="`top` is a whole number from 1 up, or None for all; got"):
            arguments.top(wrong)  # type: ignore[arg-type]


def test_shares() -> None:
    arguments.share("min_probability", None)
    arguments.share("threshold", -1.0)
    for name, value in (("min_probability", 1.1), ("min_probability", float("nan")), ("threshold", float("inf"))):
        with pytest.raises(UsageError, match=f"`{name}` is "):
            arguments.share(name, value)


def test_pictures_of_every_kind_are_one(tmp_path: Path) -> None:
    Image.fromarray(RED).save(tmp_path / "a.png")
    alpha = np.dstack([RED, np.full(RED.shape[:2], 255, np.uint8)])
    for given_ in (tmp_path / "a.png", str(tmp_path / "a.png"), RED, RED[::-1][::-1], alpha, Image.fromarray(alpha)):
        np.testing.assert_array_equal(np.asarray(arguments.picture(given_)), RED)
    grey = RED[..., 0]
    for given_ in (grey, grey[..., None], Image.fromarray(grey)):
        np.testing.assert_array_equal(np.asarray(arguments.picture(given_)), np.dstack([grey] * 3))
    clear = arguments.picture(np.zeros((2, 2, 4), np.uint8))
    assert clear.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(RED.astype(np.float32) / 255, "multiply by 255 and use astype"), (RED.astype(np.int64), "of int64"),
     (RED.transpose(2, 0, 1), r"got \(3, 6, 9\) of uint8"), (RED[None], r"got \(1, 6, 9, 3\)"),
     (RED[0, 0], r"got \(3,\)"), (RED[:0], "`image` is empty"), (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\)"),
     (Image.new("RGB", (0, 5)), "`image` is empty"), ([1, 2], "got list"), (7, "got int")],
)  # fmt: skip
def test_what_is_no_picture_fails(wrong: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        arguments.picture(wrong)


def test_a_file_that_is_no_picture_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such picture"):
        arguments.picture(tmp_path / "no.png")
