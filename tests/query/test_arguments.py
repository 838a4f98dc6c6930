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
from vidmem.records import Sighting
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


def message_of(function: Any, *given_: Any, **named: Any) -> str:
    with pytest.raises(UsageError) as error:
        function(*given_, **named)
    return str(error.value)


def test_a_wrong_value_is_shown_up_to_sixty_characters() -> None:
    assert arguments.got("z" * 58) == repr("z" * 58)  # 60 with its quotes
    assert arguments.got("z" * 59) == f"'{'z' * 59}... (str)"
    assert arguments.got(np.zeros((2, 1))) == "array([[0.], [0.]])"


def test_messages_name_the_argument_and_what_it_may_be() -> None:
    assert message_of(arguments.made, "x", 5, str, "a text") == "`x` is a text; got 5"
    assert message_of(arguments.text, "x", None) == "`x` is a text; got None"
    assert arguments.text("x", "") == ""
    assert message_of(arguments.phrase, "text", " ") == "the text is empty; name a thing, such as umbrella"
    assert message_of(arguments.phrase, "near", "\n") == "`near` is empty; name a thing, such as umbrella"
    assert message_of(arguments.phrase, "x", "", "say what") == "`x` is empty; say what"
    assert arguments.phrase("x", " dog ") == " dog "
    assert message_of(arguments.path, "x", "") == "`x` is empty; give a path or a name"
    for wrong in (5, b"a", None, "a\0b"):
        assert message_of(arguments.path, "x", wrong) == f"`x` is a path or a name; got {wrong!r}"
    assert message_of(arguments.paths, "x", 5) == "`x` is a path or several, such as ['a.mp4', 'b.mp4']; got 5"
    assert message_of(arguments.phrases, "x", 5) == "`x` is a text or several, such as ['dog', 'cat']; got 5"
    assert message_of(arguments.phrases, "x", None, needed=True).startswith("`x` is a text or several, such as")
    assert message_of(arguments.phrases, "x", ["a", 5]) == "`x` is a text; got 5"
    assert message_of(arguments.paths, "x", ["a", 5]) == "`x` is a path or a name; got 5"
    assert arguments.phrases("x", None) == []
    assert arguments.phrases("x", "dog", needed=True) == ["dog"]


def test_each_flag_and_each_function_is_checked() -> None:
    assert message_of(arguments.flags, a=True, b=1) == "`b` is True or False; got 1"
    assert message_of(arguments.calls, a=print, b="x") == "`b` is a function, or None; got 'x'"
    arguments.flags(a=np.bool_(False), b=False)  # type: ignore[arg-type]
    arguments.flags()


def test_lists_and_values_become_one_flat_list() -> None:
    mapping, data = {"a": 1}, b"xy"
    assert arguments.each([mapping, data, Path("c"), ("d", "e"), 5]) == [mapping, data, Path("c"), "d", "e", 5]
    assert arguments.each([]) == []


def test_a_moment_is_named_as_it_was_given() -> None:
    assert message_of(arguments.moment, 5).startswith("`time` is a time, as a text or a datetime: 12.5s or ")
    assert message_of(arguments.moment, 5, "before").startswith("`before` is a time, ")
    assert message_of(arguments.moment, 5).endswith("; got 5")


def test_a_recording_date_is_a_text_or_a_date() -> None:
    for given_ in ("2026-01-31", date(2026, 1, 31), datetime(2026, 1, 31)):
        assert arguments.recording("when", given_) is given_
    for wrong in (5, None, ["2026-01-31"]):
        assert message_of(arguments.recording, "when", wrong).startswith("`when` is a date, such as 2026-01-31T08:30")


def test_a_box_by_its_size_has_its_far_corner() -> None:
    assert arguments.crop("a.mp4@1:02.5:10,20,30,40") == ("a.mp4", 62_500_000_000, (10, 20, 40, 60))
    assert arguments.crop("a\nb@1s:-1,.5,2,1e1") == ("a\nb", 1_000_000_000, (-1, 0.5, 1, 10.5))
    forms = "`crop` is VIDEO@TIME:X,Y,W,H, such as walk.mp4@12.5s:100,80,60,60"
    for wrong in ("a.mp4@1s:1,2,3", "a.mp4@1s:1,2,3,4,5", "a.mp4@1s:1,2,3,x", "@1s:1,2,3,4", "a.mp4@1s:1,2,3,inf"):
        assert message_of(arguments.crop, wrong) == f"{forms}; got {wrong!r}"
    for wrong in ("a.mp4@1s:nan,2,3,4", "a.mp4@1s:1,nan,3,4", "a.mp4@1s:1,2,nan,4"):
        assert message_of(arguments.crop, wrong) == f"{forms}; got {wrong!r}"
    more = f"{forms}, or (source, t_ns, (x0, y0, x1, y1))"
    assert message_of(arguments.crop, 5) == f"{more}; got 5"
    assert message_of(arguments.crop, (5, 1, (1, 2, 3, 4))) == f"{more}; got 5"
    assert message_of(arguments.crop, ("a", 1, (1, 2, 3, "x"))) == f"{more}; got 'x'"
    assert message_of(arguments.crop, ("", 1, (1, 2, 3, 4))) == "`crop` is empty; give a path or a name"
    assert message_of(arguments.crop, "a\0@1s:1,2,3,4") == "`crop` is a path or a name; got 'a\\x00'"


