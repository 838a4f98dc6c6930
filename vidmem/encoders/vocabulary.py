"""How an encoder reads phrases, and the messages about it. See Reading and TextEncoder in base.py."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnknownWordError, UsageError
from ..timecode import quoted
from .base import Reading, TextEncoder

MOST_TOLD = 5


def tried(encoder: TextEncoder, phrase: str) -> Reading | UnknownWordError:
    """How the encoder reads `phrase`: as it is, if it can read any. Raises UsageError for what is too long."""
    letters, words = encoder.max_letters, encoder.max_words
    if len(phrase) > letters or (words is not None and len(phrase.split()) > words):
        most = f"{letters} letters" if words is None else f"{words} words and {letters} letters"
        raise UsageError(f"{quoted(phrase)} is too long; name a thing in no more than {most}")
    found = encoder.reading(phrase)
    return UnknownWordError(found.unknown, found.near, found.note) if found.unknown else found


def read(encoder: TextEncoder, phrases: Sequence[str], *, guess: bool = False) -> list[Reading]:
    """How the encoder reads each of them. guess: what it does not know is taken as it is, and a note says so.

    Raises UnknownWordError for words that it does not know, all of them in one, and UsageError for what is too long.
    """
    every = [tried(encoder, phrase) for phrase in phrases]
    unread = [one for one in every if isinstance(one, UnknownWordError)]
    if unread and not guess:
        raise unread[0] if len(unread) == 1 else _joined(unread)
    return [
        Reading(phrase, "not known, an answer is a guess") if isinstance(one, UnknownWordError) else one
        for phrase, one in zip(phrases, every, strict=True)
    ]


def instead(unknown: UnknownWordError, done: str) -> str:
    """What is to be said where words are not known and the rest was asked all the same. done: how."""
    told, _, remedy = str(unknown).rpartition("; ")
    return f"{told} ({remedy}); {done}"


def notes(phrases: Sequence[str], readings: Sequence[Reading]) -> list[str]:
    """What is to be said of the readings of several phrases."""
    return [f"{phrase[:40]!r}: {one.note}" for phrase, one in zip(phrases, readings, strict=True) if one.note]


def first_few(lines: Sequence[str]) -> list[str]:
    """Some of the lines, and how many more there are."""
    more = len(lines) - MOST_TOLD
    return [*lines[:MOST_TOLD], *([f"and {more} more like these"] if more > 0 else [])]


def few(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more


def _joined(errors: Sequence[UnknownWordError]) -> UnknownWordError:
    words = list(dict.fromkeys(error.word for error in errors))
    near = [name for error in errors[:MOST_TOLD] for name in error.near[:1]]
    told = few([repr(word[:40]) for word in words])
    return UnknownWordError(words[0], list(dict.fromkeys(near)), f"I don't know the words {told}")
