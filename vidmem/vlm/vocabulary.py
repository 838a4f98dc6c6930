"""The tokens of a tokenizer as bytes, and those of them that may follow in a mask."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..export.textmask import CLOSE, OPEN
from .grammar import MaskGrammar, State

_known: WeakKeyDictionary[Any, Vocabulary] = WeakKeyDictionary()


class Vocabulary:
    """Tokens, sorted, so that those with a beginning are a range; a tree of 150,000 tokens takes longer to build.

    tokens: The bytes of each token; an empty one is never allowed.
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        order = [index for index in range(len(tokens)) if tokens[index]]
        order.sort(key=tokens.__getitem__)
        self._tokens = tokens
        self._sorted = [tokens[index] for index in order]
        self._ids = np.array(order, np.int64)

    def __len__(self) -> int:
        return len(self._tokens)

    def text(self, index: int) -> bytes:
        """The bytes of a token."""
        return self._tokens[index]

    def continuations(self, grammar: MaskGrammar, state: State) -> list[tuple[State, NDArray[np.int64]]]:
        """The ids of the tokens that may follow, by the state after them."""
        found: list[tuple[State, NDArray[np.int64]]] = []
        pending: list[tuple[State, bytes, int, int]] = [(state, b"", 0, len(self._sorted))]
        while pending:
            at, text, low, high = pending.pop()
            for byte, following in grammar.moves(at).items():
                longer = text + bytes((byte,))
                start = bisect_left(self._sorted, longer, low, high)
                # No byte of UTF-8 is 255, so this is behind all tokens with that beginning.
                end = bisect_left(self._sorted, longer + b"\xff", start, high)
                if start == end:
                    continue
                inner = bisect_left(self._sorted, longer + b"\0", start, end)
                if inner > start:
                    found.append((following, self._ids[start:inner]))
                if inner < end:
                    pending.append((following, longer, inner, end))
        return found

    def has_bytes_of(self, grammar: MaskGrammar) -> bool:
        """Return True if each byte of a grammar's texts is a token, so that any beginning can be finished."""
        needed = set(f"{OPEN}{CLOSE}| *\n0123456789{''.join(grammar.words)}".encode())
        return all(self.spells(bytes((byte,))) for byte in needed)

    def spells(self, text: bytes) -> bool:
        """Return True if a text can be put together from tokens."""
        reached = [True] + [False] * len(text)
        for start in range(len(text)):
            low, high = 0, len(self._sorted)
            for end in range(start + 1, len(text) + 1 if reached[start] else 0):
                piece = text[start:end]
                low = bisect_left(self._sorted, piece, low, high)
                high = bisect_left(self._sorted, piece + b"\xff", low, high)
                if low == high:
                    break
                reached[end] |= self._sorted[low] == piece
        return reached[-1]

    def check(self, grammar: MaskGrammar) -> None:
        """Raise ModelError if the tokens cannot spell a label or a count of a grammar."""
        counts = range(1, grammar.grid[1] + 1)
        for word in grammar.words:
            if not any(self.spells(f"\n {word} *{count}\n".encode()) for count in counts):
                raise ModelError(f"the tokenizer cannot write the label {word[:40]!r}; decode without constraints")
        for count in counts:
            if not any(self.spells(f"\n {word} *{count}\n".encode()) for word in grammar.words):
                raise ModelError(f"the tokenizer cannot write the count {count}; decode without constraints")


def vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer of `transformers`, made once for each."""
    known = _known.get(tokenizer)
    if known is None:
        known = _known[tokenizer] = Vocabulary(token_bytes(tokenizer))
    return known


def token_bytes(tokenizer: Any) -> list[bytes]:
    """What each token adds to a text; empty for special tokens, except for the tags of masks."""
    names: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    kinds = _decoders(tokenizer)
    if "ByteLevel" in kinds:
        table = _byte_table()
        out = [_by_table(name or "", table) for name in names]
    elif kinds & {"ByteFallback", "Metaspace"} or (kinds and _has_blanks(names)):
        out = [_by_pieces(name or "") for name in names]
    else:
        out = _by_decoding(tokenizer, len(names))
    special = set(tokenizer.all_special_ids)
    for index, token in tokenizer.added_tokens_decoder.items():
        if index < len(out):
            hidden = (token.special or index in special) and token.content not in (OPEN, CLOSE)
            out[index] = b"" if hidden else token.content.encode()
    for index in special - tokenizer.added_tokens_decoder.keys():
        out[index] = b""
    return out


def _decoders(tokenizer: Any) -> set[str]:
    """The kinds of the decoder's steps; none for a tokenizer that is written in Python."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if decoder is None:
        return set()
    step = json.loads(decoder.__getstate__())
    return {each["type"] for each in step.get("decoders", [step])}


def _has_blanks(names: Sequence[str | None]) -> bool:
    return any(name is not None and name.startswith("▁") for name in names)


def _by_pieces(name: str) -> bytes:
    """A token of SentencePiece: "▁" is a space, and <0x0A> a byte."""
    if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        return bytes((int(name[3:5], 16),))
    return name.replace("▁", " ").encode()


def _byte_table() -> dict[str, int]:
    """The bytes behind the characters of byte-level BPE: printable ones stand for themselves, the others follow
    from 256 on (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _by_table(name: str, table: dict[str, int]) -> bytes:
    try:
        return bytes(map(table.__getitem__, name))
    except KeyError:
        return name.encode()


def _by_decoding(tokenizer: Any, size: int) -> list[bytes]:
    """What decoding writes for each token behind another one."""
    anchor = next((i for i in range(size) if _decoded(tokenizer, [i]).strip()), 0)
    before = _decoded(tokenizer, [anchor])
    texts = (_decoded(tokenizer, [anchor, index]) for index in range(size))
    return [
        text.removeprefix(before).encode() if text.startswith(before) and "\ufffd" not in text else b""
        for text in texts
    ]


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
