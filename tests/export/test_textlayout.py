"""Layouts of a mask as text: worked by hand, everything comes back, and other texts are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import masks

from vidmem.errors import UsageError
from vidmem.export.textanswer import read_answer
from vidmem.export.textlayout import (
    LAYOUTS,
    Layout,
    decode_full,
    decode_image_rle,
    decode_layout,
    encode_full,
    encode_image_rle,
    encode_layout,
)
from vidmem.export.textmask import Label, TextMask, build, decode, encode

MASK = build(np.array([[-1, -1, 0], [0, 0, 1]]), ["cat", Label("cup", 2)])
RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "text4seg" / "t4s_golden.json").read_text("utf-8"))


def test_by_hand() -> None:
    assert encode_image_rle(MASK) == "others *2| cat *3| cup #2 *1\n"
    assert encode_full(MASK) == "others| others| cat| cat| cat| cup #2\n"
    assert [encode_layout(MASK, layout) for layout in LAYOUTS] == [
        encode(MASK),
        encode_image_rle(MASK),
        encode_full(MASK),
    ]


@pytest.mark.golden
def test_the_recorded_text_over_a_whole_picture_is_read() -> None:
    text = RECORDED["malformed"]["image_wise_rle"]["text"]  # without a line break at the end
    mask = decode_image_rle(text + "\n", (16, 16))
    assert encode_image_rle(mask) == text + "\n"
    assert mask.mask("cat").sum() == 6


@given(masks(), st.sampled_from(LAYOUTS))
def test_everything_comes_back(mask: TextMask, layout: Layout) -> None:
    text = encode_layout(mask, layout)
    grid = mask.cells.shape
    assert decode_layout(text, layout, (grid[0], grid[1])) == mask
    assert text.count("\n") == (grid[0] if layout == "rows" else 1)


@given(masks())
def test_denser_texts_are_never_longer(mask: TextMask) -> None:
    runs, rows = encode_image_rle(mask), encode(mask)
    assert runs.count("*") <= rows.count("*") <= mask.cells.size
    assert encode_full(mask).count("| ") == mask.cells.size - 1


@given(st.text(alphabet="a*| \n123#\\", max_size=30), st.sampled_from(LAYOUTS))
def test_other_texts_are_refused_in_words(text: str, layout: Layout) -> None:
    try:
        mask = decode_layout(text, layout, (1, 2))
    except UsageError:
        return
    assert decode_layout(encode_layout(mask, layout), layout, (1, 2)) == mask


@pytest.mark.parametrize("layout", ["image", "full"])
def test_the_grid_must_fit(layout: Layout) -> None:
    text = encode_layout(MASK, layout)
    with pytest.raises(UsageError, match="has 6 cells, and a grid of 3x3 has 9"):
        decode_layout(text, layout, (3, 3))
    with pytest.raises(UsageError, match="cut short"):
        decode_layout(text[:-1], layout, (2, 3))


def test_claims_of_any_size_are_refused() -> None:
    with pytest.raises(UsageError, match="a grid of 2x2 has 4"):
        decode_image_rle("a *999999999| b *999999999\n", (2, 2))
    with pytest.raises(UsageError, match="a grid of 2x2 has 4"):
        decode_full("a| " * 2_000_000 + "\n", (2, 2))
    with pytest.raises(UsageError, match="is not `label"):
        decode_full("a *2| b\n", (1, 2))


def test_the_legacy_form_refuses_what_it_cannot_hold() -> None:
    for layout in LAYOUTS:
        with pytest.raises(UsageError, match="use the strict form"):
            encode_layout(build(np.zeros((1, 1), int), ["a|b"]), layout, "legacy")
        with pytest.raises(UsageError, match="`layout` is one of rows, image, full"):
            encode_layout(MASK, "columns")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="`layout` is one of rows, image, full"):
            decode_layout("", "columns", (1, 1))  # type: ignore[arg-type]


def test_answers_in_any_layout_are_read() -> None:
    for layout in LAYOUTS:
        assert read_answer(f"<seg>{encode_layout(MASK, layout)}</seg>", (2, 3)).mask == MASK
    assert decode(encode(MASK)) == MASK
