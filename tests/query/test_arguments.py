"""What a question takes in Python, and what it refuses."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vidmem.errors import MediaError, UsageError
from vidmem.query import arguments
from vidmem.timecode import Moment, parse_moment

RED = np.full((6, 9, 3), (200, 20, 30), np.uint8)


def test_boxes() -> None:
    asked = ("a@b.mp4", 12_500_000_000, (100.0, 80.0, 160.0, 140.0))
    assert arguments.crop("a@b.mp4@12.5s:100,80,60,60") == asked
    assert arguments.crop((Path("a@b.mp4"), 12_500_000_000, (100, 80, 160, 140))) == asked
    for wrong in ("", "a.mp4", "a.mp4@1s", "a.mp4@1s:1,2,3", "a.mp4@1s:1,2,3,nan", "a.mp4@yesterday:1,2,3,4"):
        with pytest.raises(UsageError, match=r"`crop` is VIDEO@TIME:X,Y,W,H|is not a time"):
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


def test_boxes_in_python() -> None:
    asked = ("a.mp4", 12_500_000_000, (1.0, 2.0, 3.0, 4.0))
    for time in ("12.5s", 12.5e9, np.int64(12_500_000_000)):
        assert arguments.crop(["a.mp4", time, np.array([1, 2, 3, 4])]) == asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        (1, 2),
        ("a.mp4", 1),
        ("a.mp4", 1, (1, 2, 3)),
        ("a.mp4", 1, (1, 2, "x", 4)),
        ("a.mp4", 1, (1, 2, True, 4)),
        ("a.mp4", 1, (math.nan, 2, 3, 4)),
        ("a.mp4", 1, "1234"),
        (None, 1, (1, 2, 3, 4)),
        b"x",
        None,
        ("a.mp4", True, (1, 2, 3, 4)),
        ("a.mp4", 1.5, (1, 2, 3, 4)),
        ("a.mp4", math.nan, (1, 2, 3, 4)),
        ("a.mp4", 10**30, (1, 2, 3, 4)),
        ("a.mp4", None, (1, 2, 3, 4)),
        "a.mp4@1s:1e308,1,1e308,1",
    ],
)
def test_what_is_no_box_fails(wrong: Any) -> None:
    with pytest.raises(UsageError, match="`crop`"):
        arguments.crop(wrong)


@pytest.mark.parametrize("time", ["999999999999s", "9" * 30, "9" * 30 + "ns", "99999999999:00:00"])
def test_no_video_is_so_long(time: str) -> None:
    for read in (arguments.moment, arguments.within_ns, lambda text: arguments.crop(f"a.mp4@{text}:1,1,5,5")):
        with pytest.raises(UsageError, match="is longer than any video"):
            read(time)  # type: ignore[operator]


def test_a_number_of_thousands_of_digits_is_no_time() -> None:
    for time in ("9" * 50_000, "9" * 50_000 + "ns"):
        with pytest.raises(UsageError, match=r"'9{40}\.\.\.' is not a time") as error:
            arguments.moment(time)
        assert len(str(error.value)) < 250


def test_names_one_or_several() -> None:
    assert arguments.paths("sources", "walk.mp4") == arguments.paths("sources", Path("walk.mp4")) == ["walk.mp4"]
    assert arguments.paths("sources", ["a", Path("b")]) == ["a", "b"]
    assert arguments.phrases("near", "dog") == arguments.phrases("near", np.array(["dog"])) == ["dog"]
    assert arguments.phrases("near", (word for word in ("a", "b"))) == ["a", "b"]
    assert arguments.paths("sources", ()) == arguments.paths("sources", None) == []
    assert arguments.each(["a", ["b", Path("c")], {"d"}]) == ["a", "b", Path("c"), "d"]


@pytest.mark.parametrize("wrong", [5, [5], [None], b"dog", {"dog": 1}, "", [""], True])
def test_what_is_no_name_fails(wrong: Any) -> None:
    for read in (arguments.paths, arguments.phrases):
        with pytest.raises(UsageError, match="`near` is "):
            read("near", wrong)
    with pytest.raises(UsageError, match=r"`names` is a text or several.*got None"):
        arguments.phrases("names", None, needed=True)
    with pytest.raises(UsageError, match="`sources` is a path"):
        arguments.paths("sources", "a\0b")


def test_times() -> None:
    assert arguments.moment("12.5s") == Moment(12_500_000_000, False, "12.5s")
    assert arguments.moment(None) is None
    made = Moment(1, True, "x")
    assert arguments.moment(made) is made
    assert arguments.within_ns("0.5s") == 500_000_000
    for wrong in ("soon", 2, None):
        with pytest.raises(UsageError, match=r"is not a time|`within` is a text"):
            arguments.within_ns(wrong)  # type: ignore[arg-type]


def test_dates() -> None:
    zoned = arguments.moment(datetime(2026, 1, 31, 8, 30, 0, 5, tzinfo=UTC))
    assert zoned == Moment(1_769_848_200_000_005_000, True, "2026-01-31T08:30:00.000005+00:00")
    for given_, text in ((datetime(2026, 1, 31, 8, 30), "2026-01-31T08:30:00"), (date(2026, 1, 31), "2026-01-31")):
        assert arguments.moment(given_) == parse_moment(text)  # local, as texts are


@pytest.mark.parametrize(
    "wrong", [5, 5.0, True, [], b"2s", timedelta(seconds=1), Moment(1 << 80, True, ""), Moment(-1, False, "")]
)
def test_what_is_no_time_fails(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"`after` is a time, as a text or a datetime: .*; got "):
        arguments.moment(wrong, "after")


@pytest.mark.parametrize("far", [datetime(9999, 1, 1), datetime(1, 1, 1), date(2500, 1, 1)])
def test_a_date_that_is_too_far_away_fails(far: date) -> None:
    with pytest.raises(UsageError, match="is too far away"):
        arguments.moment(far)


def test_how_many() -> None:
    assert (arguments.top(None), arguments.top(3), arguments.top(np.int64(2))) == (None, 3, 2)  # type: ignore[arg-type]
    for wrong in (0, -1, 1.5, "2", True, math.nan):
        with pytest.raises(UsageError, match="`top` is a whole number from 1 up, or None for all; got"):
            arguments.top(wrong)  # type: ignore[arg-type]


def test_shares() -> None:
    assert arguments.share("min_probability", None) is None
    assert arguments.share("threshold", -1.0) == -1
    assert arguments.share("min_probability", np.float32(0.5)) == 0.5  # type: ignore[arg-type]
    for name in ("min_probability", "threshold"):
        for wrong in (math.nan, math.inf, "0.5", [0.5], True, 1j, 10**400):
            with pytest.raises(UsageError, match=f"`{name}` is a .*; got "):
                arguments.share(name, wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"`min_probability` is a probability, between 0 and 1; got 1.1"):
        arguments.share("min_probability", 1.1)


def test_how_far_apart() -> None:
    assert arguments.apart(np.float32(2)) == 2  # type: ignore[arg-type]
    for wrong in (-1, math.nan, math.inf, 1e308, "1", None, True):
        with pytest.raises(UsageError, match="`apart` is a number of 0 or more"):
            arguments.apart(wrong)  # type: ignore[arg-type]


def test_things_and_tracks() -> None:
    assert (arguments.thing("dog"), arguments.thing("12"), arguments.thing(12)) == ("dog", 12, 12)
    assert arguments.thing("\u0663") == "\u0663"  # another script's 3 is a word
    assert arguments.thing(-(10**5000)) < 0 < arguments.thing(10**5000) <= 10**40  # type: ignore[operator]
    for wrong in (True, 1.5, None, "", ["dog"]):
        with pytest.raises(UsageError, match="`thing` is "):
            arguments.thing(wrong)


def test_yes_and_no_and_what_is_called() -> None:
    arguments.flags(film=True, newest=np.True_)  # type: ignore[arg-type]
    arguments.calls(progress=None, on_source=print)
    for wrong in ("no", 0, None):
        with pytest.raises(UsageError, match="`film` is True or False; got"):
            arguments.flags(film=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`progress` is a function, or None; got 5"):
        arguments.calls(progress=5)


def test_what_was_given_is_told_on_one_short_line() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert arguments.got("dog") == "'dog'"
    assert arguments.got(Broken()) == "Broken"
    assert arguments.got(10**5000) == "int"
    long = arguments.got(np.zeros((50, 50)))
    assert "\n" not in long
    assert long.endswith("... (ndarray)")
    assert len(long) < 80


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
    [
        (RED.astype(np.float32) / 255, "multiply by 255 and use astype"),
        (RED.astype(np.int64), "of int64"),
        (RED.transpose(2, 0, 1), r"got \(3, 6, 9\) of uint8"),
        (RED[None], r"got \(1, 6, 9, 3\)"),
        (RED[0, 0], r"got \(3,\)"),
        (RED[:0], "`image` is empty"),
        (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\)"),
        (Image.new("RGB", (0, 5)), "`image` is empty"),
        ([1, 2], "got list"),
        (7, "got int"),
    ],
)
def test_what_is_no_picture_fails(wrong: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        arguments.picture(wrong)


def test_a_picture_of_a_file_that_is_closed_or_broken_fails(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    closed = Image.open(tmp_path / "a.png")
    closed.close()
    with pytest.raises(UsageError, match="`image` is a picture that is closed; open it again, or give its path"):
        arguments.picture(closed)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:4000])
    with Image.open(tmp_path / "b.png") as broken, pytest.raises(MediaError, match="the picture in `image` cannot"):
        arguments.picture(broken)


def test_a_file_that_is_no_picture_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`image` is empty"):
        arguments.picture("")
    with pytest.raises(MediaError, match="no such picture"):
        arguments.picture(tmp_path / "no.png")
