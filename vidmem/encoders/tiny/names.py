"""The names that `tiny` knows, and how it reads phrases that are not names.

Its table of word vectors can encode any English phrase, but finds nothing for one that it was not taught. So a message
says how a phrase was read. A name is read unchanged, because the calibration depends on its vector.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container, Sequence
from importlib.resources import files

from ..base import Reading
from .text_table import SKIPPED, said

NEAR = 3
_NOT = "not no never without except nor non"
_COLOURS = """
red blue green yellow white black brown grey gray pink purple violet beige turquoise orange golden silver dark light
bright pale colourful colorful coloured colored
"""
_SIZES = "big small large little tiny huge giant tall short long wide thick thin narrow heavy empty full open closed"
_KINDS = """
old new young broken dirty clean favourite favorite nice good bad beautiful ugly cheap expensive lost missing same other
another own only
"""
_COUNTS = "zero one two three four five six seven eight nine ten many several few all every each both lots most more"
_ASKED = "did do does have had has been be see saw put leave left lay go went who what when which that there"
UNREAD = frozenset(f"{_NOT} {_COLOURS} {_SIZES} {_KINDS} {_COUNTS} {_ASKED}".split())
"""Words that say which of several things is meant, or that none is. Tokens do not have such facts."""
_TELLING = re.compile(r".{2,}(?:y|ed|ing|en|ful|less)")
"""Endings of words that are rarely names of things: fluffy, striped, walking, wooden."""
_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "leaves": "leaf",
    "knives": "knife",
    "shelves": "shelf",
    "loaves": "loaf",
    "scarves": "scarf",
    "wolves": "wolf",
    "calves": "calf",
}


@functools.cache
def names() -> dict[str, str]:
    """Every name, with the name that it is a synonym of, or "".

    Synonyms in synonyms.txt also change the vector (see text.py).
    """
    out: dict[str, str] = {}
    for file in ("names.txt", "synonyms.txt"):  # the later one holds
        for line in (files("vidmem.encoders.tiny") / file).read_text("utf-8").splitlines():
            if line.startswith("#"):
                continue
            name, _, others = line.partition(":")
            out.setdefault(name, "")
            out |= {other.strip(): name for other in others.split(",") if other.strip()}
    return out


@functools.cache
def _keys() -> dict[str, str]:
    """Names by their significant words, as listed and in the singular."""
    out = {_key(name): name for name in names()}
    for key in [key for key in out if key.endswith("s")]:
        before, _, last = key.rpartition(" ")
        for form in _singulars(last)[1:]:
            out.setdefault(f"{before} {form}".strip(), out[key])
    return out


def _key(name: str) -> str:
    """The significant words. For names of letters and spaces, as most are, this takes a tenth of the time of `said`."""
    if name.isascii() and name.replace(" ", "").isalpha():
        return " ".join([word for word in name.split() if word not in SKIPPED]) or name
    return " ".join(said(name))


@functools.cache
def _glued() -> dict[str, str]:
    """Names by their letters without spaces."""
    return {key.replace(" ", ""): name for key, name in _keys().items()}


def name_of(words: Sequence[str]) -> str | None:
    """The name that these words spell, in the plural or singular; None if they are not a name."""
    *before, last = words
    for form in _singulars(last):
        found = _keys().get(" ".join([*before, form]))
        if found is not None:
            return found
    return None


def reading(phrase: str, vocabulary: Container[str]) -> Reading:
    """As `TextEncoder.reading`. vocabulary: whole words that have a vector."""
    words = said(phrase)
    if not words or name_of(words) is not None:
        return Reading(phrase)  # without words, encode_text says so
    glued = next((_glued()[form] for form in _singulars("".join(words)) if form in _glued()), None)
    strange = next((word for word in words if not _known(word, vocabulary)), None)
    if strange is not None:
        return Reading(glued, f"read as {glued!r}") if glued else Reading("", unknown=strange, near=near(strange))
    if glued is not None:  # "tooth brush": its words say the same
        return Reading(phrase)
    kept = _kept(words)
    if not kept:
        text = " ".join(words)
        return Reading("", f"{text[:40]!r} names no thing", text, _holding(words))
    return Reading(phrase if kept == words else " ".join(kept), _told(words, kept))


def near(word: str) -> tuple[str, ...]:
    """The names with the most similar spelling, those with the same letters first: a frequent typing error."""
    import difflib

    swapped = [name for name in names() if len(name) == len(word) and sorted(name) == sorted(word)]
    alike = difflib.get_close_matches(word, names(), NEAR, 0.65)
    return tuple(dict.fromkeys([*swapped, *alike, *_holding([word])]))[:NEAR]


def _holding(words: Sequence[str]) -> tuple[str, ...]:
    """Some names that contain one of these words."""
    wanted = set(words) - SKIPPED
    return tuple(name for name in names() if wanted & set(name.split()))[:NEAR]


def _kept(words: list[str]) -> list[str]:
    """Drop words that are not understood, as few as are needed to reach a name."""
    kept = list(words)
    while len(kept) > 1 and kept[0] in UNREAD and name_of(kept) is None:
        kept = kept[1:]
    if name_of(kept) is not None:
        return kept
    kept = [word for word in kept if word not in UNREAD | SKIPPED and not word.isdecimal()]
    return [w for w in kept[:-1] if w in _name_words() or not _TELLING.fullmatch(w)] + kept[-1:]


def _told(words: Sequence[str], kept: Sequence[str]) -> str:
    unread = list(words)
    for word in kept:
        unread.remove(word)
    parts = _parts(kept)
    dropped = f"{_list(unread)} {'is' if len(unread) == 1 else 'are'} not understood; " if unread else ""
    if len(parts) > 1:
        return f"{dropped}`tiny` has no name {' '.join(kept)[:60]!r}; read as one thing between {_list(parts)}"
    if name_of(kept) is None:
        return f"{dropped}{parts[0]!r} is none of the names that `tiny` was taught; an answer is a guess"
    return f"{dropped}read as {parts[0]!r}"


def _parts(words: Sequence[str]) -> list[str]:
    """Split words into names, the longest at each position; other words stand alone."""
    out, start = [], 0
    while start < len(words):
        last = min(len(words), start + _longest())
        ends = (end for end in range(last, start + 1, -1) if name_of(words[start:end]) is not None)
        end = next(ends, start + 1)
        out.append(" ".join(words[start:end]))
        start = end
    return out


def _known(word: str, vocabulary: Container[str]) -> bool:
    """Return True for whole words that are known. Word pieces do not count: every typing error has some."""
    if word in UNREAD or word in SKIPPED or (word.isdecimal() and word.isascii()):
        return True
    for form in _singulars(word):
        if (len(form) > 2 and form.isascii() and form in vocabulary) or (len(form) > 1 and form in _name_words()):
            return True
    return any(word[:i] in _name_words() and word[i:] in _name_words() for i in range(3, len(word) - 2))


@functools.cache
def _longest() -> int:
    """Number of words of the longest name."""
    return max(len(key.split()) for key in _keys())


@functools.cache
def _name_words() -> frozenset[str]:
    return frozenset(word for key in _keys() for word in key.split())


def _singulars(word: str) -> list[str]:
    """The word, and words that it may be the plural of."""
    out = [word]
    if word in _IRREGULAR:
        out.append(_IRREGULAR[word])
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        out.append(word[:-1])
        if word.endswith("es"):
            out.append(word[:-2])
        if word.endswith("ies"):
            out.append(f"{word[:-3]}y")
    return out


def _list(words: Sequence[str]) -> str:
    told = [repr(word[:40]) for word in words[:6]]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
