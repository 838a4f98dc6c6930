"""Masks that models wrote, with all kinds of mistakes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import masks

from vidmem.errors import UsageError
from vidmem.export.textanswer import MAX_PROBLEMS, read_answer
from vidmem.export.textmask import Label, TextMask, encode, wrap

GRID = (2, 4)


def shown(text: str, names: list[str] | None = None, grid: tuple[int, int] = GRID) -> list[str]:
    """The rows of the mask, with the first letter of each cell's label, or "." for none."""
    mask = read_answer(text, grid, names).mask
    return ["".join("." if i < 0 else mask.labels[i].name[0] for i in row) for row in mask.cells]


@given(masks())
def test_what_is_right_is_read_as_it_is(mask: TextMask) -> None:
    reading = read_answer("The result is:\n" + wrap(encode(mask)), mask.cells.shape)  # type: ignore[arg-type]
    assert reading.mask == mask
    assert not reading.problems


@given(st.text(max_size=200) | st.text(alphabet="ab *|\n 123\\#<seg>/others", max_size=80))
def test_any_text_gives_a_mask(text: str) -> None:
    for names in (None, ["a", "a|b", "b *2"]):
        assert read_answer(text, GRID, names).mask.cells.shape == GRID


@pytest.mark.parametrize(
    ("text", "rows", "problem"),
    [
        ("<seg>a *4\n b *4\n</seg>", ["aaaa", "bbbb"], None),
        ("<SEG>a *4\nb *4</SEG> as asked", ["aaaa", "bbbb"], "not in small letters"),
        ("a *4\n b *4\n", ["aaaa", "bbbb"], "the tags are missing"),
        ("```text\na *4\n b *4\n```", ["aaaa", "bbbb"], "the tags are missing"),
        ("<seg>a *4\n b *2", ["aaaa", "bbbb"], "the end tag is missing"),
        ("<seg>a *2| b *1\n b *4\n</seg>", ["aabb", "bbbb"], "a row is too short"),
        ("<seg>a *2| b *9\n a *4\n</seg>", ["aabb", "aaaa"], "a row is too long"),
        ("<seg>a *4\n b *4\n c *4\n</seg>", ["aaaa", "bbbb"], "3 rows, want 2"),
        ("<seg>a *3| b *5\n</seg>", ["aaab", "bbbb"], "read as the whole picture"),
        ("<seg>a *3\n b *5\n</seg>", ["aaab", "bbbb"], "the rows have other lengths"),  # the right number of cells
        ("<seg>a *3\n</seg>", ["aaaa", "aaaa"], "the picture is too short"),
        ("<seg>a *99999999999999999\n</seg>", ["aaaa", "aaaa"], "the picture is too long"),
        ("<seg>a*2|b *2\n b  * 4\n</seg>", ["aabb", "bbbb"], "not exactly in the form"),
        ("<seg>a 2| b *2\n b x4\n</seg>", ["aabb", "bbbb"], "'a 2' lacks a star"),
        ("<seg>a *x| b *3\n b *4\n</seg>", ["abbb", "bbbb"], "has no count"),
        ("<seg>a|a|b|b\n b|b|b|b\n</seg>", ["aabb", "bbbb"], "not exactly in the form"),  # not run lengths at all
        ("<seg>a *2| | b *2\n b *4\n</seg>", ["aabb", "bbbb"], "an empty run"),
        ("<seg>a *0| b *4\n b *4\n</seg>", ["bbbb", "bbbb"], "'a *0' is a run of no cells"),
        ("<seg>Others*2| b *2\n b *4\n</seg>", ["..bb", "bbbb"], "not exactly in the form"),
        ("<seg> a *4\n b *4 </seg>", ["aaaa", "bbbb"], None),  # white space around it
        ("<seg>a *4\nb *4\n</seg>", ["aaaa", "bbbb"], "not exactly in the form"),  # no space before the second row
        ("<seg>a *1| a *3\n b *4\n</seg>", ["aaaa", "bbbb"], "not exactly in the form"),  # one run written as two
        ("<seg>a *٤\n b *4\n</seg>", ["aaaa", "bbbb"], "not exactly in the form"),
        ("<seg>a\\q *4\n b *4\n</seg>", ["aaaa", "bbbb"], "an escape that means nothing"),
        ("<seg>a *2\n a *2\n b *2\n b *2\n</seg>", ["aaaa", "bbbb"], "4 rows, want 2"),
        ("<seg><seg>a *4\n b *4\n</seg>", ["aaaa", "bbbb"], "the answer has 2 masks"),
        ("<seg>a *4\n b *4\n</seg> or <seg>c *4\n c *4\n</seg>", ["cccc", "cccc"], "the answer has 2 masks"),
        ("<seg>a *4\n b *4\n</seg> or <seg>c *4\n c *1\n</seg>", ["aaaa", "bbbb"], "the answer has 2 masks"),
        ("<seg>a *4\n b *1\n</seg> or <seg>c *4\n c *1\n</seg>", ["cccc", "cccc"], "the answer has 2 masks"),
        ("İ" * 9 + "<seg>a *4\n b *4\n</seg>", ["aaaa", "bbbb"], None),  # longer in small letters
        ("I see nothing.", ["....", "...."], "there is no mask"),
        ("<seg></seg>", ["....", "...."], "there is no mask"),
        ("", ["....", "...."], "there is no mask"),
    ],
)
def test_slips_are_mended(text: str, rows: list[str], problem: str | None) -> None:
    assert shown(text) == rows
    problems = read_answer(text, GRID).problems
    assert any(problem in p for p in problems) if problem else not problems