def test_the_time_of_a_box_is_whole_and_fits_64_bits() -> None:
    def at(time: Any) -> int:
        return arguments.crop(("a", time, (0, 0, 1, 1)))[1]

    assert (at(0), at(-5), at(1 << 62), at(-(1 << 62)), at("0:01"), at(3.0)) == (0, -5, 1 << 62, -(1 << 62), 10**9, 3)
    assert isinstance(at(3.0), int)
    for wrong in ((1 << 62) + 1, -(1 << 62) - 1, True, 1.5, [], math.inf, math.nan):
        message = message_of(at, wrong)
        assert message.startswith("the time in `crop` is whole nanoseconds or a text such as '12.5s'; got ")


def test_a_duration_can_be_added_to_a_time_twice() -> None:
    assert arguments.within_ns(f"{(1 << 61) - 1}ns") == (1 << 61) - 1
    assert arguments.within_ns(f"{1 << 62}ns") == 1 << 61
    assert message_of(arguments.within_ns, 2) == "`within` is a text such as '2s' or '0.5s'; got 2"


def test_whole_numbers_have_64_bits_and_a_minimum() -> None:
    assert arguments.whole("x", -5) == -5
    assert (arguments.whole("x", np.int64(3)), type(arguments.whole("x", np.int64(3)))) == (3, int)
    assert arguments.whole("x", 2, 2) == 2
    assert (arguments.whole("x", 1 << 62), arguments.whole("x", -(1 << 62))) == (1 << 62, -(1 << 62))
    assert message_of(arguments.whole, "x", 1, 2) == "`x` is a whole number from 2 up; got 1"
    for wrong in ((1 << 62) + 1, -(1 << 62) - 1, 1.0, "1", True, None):
        assert message_of(arguments.whole, "x", wrong) == f"`x` is a whole number; got {wrong!r}"


def test_a_thing_of_forty_digits_is_a_track_and_of_more_a_phrase() -> None:
    assert arguments.thing("9" * 40) == int("9" * 40)
    assert arguments.thing("9" * 41) == "9" * 41
    assert (arguments.thing(-1), arguments.thing(-2), arguments.thing(0), arguments.thing("0")) == (-1, -1, 0, 0)
    assert (arguments.thing(10**40), arguments.thing(10**40 + 1)) == (10**40, 10**40)
    assert isinstance(arguments.thing(np.int64(3)), int)
    assert arguments.thing("-3") == "-3"
    assert message_of(arguments.thing, " ") == "`thing` is empty; name a thing, such as umbrella"


def test_numbers_are_finite_and_in_their_range() -> None:
    assert arguments.number("x", 0, "a share", 0, 1) == 0.0
    assert (arguments.number("x", 1, "a share", 0, 1), type(arguments.number("x", 1, "a share"))) == (1.0, float)
    assert arguments.number("x", -1e300, "a number") == -1e300
    assert message_of(arguments.number, "x", -1e-9, "a share", 0, 1) == "`x` is a share; got -1e-09"
    assert message_of(arguments.number, "x", 1.001, "a share", 0, 1) == "`x` is a share; got 1.001"
    assert message_of(arguments.number, "x", 10**400, "a share").startswith("`x` is a share; got 1000")
    assert message_of(arguments.share, "threshold", "x") == "`threshold` is a score, a number between 0 and 1; got 'x'"
    wrong = "`min_probability` is a probability, between 0 and 1; got -0.1"
    assert message_of(arguments.share, "min_probability", -0.1) == wrong
    assert (arguments.share("min_probability", 0), arguments.share("min_probability", 1)) == (0, 1)
    assert arguments.share("threshold", 1.5) == 1.5
    assert (arguments.apart(0), arguments.apart(1_000_000)) == (0, 1_000_000)
    assert message_of(arguments.apart, 1_000_001) == "`apart` is a number of 0 or more, up to 1000000; got 1000001"


def test_a_sighting_or_several() -> None:
    one = Sighting("a.mp4", 0, 0, 0.5, None, None, 0, (0, 0, 1, 1))
    assert arguments.sighting(one) is one
    assert message_of(arguments.sighting, 5) == "`sighting` is a sighting, such as answer[0]; got 5"
    assert message_of(arguments.sighting, 5, "other") == "`other` is a sighting, such as answer[0]; got 5"
    assert arguments.sightings("others", (one, one)) == [one, one]
    assert arguments.sightings("others", iter([])) == []
    assert message_of(arguments.sightings, "others", [one, 5]) == "`others` is a sighting, such as answer[0]; got 5"
    for wrong in (5, "ab", b"ab", None):
        message = f"`others` is several sightings, such as an answer; got {wrong!r}"
        assert message_of(arguments.sightings, "others", wrong) == message


def test_a_picture_of_floats_names_its_shape_and_the_remedy() -> None:
    wrong = "`image` is an array (H, W, 3) of uint8, RGB; got (6, 9, 3) of "
    remedy = "; multiply by 255 and use astype('uint8')"
    assert message_of(arguments.picture, RED.astype(np.float64)) == f"{wrong}float64{remedy}"
    assert message_of(arguments.picture, RED.astype(np.int8)) == f"{wrong}int8"
    assert message_of(arguments.picture, RED[:, :0]) == "`image` is empty; got (6, 0, 3)"
    assert message_of(arguments.picture, 7) == (
        "`image` is a path, a PIL picture or an array (H, W, 3) of uint8; got int"
    )
    assert message_of(arguments.picture, np.zeros((2, 2, 5), np.uint8)).endswith("got (2, 2, 5) of uint8")
    assert message_of(arguments.picture, np.zeros((2, 2, 1, 1), np.uint8)).endswith("got (2, 2, 1, 1) of uint8")
