"""How an encoder reads phrases, and the messages about it; see `Reading` and `TextEncoder` in base.py."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnknownWordError, UsageError
from ..timecode import quoted
from .base import Reading, TextEncoder

MAX_LISTED = 5
"""Maximum number of lines or names in a message; the rest is counted."""


def try_reading(encoder: TextEncoder, phrase: str) -> Reading | UnknownWordError:
    """How the encoder reads `phrase`, or the error if it does not know a word. Raises UsageError if it is too long."""
    letters, words = encoder.max_letters, encoder.max_words
    if len(phrase) > letters or (words is not None and len(phrase.split()) > words):
        limit = f"{letters} letters" if words is None else f"{words} words and {letters} letters"
        raise UsageError(f"{quoted(phrase)} is too long; name a thing in no more than {limit}")
    found = encoder.reading(phrase)
    return UnknownWordError(found.unknown, found.near, found.note) if found.unknown else found


def read(encoder: TextEncoder, phrases: Sequence[str], *, guess: bool = False) -> list[Reading]:
    """How the encoder reads each phrase.

    guess: take a phrase that is not known as it is, with a note.

    Raises:
        UnknownWordError: Words are not known; one error has all of them.
        UsageError: A phrase is too long.
    """
    results = [try_reading(encoder, phrase) for phrase in phrases]
    errors = [result for result in results if isinstance(result, UnknownWordError)]
    if errors and not guess:
        raise errors[0] if len(errors) == 1 else _joined(errors)
    return [
        Reading(phrase, "not known, an answer is a guess") if isinstance(result, UnknownWordError) else result
        for phrase, result in zip(phrases, results, strict=True)
    ]


def ignored_note(unknown: UnknownWordError, action: str) -> str:
    """The note that words were ignored because they are not known. action: what was done without them."""
    cause, _, remedy = str(unknown).rpartition("; ")
    return f"{cause} ({remedy}); {action}"


def notes(phrases: Sequence[str], readings: Sequence[Reading]) -> list[str]:
    """The notes of several phrases, a line each; phrases without a note have none."""
    return [
        f"{phrase[:40]!r}: {reading.note}" for phrase, reading in zip(phrases, readings, strict=True) if reading.note
    ]


def first_lines(lines: Sequence[str]) -> list[str]:
    """The first MAX_LISTED lines, and a line with the number of the others."""
    more = len(lines) - MAX_LISTED
    return [*lines[:MAX_LISTED], *([f"and {more} more like these"] if more > 0 else [])]


def first_names(names: Sequence[str]) -> str:
    """The first MAX_LISTED names, separated by commas, and the number of the others."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _joined(errors: Sequence[UnknownWordError]) -> UnknownWordError:
    words = list(dict.fromkeys(error.word for error in errors))
    near = [name for error in errors[:MAX_LISTED] for name in error.near[:1]]
    listed = first_names([repr(word[:40]) for word in words])
    return UnknownWordError(words[0], list(dict.fromkeys(near)), f"I don't know the words {listed}")
