"""Questions and answers: the tasks, and that every answer holds its mask."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import TRICKY

from vidmem.errors import UsageError
from vidmem.export.instruct import ALL, ONE, STYLES, record
from vidmem.export.textanswer import read_answer
from vidmem.export.textmask import Form, Label, build, from_masks
from vidmem.export.trainset.content import Seen
from vidmem.export.trainset.turns import (
    MOST_PARTS,
    NOTHING,
    OPEN,
    PART,
    REFER,
    Task,
    Wish,
    expression_turn,
    only,
    picture_turns,
    said,
)

GRID = (4, 4)
POOL = ("sky", "grass", "cup", "drum", "kite", "ant")


def wish(form: Form = "strict", *, distractors: int = 2, say_grid: bool = False, **mix: float) -> Wish:
    weights: dict[Task, float] = {"refer": 1, "open": 0, "part": 0, "given": 0, "absent": 0}
    return Wish({**weights, **mix}, distractors, form, say_grid)  # type: ignore[typeddict-item]


def seen() -> Seen:
    """Sky above grass, two numbered cups, and an ant that is smaller than a cell."""
    masks = np.zeros((5, 16, 16), bool)
    masks[0, :8] = masks[1, 8:] = True
    masks[2, 8:12, :4] = masks[3, 8:12, 8:12] = True
    masks[4, 15, 15] = True
    labels = (Label("sky"), Label("grass"), Label("cup", 1), Label("cup", 2), Label("ant"))
    return Seen((16, 16), masks, None, labels, frozenset({"sky", "grass", "cup", "ant"}), POOL)


@pytest.mark.parametrize("seed", range(5))
def test_open_answers_with_everything(seed: int) -> None:
    (turn,) = picture_turns(random.Random(seed), seen(), GRID, 5, wish(open=1))
    assert turn.question in OPEN
    reading = read_answer(turn.answer, GRID)
    assert not reading.problems
    assert reading.mask == seen().at(GRID)
    assert Label("cup", 2) in reading.mask.labels
    assert Label("ant") not in reading.mask.labels


@pytest.mark.parametrize("seed", range(10))
def test_given_lists_what_is_there_and_absent_distractors(seed: int) -> None:
    (turn,) = picture_turns(random.Random(seed), seen(), GRID, 5, wish(given=1))
    assert read_answer(turn.answer, GRID, POOL).mask == seen().at(GRID)
    assert all(name in turn.question for name in ("sky", "grass", "cup"))
    assert "ant" not in turn.question.replace("want", "")  # it is in the picture, and too small to be shown
    assert sum(name in turn.question for name in ("drum", "kite")) <= 2
    assert any(wording.split("{names}")[0] in turn.question for wording in ALL)


def test_given_has_any_number_of_distractors() -> None:
    made = [picture_turns(random.Random(s), seen(), GRID, 1, wish(given=1))[0].question for s in range(60)]
    assert {sum(name in q for name in ("drum", "kite")) for q in made} == {0, 1, 2}
    none = [picture_turns(random.Random(s), seen(), GRID, 1, wish(given=1, distractors=0))[0] for s in range(9)]
    assert not any("drum" in turn.question or "kite" in turn.question for turn in none)


@pytest.mark.parametrize("seed", range(10))
def test_part_asks_for_some(seed: int) -> None:
    made = picture_turns(random.Random(seed), seen(), GRID, 5, wish(part=1))
    asked = [[n for n in ("sky", "grass", "cup") if n in turn.question] for turn in made]
    assert sorted(n for names in asked for n in names) == ["cup", "grass", "sky"]  # each of them once
    for turn, names in zip(made, asked, strict=True):
        assert 1 <= len(names) <= MOST_PARTS
        mask = read_answer(turn.answer, GRID, POOL).mask
        assert mask == only(seen().at(GRID), names)
        assert {label.name for label in mask.labels} == set(names)


def test_absent_things_have_an_empty_mask() -> None:
    made = picture_turns(random.Random(1), seen(), GRID, 9, wish(absent=1))
    assert {n for turn in made for n in POOL if f"{n}" in turn.question.split()[-1] or n in turn.question} >= {"drum"}
    assert len(made) == 2  # the drum and the kite; the ant is there
    assert all(not read_answer(turn.answer, GRID).mask.labels for turn in made)
    assert all("ant" not in turn.answer for turn in made)


def test_mixed_turns_are_different_questions() -> None:
    for seed in range(20):
        made = picture_turns(random.Random(seed), seen(), GRID, 4, wish(open=1, given=1, part=1, absent=1))
        assert len(made) == 4
        assert len({(turn.task, turn.question) for turn in made}) == 4
        assert [turn.task for turn in made].count("open") <= 1


def test_nothing_to_show_is_nothing_to_ask() -> None:
    masks = np.zeros((1, 16, 16), bool)
    masks[0, 15, 15] = True
    tiny = Seen((16, 16), masks, None, (Label("ant"),), frozenset({"ant"}), ("ant",))
    assert picture_turns(random.Random(0), tiny, GRID, 3, wish(open=1, given=1, part=1, absent=1)) == []


def test_expressions() -> None:
    mask = from_masks(seen().masks[2:3], ["the left cup"], GRID)  # type: ignore[index]
    turn = expression_turn(random.Random(0), "the left cup", mask, wish())
    assert turn.task == "refer"
    assert "the left cup" in turn.question
    assert read_answer(turn.answer, GRID, ["the left cup"]).mask == mask
    none = expression_turn(random.Random(0), "the third cup", build(np.full(GRID, -1), []), wish())
    assert none.task == "absent"
    assert none.answer.split("\n")[0] in {w.split("\n")[0].format(name="the third cup") for w in NOTHING}
    assert not read_answer(none.answer, GRID).mask.labels


def test_the_grid_is_named_where_there_are_several() -> None:
    (turn,) = picture_turns(random.Random(0), seen(), (4, 4), 1, wish(open=1, say_grid=True))
    assert turn.question.endswith(" The grid has 4 rows of 4 cells.")


NAMES = st.lists(TRICKY | st.text(max_size=200), min_size=1, max_size=4, unique=True)


@given(NAMES, st.integers(0, 9))
def test_any_labels_come_back(names: list[str], seed: int) -> None:
    cells = np.arange(16).reshape(GRID) % (len(names) + 1) - 1
    picture = Seen((4, 4), None, cells, tuple(map(Label, names)), frozenset(names), ("drum", *names))
    made = picture_turns(random.Random(seed), picture, GRID, 4, wish(open=1, given=1, part=1, absent=1))
    asked: list[str] = []
    for turn in made:
        reading = read_answer(turn.answer, GRID, names)
        assert not reading.problems
        if turn.task in ("open", "given"):
            assert reading.mask == build(cells, names)
        elif turn.task == "part":
            shown = [label.name for label in reading.mask.labels]
            assert reading.mask == only(build(cells, names), shown)
            assert all(said(name) in turn.question for name in shown)
            asked += shown
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("name", ["a|b", "size *2", "two\nlines", "others"])
def test_the_legacy_form_refuses_what_it_cannot_hold(name: str) -> None:
    picture = Seen((4, 4), None, np.zeros(GRID, int), (Label(name),), frozenset({name}), (name,))
    with pytest.raises(UsageError, match="use the strict form"):
        picture_turns(random.Random(0), picture, GRID, 1, wish("legacy", open=1))


def test_names_in_a_list_can_be_told_apart() -> None:
    assert [said(n) for n in ("cup", "red, ball", 'a "b"', "a\nb", " a")] == [
        "cup",
        '"red, ball"',
        '"a \\"b\\""',
        '"a\\nb"',
        '" a"',
    ]
    assert all("{name}" in text for text in (*REFER, *ONE))
    assert all("{names}" in text for text in (*PART, *ALL))


def test_styles_with_several_turns() -> None:
    turns = [("a", "b"), ("c", "d")]
    made = {style: record(style, "p.jpg", turns) for style in STYLES}
    assert made["internvl"] == {"query": "c", "response": "d", "history": [["a", "b"]], "images": ["p.jpg"]}
    assert made["llava"] == {**made["internvl"], "history": [["<image>\na", "b"]]}
    assert made["qwen"] == {"query": "c", "response": "d", "history": [["<img>p.jpg</img>\na", "b"]]}
    assert made["messages"] == {
        "messages": [
            {"role": "user", "content": "<image>a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
        ],
        "images": ["p.jpg"],
    }
    for style in STYLES:
        assert "images" not in record(style, None, turns)
        assert "img" not in str(record(style, None, turns))
        assert "image" not in str(record(style, None, turns))
