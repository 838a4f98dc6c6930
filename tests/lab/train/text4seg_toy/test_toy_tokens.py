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


def test_places_count_line_breaks_and_tokens_since() -> None:
    answer = torch.tensor([tokens.encode("<seg>others *2\n cross *1| others *1\n</seg>")])
    row, place = places(answer)
    assert row[0].tolist() == [0] * 5 + [1] * 8 + [2]
    assert place[0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 0]
