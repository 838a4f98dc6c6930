"""Makes damaged and hostile inputs from valid ones: bytes, text, JSON, and lists of arguments."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from .target import Mutate

MAX_BYTES = 1 << 20
"""Inputs that grow beyond this are cut."""

WIDTHS = (1, 2, 4, 8)
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, (1 << 62) + 1)
HUGE = ((1 << 63) - 1, 1 << 63, (1 << 64) - 1)

WORDS = [
    "", " ", "0", "-0", "-1", "1", "00000000000000000000", "99999999999999999999", "9" * 400, "9" * 5000,
    "1e308", "1e309", "-1e308", "1e-320", "nan", "NaN", "inf", "-inf", "Infinity", "0x10", "1_000", "٣", "½", "²",
    "\x00", "\x1b[31m", "\r\n", "\n", "\t", "\u2028", "\u202e", "\ufeff", "\ud800", "\udfff", "\U0001f600", "é",
    "e\u0301",
    "İ", "ß", "a" * 300, "a" * 70_000, "../../../etc/passwd", "/dev/zero", "%s%n", "{}", "{0.__class__}", "'\"`",
    "[" * 2000, "](" * 500, ",", ":", "#", "..", "=", "=1+1", "@", "*", "|", "\\", "<seg>", "</seg>", "others",
    "true", "null", "None", "2026-02-30", "0000-00-00", "9999-12-31T23:59:59", "now", "-9223372036854775808",
]  # fmt: skip
"""Texts that parsers stumble over."""

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 255, 256, 65535, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, -(1 << 63), 1 << 64,
    10**30, 10**400, 0.5, -0.0, 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), "", "a", "0", "1",
    "\x00",
    "\ud800", "é" * 200, "x" * 5000, "../x", "/etc/passwd", [], {}, [[]], [None], [0] * 1000, {"": None},
    {"a": {"a": {}}},
    [1, "a", None, {}], [[[[[[]]]]]], {"id": 1},
]  # fmt: skip


def binary(words: Sequence[bytes] = ()) -> Mutate:
    """Flips, extremes, cuts, repeats and splices of bytes. words: of the format, put anywhere."""

    def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
        data = bytearray(rng.choice(seeds))
        for _ in range(1 << rng.randrange(5)):
            if not data:
                data = bytearray(rng.choice(seeds)) or bytearray(b"\0")
            _alter(rng, data, seeds, words)
        return bytes(data[:MAX_BYTES])

    return mutate


def _alter(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    n = len(data)
    place = rng.randrange(n) if rng.random() < 0.7 else rng.randrange(min(n, 256))  # heads matter most
    length = min(rng.choice((1, 2, 4, 8, 16, 64, 256, 4096)), n - place)
    kind = rng.randrange(12)
    if kind == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place] = rng.randrange(256)
    elif kind in (2, 3):
        width = rng.choice(WIDTHS)
        value = rng.choice(EXTREMES + HUGE) & ((1 << 8 * width) - 1)
        data[place : place + width] = value.to_bytes(width, rng.choice(("little", "big")))
    elif kind == 4:
        width = rng.choice(WIDTHS)
        order = rng.choice(("little", "big"))
        old = int.from_bytes(data[place : place + width], order)
        data[place : place + width] = ((old + rng.randint(-16, 16)) % (1 << 8 * width)).to_bytes(width, order)
    elif kind == 5:
        del data[place : place + length]
    elif kind == 6:
        data[place:place] = data[place : place + length] * rng.choice((1, 1, 2, 50))
    elif kind == 7:
        data[place : place + length] = bytes([rng.choice((0, 255, 0x41))]) * length
    elif kind == 8:
        data[place:place] = rng.randbytes(rng.choice((1, 4, 32)))
    elif kind == 9 and rng.random() < 0.3:
        del data[place:]
    elif kind == 10:
        other = rng.choice(seeds)
        start = rng.randrange(len(other) or 1)
        data[place : place + length] = other[start : start + length]
    elif words:
        word = rng.choice(words)
        data[place : place + (len(word) if rng.random() < 0.5 else 0)] = word
    else:
        end = rng.randrange(n)
        data[place : place + length], data[end : end + length] = data[end : end + length], data[place : place + length]


def text(words: Sequence[str] = ()) -> Mutate:
    """Edits of text: odd words, numbers changed, pieces repeated and spliced. words: of the grammar, put anywhere.

    Lone surrogates are written as the bytes that Python's `surrogatepass` has for them.
    """
    blind = binary()

    def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
        if rng.random() < 0.15:
            return blind(rng, seeds)
        if words and rng.random() < 0.15:
            return "".join(rng.choices(words, k=rng.randint(1, 12))).encode("utf-8", "surrogatepass")
        found = rng.choice(seeds).decode("utf-8", "replace")
        for _ in range(1 << rng.randrange(4)):
            found = _edit(rng, found, seeds, words)
        return found.encode("utf-8", "surrogatepass")[:MAX_BYTES]

    return mutate


def _edit(rng: Random, given: str, seeds: Sequence[bytes], words: Sequence[str]) -> str:
    place = rng.randint(0, len(given))
    end = min(len(given), place + rng.choice((0, 1, 1, 2, 5, 20)))
    kind = rng.randrange(7)
    if kind == 0:
        return given[:place] + rng.choice(WORDS) + given[end:]
    if kind == 1 and words:
        return given[:place] + rng.choice(words) + given[end:]
    if kind == 2:
        return given[:place] + given[place:end] * rng.choice((0, 2, 3, 100)) + given[end:]
    if kind == 3:
        other = rng.choice(seeds).decode("utf-8", "replace")
        start = rng.randint(0, len(other))
        return given[:place] + other[start : start + rng.choice((1, 8, 40, 400))] + given[end:]
    if kind == 4:  # a number becomes another one
        digits = [i for i, c in enumerate(given) if c.isdigit()]
        if digits:
            at = rng.choice(digits)
            return given[:at] + rng.choice(WORDS[2:24]) + given[at + 1 :]
    if kind == 5:
        return given[:place] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x110000)))) + given[end:]  # fmt: skip # noqa: E501
    return given[:place] + given[end:]


def json_tree(words: Sequence[str] = ()) -> Mutate:
    """Changes in the tree of a JSON document: other values, keys that go or come, rows twice, deep nesting.

    words: names of fields that the format knows. Every seventh input is changed as text instead.
    """
    as_text = text()

    def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
        if rng.random() < 0.14:
            return as_text(rng, seeds)
        try:
            document = change_tree(rng, json.loads(rng.choice(seeds)), words)
            out = json.dumps(document, ensure_ascii=rng.random() < 0.8)
        except (ValueError, RecursionError):  # a seed that is no JSON, or numbers of thousands of digits
            return as_text(rng, seeds)
        if rng.random() < 0.02:
            depth = rng.choice((900, 5000, 100_000))
            out = rng.choice(("[" * depth, "[" * depth + "]" * depth, '{"a":' * depth, out[:-1] + "," + "[" * depth))
        return out.encode("utf-8", "surrogatepass")[:MAX_BYTES]

    return mutate


def change_tree(rng: Random, document: Any, words: Sequence[str] = ()) -> Any:
    """A document with some of its nodes changed."""
    root = [document]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        _change_node(rng, root, words)
    return root[0]


def _change_node(rng: Random, root: list[Any], words: Sequence[str]) -> None:
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting and len(places) < 5000:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    node, key = rng.choice(places)  # the root is one, so there is a place
    kind = rng.randrange(8)
    if kind == 0 and isinstance(node, dict):
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        name = rng.choice([*words, *map(str, node), "x"])
        node[name] = node.pop(key)
    elif kind == 2 and isinstance(node, list) and node is not root:
        node.insert(rng.randint(0, len(node)), copy.deepcopy(node[key]))
    elif kind == 3 and isinstance(node, list) and node is not root:
        del node[key]
    elif kind == 4:
        node[key] = _near(rng, node[key])
    elif kind == 5:
        other, name = rng.choice(places)
        node[key] = copy.deepcopy(other[name])
    else:
        node[key] = copy.deepcopy(rng.choice(VALUES))


def _near(rng: Random, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return rng.choice(VALUES)
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 1 << 31, 1 << 63, -value, -2 * value))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e300, value / 1e300, value + 1e-9, round(value, 1)))
    if isinstance(value, str):
        place = rng.randint(0, len(value))
        return value[:place] + rng.choice(WORDS) + value[place:]
    return rng.choice((value * 2, list(value), value[:1])) if isinstance(value, list) else [value]


def either(*choices: Mutate) -> Mutate:
    """One of several ways, each as likely."""

    def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
        return rng.choice(choices)(rng, seeds)

    return mutate


def mended(inner: Mutate, mend: Callable[[bytes], bytes], share: float = 0.8) -> Mutate:
    """Inputs whose checksum was made right, so that they get past it. share: of all inputs."""

    def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
        data = inner(rng, seeds)
        return mend(data) if rng.random() < share else data

    return mutate
