"""Masks as text: parity with recordings of the paper's code, and everything comes back from the strict form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import TRICKY, masks

from vidmem.errors import UsageError
from vidmem.export.textmask import (
    BACKGROUND,
    OTHERS,
    Label,
    TextMask,
    build,
    decode,
    encode,
    escape,
    from_classes,
    from_masks,
    numbered,
    shrink,
    unescape,
    wrap,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "text4seg"
RECORDED: dict[str, Any] = json.loads((GOLDEN / "t4s_golden.json").read_text("utf-8"))
CASES = {case["name"]: case for case in RECORDED["cases"]}
BINARY = [name for name in CASES if not name.startswith("sem")]


def recorded_mask(name: str) -> NDArray[np.bool_]:
    with np.load(GOLDEN / "t4s_golden.npz", allow_pickle=False) as file:
        h, w = file[f"maskhw_{name}"]
        return np.unpackbits(file[f"mask_{name}"])[: h * w].reshape(h, w).astype(bool)


@pytest.mark.golden
@pytest.mark.parametrize("name", BINARY)
def test_one_thing_is_written_as_the_authors_write_it(name: str) -> None:
    case = CASES[name]
    mask = from_masks(recorded_mask(name)[None], [case["phrase"]], (case["h"], case["w"]))
    np.testing.assert_array_equal(mask.mask(case["phrase"]), np.array(case["small"], bool))
    assert encode(mask, "legacy") == encode(mask, "strict") == case["text"]
    np.testing.assert_array_equal(decode(case["text"]).mask(case["phrase"]), np.array(case["small"], bool))


@pytest.mark.golden
@pytest.mark.parametrize("name", ["sem16", "sem32"])
def test_many_things_are_written_as_the_authors_write_them(name: str) -> None:
    case = CASES[name]
    with np.load(GOLDEN / "t4s_golden.npz", allow_pickle=False) as file:
        classes = file["cmap"]
    names = {number: label for number, label in enumerate(case["names"]) if number}
    mask = from_classes(classes, names, (case["h"], case["w"]))
    assert encode(mask, "legacy") == case["text"]
    assert [label.name for label in mask.labels] == case["id_order"]
    np.testing.assert_array_equal(mask.cells, case["decoded_ids"])


@pytest.mark.golden
def test_cells_become_pixels_as_the_authors_have_it() -> None:
    case = CASES["disc"]
    pixels = build(np.array(case["small"]) - 1, ["red ball"]).pixels(300, 420)
    with np.load(GOLDEN / "t4s_golden.npz", allow_pickle=False) as file:
        wanted = np.unpackbits(file["mask_upsample"])[: 300 * 420].reshape(300, 420)
    np.testing.assert_array_equal(pixels == 0, wanted.astype(bool))


@given(masks())
def test_everything_comes_back_from_the_strict_form(mask: TextMask) -> None:
    text = encode(mask)
    assert decode(text) == mask
    assert decode(text, mask.cells.shape) == mask  # type: ignore[arg-type]
    assert text.count("\n") == mask.cells.shape[0]
    assert "<" not in text


@given(st.text(max_size=30) | TRICKY)
def test_names_come_back(name: str) -> None:
    text = escape(name)
    assert unescape(text) == name
    assert text
    assert text != OTHERS
    assert not set(text) & set("|*#<\n\r")
    assert text == text.strip(" ")


@given(st.text(max_size=200) | st.text(alphabet="ab *|\n 123\\#others", max_size=60))
def test_any_text_is_a_mask_or_a_usage_error(text: str) -> None:
    try:
        mask = decode(text)
    except UsageError:
        return
    assert decode(encode(mask)) == mask


@given(masks())
def test_where_the_legacy_form_can_hold_a_mask_it_is_the_strict_one(mask: TextMask) -> None:
    try:
        text = encode(mask, "legacy")
    except UsageError:
        return
    if all(escape(name) == name for name, _ in mask.labels):
        assert encode(mask) == text


def test_a_full_mask_comes_back() -> None:
    full = from_masks(np.ones((1, 9, 7), bool), ["wall"])
    assert decode(encode(full)).mask("wall").all()
    assert not decode(encode(from_masks(np.zeros((1, 9, 7), bool), ["wall"]))).labels


def test_instances_are_told_apart() -> None:
    mask = build(np.array([[0, 1, -1], [0, 2, 2]]), numbered(["cup", "cup", "plate"]))
    assert encode(mask) == "cup #1 *1| cup #2 *1| others *1\n cup #1 *1| plate *2\n"
    back = decode(encode(mask))
    assert back == mask
    assert back.mask("cup").tolist() == [[True, True, False], [True, False, False]]
    assert back.mask("cup", 2).tolist() == [[False, True, False], [False, False, False]]
    assert decode("cup #2 *1\n").labels == (Label("cup", 2),)
    assert decode(encode(build(np.zeros((1, 1), int), ["cup #2"]))).labels == (Label("cup #2", 0),)


def test_equal_labels_are_one_and_unused_ones_go() -> None:
    mask = build(np.array([[2, 0], [1, -7]]), ["a", "a", "b", "c"])
    assert mask.labels == (Label("b"), Label("a"))
    assert mask.cells.tolist() == [[0, 1], [1, BACKGROUND]]


def test_smaller_things_are_on_top() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 1:3, 1:3] = True
    masks[1] = True
    assert from_masks(masks, ["cup", "table"], (4, 4)).mask("cup").sum() == 4


def test_shrinking_takes_the_middle_of_each_cell() -> None:
    picture = np.arange(36).reshape(6, 6)
    assert shrink(picture, (2, 3)).tolist() == [[7, 9, 11], [25, 27, 29]]
    assert shrink(picture[:1, :1], (2, 2)).tolist() == [[0, 0], [0, 0]]


def test_tags() -> None:
    assert wrap("cup *1\n") == "<seg>cup *1\n</seg>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cup *16", "ends with a line break"),
        ("", "ends with a line break"),
        ("\n", "is not `label"),
        ("cup *2\ncup *2\n", "row 2 of the mask does not begin with a space"),
        ("cup *2\n cup *3\n", "row 2 of the mask has 3 cells, the first one 2"),
        ("cup *0\n", "is not `label"),
        ("cup 3\n", "is not `label"),
        ("cup *x\n", "is not `label"),
        ("a|b *2\n", "is not `label"),
        ("a *2 *3\n", "is not `label"),
        ("cup #0 *2\n", "is not `label"),
        ("\\x *2\n", r"holds \\x, which means nothing"),
        ("\\ *2\n", "which means nothing"),
        ("cup *999999999\n", "more than"),
        ("cup *600000\n cup *600000\n", "more than"),
    ],
)
def test_other_texts_fail(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        decode(text)


def test_another_grid_fails() -> None:
    with pytest.raises(UsageError, match="has 1x2 cells, not 16x16"):
        decode("cup *2\n", (16, 16))


@pytest.mark.parametrize("name", ["a|b", "2 * 3", "others", "", "a\nb"])
def test_the_legacy_form_refuses_what_it_cannot_hold(name: str) -> None:
    mask = build(np.zeros((2, 2), int), [name])
    with pytest.raises(UsageError, match="use the strict form"):
        encode(mask, "legacy")
    assert decode(encode(mask)) == mask


def test_bad_arguments_fail() -> None:
    with pytest.raises(UsageError, match="a grid is"):
        from_classes(np.ones((4, 4), int), ["cup"], (0, 16))
    with pytest.raises(UsageError, match="no pixels"):
        from_classes(np.ones((0, 4), int), ["cup"])
    with pytest.raises(UsageError, match="numbered from 1"):
        build(np.zeros((1, 1), int), [Label("cup", -1)])
    with pytest.raises(ValueError, match="not there"):
        build(np.ones((1, 1), int), ["cup"])
    with pytest.raises(ValueError, match="not there"):
        TextMask(np.zeros((1, 1), np.int32), ())
