"""The word-level tokenizer: words of questions, labels, "*", counts, "|" and line breaks, each one token.

Counts up to 256 are single tokens, so that run lengths over a whole 16 x 16 picture need no splitting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch

from vidmem.export.textmask import CLOSE, OPEN, OTHERS

from .questions import WORDS

PAD = "<pad>"
STAR, BAR, BREAK, END = " *", "| ", "\n ", "\n"
COUNTS = 256
TOKENS = (PAD, OPEN, CLOSE, STAR, BAR, BREAK, END, OTHERS, *WORDS, *(str(n) for n in range(1, COUNTS + 1)))
IDS = {token: number for number, token in enumerate(TOKENS)}
PAD_ID, OPEN_ID, CLOSE_ID = IDS[PAD], IDS[OPEN], IDS[CLOSE]
STAR_ID, BREAK_ID = IDS[STAR], IDS[BREAK]
WORTH = torch.tensor([int(token) if token.isdigit() else 0 for token in TOKENS])
"""The cells of a count, 0 for other tokens."""
LABEL = torch.tensor([token == OTHERS or token in WORDS for token in TOKENS])
CLOSING = torch.tensor([token in (BAR, END) for token in TOKENS])

_PIECE = re.compile("|".join(re.escape(token) for token in sorted(TOKENS[1:], key=len, reverse=True)))


def encode(text: str) -> list[int]:
    """The tokens of an answer. Raises ValueError for text that the vocabulary cannot hold."""
    out, at = [], 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise ValueError(f"no token begins {text[at : at + 20]!r}")
        out.append(IDS[match[0]])
        at = match.end()
    return out


def decode(ids: Iterable[int]) -> str:
    """The text of tokens."""
    return "".join(TOKENS[number] for number in ids)


def question(words: Sequence[str], length: int) -> list[int]:
    """The tokens of a question, padded in front to `length`."""
    return [PAD_ID] * (length - len(words)) + [IDS[word] for word in words]
