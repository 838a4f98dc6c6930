"""CLIP's byte-pair tokens (Radford et al., 2021), from the vocabulary file that CLIP and dino.txt share.

The file `bpe_simple_vocab_16e6.txt.gz` has one merge per line, best first. The ids are 256 bytes, 256 bytes that end a
word, 48,894 merges, start and end. The `tokenizers` library does the merging.
"""

from __future__ import annotations

import gzip
import html
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, UsageError

MERGES = 49152 - 256 - 2
"""Number of merges that CLIP uses, of the 262,144 in the file."""
CONTEXT = 77
"""Maximum number of tokens of a text, start and end included."""
_MAX_BYTES = 16 << 20
"""Maximum size of the unpacked file. The real one has 3 MB; a damaged one could claim far more."""
_WORDS = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
_COMPATIBILITY = [
    0x132,
    0x133,
    0x149,
    *range(0x1C4, 0x1CD),
    *range(0x1F1, 0x1F4),
    0x3000,
    *range(0xFB00, 0xFB07),
    *range(0xFF01, 0xFFF0),
]
_PLAIN = {code: unicodedata.normalize("NFKC", chr(code)) for code in _COMPATIBILITY}
_PLAIN |= dict.fromkeys((0x2BC, 0x2018, 0x2019, 0x201B), "'") | dict.fromkeys((0x201C, 0x201D, 0x201F), '"')
_PLAIN[0x149] = "'n"
"""Plain forms of ligatures, full-width letters and curly quotes, as in CLIP's cleaning."""


class Tokens:
    """Turns phrases into ids.

    Args:
        ids: Returns the ids of a phrase, without start and end.
        start: Id of the start.
        end: Id of the end.
        context: Maximum number of tokens.
    """

    def __init__(self, ids: Callable[[str], list[int]], start: int, end: int, context: int) -> None:
        self._ids, self._start, self._end, self.context = ids, start, end, context

    def count(self, phrase: str) -> int:
        """Number of tokens of a phrase, start and end included."""
        return len(self._ids(phrase)) + 2

    def __call__(self, phrases: Sequence[str]) -> NDArray[np.int64]:
        """Ids `(n, L)` int64: start, the phrase, end, zeros. L is the number of tokens of the longest phrase.

        Raises:
            UsageError: A phrase has no tokens, or more than `context`.
        """
        rows = [self._ids(phrase) for phrase in phrases]
        for phrase, row in zip(phrases, rows, strict=True):
            if not row:
                raise UsageError(f"no word in {phrase!r}; name a thing")
            if len(row) + 2 > self.context:
                cause = f"the phrase has {len(row) + 2} tokens, at most {self.context} fit"
                raise UsageError(f"{cause}; shorten it: {phrase[:60]!r}")
        out = np.zeros((len(rows), 2 + max(map(len, rows), default=0)), np.int64)
        for filled, row in zip(out, rows, strict=True):
            filled[: len(row) + 2] = [self._start, *row, self._end]
        return out


def load_tokens(path: Path, *, context: int = CONTEXT) -> Tokens:
    """Load CLIP's tokens from the vocabulary file.

    Phrases are cleaned as in CLIP: HTML entities, quotes, ligatures, full-width letters, white space and case. Wrongly
    decoded text is not repaired (ftfy). Raises ModelError if the file or the library is missing or damaged.
    """
    try:
        from tokenizers import Regex, Tokenizer, pre_tokenizers
        from tokenizers.models import BPE
    except ImportError:
        raise ModelError("the text side needs tokenizers; pip install 'vidmem[tren]'") from None
    merges = _merges(path)
    letters = _byte_letters()
    names = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges)]
    ids = {name: i for i, name in enumerate(names)}
    start, end = len(names), len(names) + 1
    tokenizer = Tokenizer(BPE(ids, merges, end_of_word_suffix="</w>"))
    split = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, spell])

    def read(phrase: str) -> list[int]:
        found: list[int] = tokenizer.encode(clean(phrase), add_special_tokens=False).ids
        return found

    return Tokens(read, start, end, context)


def clean(phrase: str) -> str:
    """The phrase in lower case and composed Unicode, with single spaces, and without entities and unusual letters."""
    plain = html.unescape(html.unescape(unicodedata.normalize("NFC", phrase).translate(_PLAIN)))
    return " ".join(plain.split()).lower()


def _merges(path: Path) -> list[tuple[str, str]]:
    try:
        with gzip.open(path) as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError("too long")
        lines = text.decode("utf-8").split("\n")[1 : MERGES + 1]  # the first line is a heading
        pairs = [(a, b) for a, b in (line.split() for line in lines)]
        if len(pairs) != MERGES:
            raise ValueError("too few lines")
    except FileNotFoundError:
        raise ModelError(f"the vocabulary is missing; `vidmem models pull tren` fetches it: {path}") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ModelError(f"the vocabulary is damaged ({error}); fetch it again: {path}") from None
    return pairs


def _byte_letters() -> list[str]:
    """A printable letter for each byte, in the order of the ids. Printable bytes stand for themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = 256 - len(plain)
    return [*map(chr, plain), *(chr(256 + i) for i in range(rest))]
