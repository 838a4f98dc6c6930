"""The tokenizer keeps every answer, and the model sees where a token stands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.train.text4seg_toy import tokens
from lab.train.text4seg_toy.model import places
from lab.train.text4seg_toy.questions import NOUNS
from vidmem.export.textlayout import LAYOUTS, Layout, encode_layout
from vidmem.export.textmask import build, wrap


@given(st.lists(st.integers(-1, 0), min_size=64, max_size=64), st.sampled_from(LAYOUTS), st.sampled_from(NOUNS))
def test_every_answer_comes_back(cells: list[int], layout: Layout, noun: str) -> None:
    text = wrap(encode_layout(build(np.array(cells).reshape(8, 8), [noun]), layout))
    assert tokens.decode(tokens.encode(text)) == text


def test_a_count_is_one_token() -> None:
    assert len(tokens.encode("others *256\n")) == 4


def test_a_strange_word_is_refused() -> None:
    with pytest.raises(ValueError, match="elephant"):
        tokens.encode("<seg>elephant *8\n</seg>")


def test_a_question_is_padded_in_front() -> None:
    assert tokens.question(["the", "red", "thing"], 5)[:2] == [tokens.PAD_ID] * 2


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.lists(st.integers(-1, 0), min_size=16, max_size=16))
def test_places_are_those_of_the_next_cell(layout: Layout, cells: list[int]) -> None:
    written = tokens.encode(wrap(encode_layout(build(np.array(cells).reshape(4, 4), ["cross"]), layout)))
    row, column = (part[0].tolist() for part in places(torch.tensor([written]), 4))
    done = 0
    for number, token in enumerate(written):
        text = tokens.decode(written[: number + 1])
        if layout == "full":
            done = text.count("| ") + text.count("\n")
        else:
            done += int(tokens.TOKENS[token]) if tokens.TOKENS[token].isdigit() else 0
        assert (row[number], column[number]) == divmod(done, 4), text
    assert done == 16


def test_places_follow_the_lines_of_a_miscounted_text() -> None:
    written = tokens.encode("<seg>others *3\n others *1")
    row, column = places(torch.tensor([written]), 4)
    assert (row[0].tolist()[-3:], column[0].tolist()[-3:]) == ([1, 1, 1], [0, 0, 1])
