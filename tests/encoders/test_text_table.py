"""Phrases to vectors: words, word pieces, what is ignored, and what cannot be read."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.encoders.tiny.text_table import LONGEST_WORD, SKIPPED, TextTable, phrase_pieces, pieces, words
from vidmem.errors import UsageError

VOCABULARY = ["key", "keys", "##s", "um", "##brella", "##b", "red", "pinata", "the", "my", "9", "k", "##9", "é", "ключ"]
INDEX = {piece: i for i, piece in enumerate(VOCABULARY)}
LETTERS = st.text("abcde", min_size=1, max_size=12)


@pytest.fixture
def table() -> TextTable:
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (len(VOCABULARY), 16)).astype(np.int8)
    return TextTable(VOCABULARY, rows, rng.uniform(0.001, 0.01, len(VOCABULARY)).astype(np.float32))


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Red KEYS", ["red", "keys"]),
        ("my dog's toy", ["my", "dog", "toy"]),
        ("dog’s", ["dog"]),
        ("Piñata café", ["pinata", "cafe"]),
        ("jack-in-the-box, please!", ["jack", "in", "the", "box", "please"]),
        ("snake_case", ["snake", "case"]),
        ("9 k9", ["9", "k9"]),
        ("  \n ", []),
        ("?!", []),
    ],
)
def test_words(phrase: str, expected: list[str]) -> None:
    assert words(phrase) == expected


@given(st.text(max_size=40))
def test_words_are_stable(phrase: str) -> None:
    found = words(phrase)
    assert all(word and not any(c.isspace() or c == "_" for c in word) for word in found)
    assert words(phrase) == found


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("keys", ["keys"]),
        ("umbrella", ["um", "##brella"]),
        ("umbrellas", ["um", "##brella", "##s"]),
        ("k9", ["k", "##9"]),
        ("umb", ["um", "##b"]),
        ("xyz", []),
        ("keyx", []),
        ("", []),
    ],
)
def test_pieces_are_the_longest_from_the_left(word: str, expected: list[str]) -> None:
    assert [VOCABULARY[i] for i in pieces(word, INDEX)] == expected


@given(LETTERS, st.sets(LETTERS, max_size=12), st.sets(LETTERS, max_size=12))
def test_pieces_make_up_the_word_or_there_are_none(word: str, starts: set[str], rests: set[str]) -> None:
    vocabulary = [*starts, *("##" + rest for rest in rests)]
    index = {piece: i for i, piece in enumerate(vocabulary)}
    found = [vocabulary[i] for i in pieces(word, index)]
    if found:
        assert "".join(piece.removeprefix("##") for piece in found) == word
        assert not found[0].startswith("##")
        assert all(piece.startswith("##") for piece in found[1:])
        assert not [s for s in starts if word.startswith(s) and len(s) > len(found[0])]
    if word in starts:
        assert found == [word]


def test_a_word_of_any_length_is_quick() -> None:
    index = {"x": 0, "##x": 1}
    assert len(pieces("x" * LONGEST_WORD, index)) == LONGEST_WORD
    began = time.perf_counter()
    assert pieces("x" * 1_000_000, index) == []
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "phrase", ["the red key", "my red key", "Where is the red key?", "photo of a red key", "red key's"]
)
def test_words_that_say_nothing_are_ignored(table: TextTable, phrase: str) -> None:
    np.testing.assert_array_equal(table.encode([phrase]), table.encode(["red key"]))


def test_they_count_when_there_is_nothing_else(table: TextTable) -> None:
    assert "the" in SKIPPED
    assert phrase_pieces("the", INDEX) == [INDEX["the"]]
    assert table.encode(["the"]).any()


def test_accents_are_ignored(table: TextTable) -> None:
    np.testing.assert_array_equal(table.encode(["piñata"]), table.encode(["PINATA"]))


@pytest.mark.parametrize("phrase", ["red zzz", "red ключ", "the ключ red"])
def test_a_phrase_that_is_read_in_part_fails(table: TextTable, phrase: str) -> None:
    with pytest.raises(UsageError, match=r"cannot read '(zzz|ключ)'"):
        table.encode([phrase])


def test_a_phrase_is_the_unit_mean_of_its_pieces(table: TextTable) -> None:
    rows = [INDEX["red"], INDEX["um"], INDEX["##brella"]]
    mean = (table.table[rows] * table.scale[rows, None]).mean(0)
    (vector,) = table.encode(["red umbrella"])
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=1e-5)


@given(
    st.lists(st.lists(st.sampled_from(["red", "keys", "umbrella", "k9", "the"]), min_size=1), min_size=1, max_size=5)
)
def test_vectors_have_unit_length_and_depend_on_nothing_else(phrases: list[list[str]]) -> None:
    rng = np.random.default_rng(1)
    table = TextTable(
        VOCABULARY,
        rng.integers(1, 128, (len(VOCABULARY), 8)).astype(np.int8),
        np.full(len(VOCABULARY), 0.01, np.float32),
    )
    joined = [" ".join(group) for group in phrases]
    together = table.encode(joined)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    for phrase, row in zip(joined, together, strict=True):
        np.testing.assert_array_equal(table.encode([phrase])[0], row)


@pytest.mark.parametrize("phrase", ["", "   ", "!?", "🔑", "ключ", "鍵", "กุญแจ", "é?ж", "zzz", "keyx " * 3])
def test_nothing_readable_fails(table: TextTable, phrase: str) -> None:
    with pytest.raises(UsageError, match=r"no English word in .*`image`"):
        table.encode(["red", phrase])


def test_no_phrases_give_no_vectors(table: TextTable) -> None:
    assert table.encode([]).shape == (0, 16)
