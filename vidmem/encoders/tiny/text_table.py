"""The text tower of `tiny`: a table of word-piece vectors, averaged. It needs numpy alone, so `where` starts fast.

The table was distilled from a sentence encoder and tuned with the pictures (see the model card); a phrase is the
normalised mean of its pieces, function words left out. Word order is lost; that is the price of 4 MB and 1 ms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from ...errors import UsageError
from ...records import Float32

_FUNCTION_WORDS = """
a an the my your our his her its their some any this that these those of on in with and or for to at by from is are was
were where i we you me please find last seen photo picture image
"""
SKIPPED = frozenset(_FUNCTION_WORDS.split())
"""Words that do not describe a thing; kept if the phrase has no others."""
LONGEST_WORD = 100
"""Maximum letters of a word. Longer strings would take seconds to cut into pieces."""


def words(phrase: str) -> list[str]:
    """Lower-case words of letters and digits without accents, so that "Piñata" equals "pinata"."""
    plain = unicodedata.normalize("NFD", phrase.lower())
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    plain = re.sub(r"'s\b|’s\b", "", plain)
    return re.findall(r"[^\W_]+", plain)


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """Greedy longest-match word pieces; [] if a part of the word matches none."""
    if len(word) > LONGEST_WORD:
        return []
    out, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = vocabulary.get(word[start:end] if start == 0 else "##" + word[start:end])
            if piece is not None:
                break
        else:
            return []
        out.append(piece)
        start = end
    return out


def said(phrase: str) -> list[str]:
    """The words of `phrase` without function words, unless there are no others."""
    every = words(phrase)
    return [w for w in every if w not in SKIPPED] or every


def phrase_pieces(phrase: str, vocabulary: dict[str, int]) -> list[int]:
    """Rows of the table for `phrase`; [] if it has no known word."""
    return [p for w in said(phrase) for p in pieces(w, vocabulary)]


class TextTable:
    """table `(V, D)` int8 with a float32 scale per row `(V,)`; vocabulary: V word pieces in row order.

    Pieces beyond ASCII are left out: single letters of other scripts, which would make any Russian word a wrong one.
    """

    def __init__(self, vocabulary: Sequence[str], table: np.ndarray, scale: np.ndarray) -> None:
        self.vocabulary = {piece: i for i, piece in enumerate(vocabulary) if piece.isascii()}
        self.table, self.scale = table, scale

    def encode(self, phrases: Sequence[str]) -> Float32:
        """`(n, D)` float32 unit vectors.

        Raises:
            UsageError: A phrase has no words, or one that is not in the table: the rest would be another question.
        """
        out = np.empty((len(phrases), self.table.shape[1]), np.float32)
        for i, phrase in enumerate(phrases):
            strange = [w for w in said(phrase) if not pieces(w, self.vocabulary)]
            rows = phrase_pieces(phrase, self.vocabulary)
            if strange and rows:
                raise UsageError(
                    f"`tiny` reads English and cannot read {strange[0][:40]!r}; leave it out or say it otherwise"
                )
            if not rows:
                raise UsageError(f"no English word in {phrase!r}; `tiny` reads English, try a picture (`image`)")
            vector = (self.table[rows].astype(np.float32) * self.scale[rows, None]).mean(0)
            out[i] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return out