@given(st.text(alphabet="ab *|\n 123\\p#", max_size=40) | masks().map(encode))
def test_strict_is_what_encode_writes(text: str) -> None:
    reading = read_answer(wrap(text), GRID)
    assert bool(reading.problems) == (encode(reading.mask).strip(" \t\r\n") != text.strip(" \t\r\n"))


@pytest.mark.parametrize(
    "content",
    ["a{}*x", "a{}x", "a{}4b", "a{}4", "a{}x4", "a{}*4", "a #{}b *4", "a{}#b *4", "a{}|b", "a *{}4 b", "1" * 100_000],
)
@pytest.mark.parametrize("names", [None, ["a"]])
def test_long_white_space_takes_no_time(content: str, names: list[str] | None) -> None:
    begun = time.monotonic()
    for space in (" ", " \t", "* ", "4 "):
        read_answer(f"<seg>{content.format(space * (100_000 // len(space)))}</seg>", GRID, names)
    assert time.monotonic() - begun < 4


def test_labels_are_matched_to_those_that_were_asked_for() -> None:
    reading = read_answer("<seg>Red  Ball *2| red bal *2\n dragon *4\n</seg>", GRID, ["red ball", "cup"])
    assert reading.mask.labels == (Label("red ball"),)
    assert reading.mask.cells.tolist() == [[0] * 4, [-1] * 4]
    assert reading.problems == ("'red bal' is taken for 'red ball'", "'dragon' was not asked for")


def test_names_with_bars_and_stars_are_found_where_they_are_known() -> None:
    assert shown("<seg>a|b *4\n c *4\n</seg>", ["a|b", "c"]) == ["aaaa", "cccc"]
    assert read_answer("<seg>a|b *4\n c *4\n</seg>", GRID, ["a|b", "c"]).mask.labels[0].name == "a|b"
    assert read_answer("<seg>size *2 *4\n c *4\n</seg>", GRID).mask.labels[0].name == "size *2"
    assert shown("<seg>a|c *3\n c *4\n</seg>", ["a|b", "a", "c"]) == ["accc", "cccc"]
    assert shown("<seg>c *3|a\n c *4\n</seg>", ["a|b", "a", "c"]) == ["ccca", "cccc"]


def test_instances_are_read() -> None:
    mask = read_answer("<seg>cup #2 *4\n cup #1 *4\n</seg>", GRID, ["cup"]).mask
    assert mask.labels == (Label("cup", 2), Label("cup", 1))


def test_problems_are_not_endless() -> None:
    text = "<seg>" + "\n ".join(f"thing{i} *4" for i in range(500)) + "</seg>"
    reading = read_answer(text, (500, 4), ["xyz"])
    assert len(reading.problems) == MAX_PROBLEMS
    assert (reading.mask.cells == -1).all()


def test_a_long_answer_takes_no_memory() -> None:
    text = "<seg>" + "| ".join(["a *99999999"] * 2000) + "\n b *4\n</seg>"
    assert np.array_equal(read_answer(text, GRID).mask.cells, [[0] * 4, [1] * 4])


def test_a_bad_grid_fails() -> None:
    with pytest.raises(UsageError, match="a grid is"):
        read_answer("a *1\n", (0, 4))
