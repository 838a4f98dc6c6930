"""CLIP's tokens against a plain byte-pair encoder, on a small vocabulary."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from encoders import tren_files
from hypothesis import given
from hypothesis import strategies as st

from vidmem.encoders.tren.tokenizer import MERGES, Tokens, clean, load_tokens
from vidmem.errors import ModelError, UsageError

START, END = 49406, 49407


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "bpe.txt.gz"
    tren_files.write_vocabulary(path)
    return path


@pytest.fixture(scope="module")
def tokens(file: Path) -> Tokens:
    return load_tokens(file)


@pytest.fixture(scope="module")
def ranks() -> dict[tuple[str, str], int]:
    return {pair: i for i, pair in enumerate(tren_files.merges())}


def pieces(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merge the best pair until none is left (Sennrich et al., 2016)."""
    parts = [*word[:-1], word[-1] + "</w>"]
    while len(parts) > 1:
        best = min(itertools.pairwise(parts), key=lambda pair: ranks.get(pair, MERGES))
        if best not in ranks:
            break
        out, i = [], 0
        while i < len(parts):
            pair = tuple(parts[i : i + 2])
            out.append("".join(pair) if pair == best else parts[i])
            i += 2 if pair == best else 1
        parts = out
    return parts


def number(piece: str, ranks: dict[tuple[str, str], int]) -> int:
    """Ids of lower-case letters, inside and at the end of a word, and of merges."""
    letter = piece.removesuffix("</w>")
    if len(letter) == 1:
        return ord(letter) - ord("!") + (256 if piece.endswith("</w>") else 0)
    made = {a + b: 512 + i for (a, b), i in ranks.items()}
    return made[piece]


@given(st.lists(st.text("abcdeq", min_size=1, max_size=9), min_size=1, max_size=5))
def test_words_of_letters(tokens: Tokens, ranks: dict[tuple[str, str], int], words: list[str]) -> None:
    found = tokens([" ".join(words)])[0].tolist()
    joined = [piece for word in words for piece in pieces(word, ranks)]
    assert len(found) == len(joined) + 2
    assert (found[0], found[-1]) == (START, END)
    names = {i + 512: a + b for i, (a, b) in enumerate(ranks)}
    for token, piece in zip(found[1:-1], joined, strict=True):
        assert names.get(token, piece) == piece
        if token < 512:
            assert token == number(piece, ranks)


def test_numbers_are_split_and_bytes_have_ids(tokens: Tokens) -> None:
    one, three = ord("1") - ord("!") + 256, ord("3") - ord("!") + 256
    assert tokens(["13"]).tolist() == [[START, one, three, END]]
    assert tokens(["!"]).tolist() == [[START, 256, END]]
    # é is the bytes C3 A9; printable bytes from A1 on follow the 94 of ASCII, AD is left out
    assert tokens(["é"]).tolist() == [[START, 94 + 0xC3 - 0xA1 - 1, 256 + 94 + 0xA9 - 0xA1, END]]


def test_short_rows_are_filled_with_zeros(tokens: Tokens) -> None:
    found = tokens(["a", "a b c"])
    assert found.shape == (2, 5)
    assert found[0].tolist()[2:] == [END, 0, 0]
    assert found.argmax(1).tolist() == [2, 4]  # the position that the text tower pools
    assert tokens([]).shape[0] == 0


@pytest.mark.parametrize(
    ("phrase", "same"),
    [
        ("  A  Mug\t", "a mug"),
        ("x &amp; y", "x & y"),
        ("it\u2019s \u201cx\u201d", 'it\'s "x"'),
        ("\ufb01le", "file"),
        ("e\u0301", "\u00e9"),
        ("\uff21\uff22", "ab"),
    ],
)
def test_phrases_are_cleaned_as_in_clip(tokens: Tokens, phrase: str, same: str) -> None:
    assert clean(phrase) == same
    assert tokens([phrase]).tolist() == tokens([same]).tolist()


def test_end_of_text_in_a_phrase_does_not_end_it(tokens: Tokens) -> None:
    found = tokens(["<|endoftext|> a"])[0].tolist()
    assert found.count(END) == 1


def test_a_phrase_that_is_too_long_fails(tokens: Tokens) -> None:
    assert tokens(["1 " * 75]).shape == (1, 77)
    assert tokens.count("1 " * 75) == 77
    with pytest.raises(UsageError, match="the phrase has 78 tokens, at most 77 fit; shorten it"):
        tokens(["1 " * 76])


@pytest.mark.parametrize("phrase", ["", "  ", "\n"])
def test_a_phrase_without_words_fails(tokens: Tokens, phrase: str) -> None:
    with pytest.raises(UsageError, match="no word"):
        tokens(["mug", phrase])


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"no gzip",
        lambda data: gzip.compress(b"heading\na b\n"),
        lambda data: gzip.compress(b"heading\n" + b"a b c\n" * 50000),
        lambda data: gzip.compress(b"a" * (17 << 20)),
        lambda data: gzip.compress(b"\xff\n" * 50000),
        lambda data: b"",
    ],
)
def test_a_damaged_vocabulary_fails(file: Path, tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    (tmp_path / "bad.gz").write_bytes(harm(file.read_bytes()))
    with pytest.raises(ModelError, match=r"the vocabulary is damaged .*fetch it again"):
        load_tokens(tmp_path / "bad.gz")


def test_a_missing_vocabulary_fails(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the vocabulary is missing; `vidmem models pull tren`"):
        load_tokens(tmp_path / "none.gz")
