"""Media time as people write it: `12`, `12.5s`, `00:01:02.5`, and nanoseconds for logs."""

from __future__ import annotations

import re

from .errors import UsageError

NS = 1_000_000_000
"""Nanoseconds in a second."""
LONGEST_NS = 1 << 62
"""Of times. Differences of two of them still fit 64 bits, as the memory keeps them."""
TIMES = "12, 12.5s, 00:01:02.5 or 90000000ns"
_MOST_LETTERS = 40
"""Of a time: more digits than that are none, and numbers of thousands are slow to read."""

_SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)s?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_NANOSECONDS = re.compile(r"(\d+)ns")


def parse_time(text: str, forms: str = TIMES) -> int:
    """Nanoseconds from `12`, `12.5s` (seconds), `1:02.5`, `00:01:02.5` (a clock) or `90000000ns`; exact. forms: what to
    write instead, for the message.

    Raises UsageError for anything else, and for more than LONGEST_NS.
    """
    ns = _nanoseconds(text.strip())
    if ns is None:
        raise UsageError(f"{quoted(text)} is no time; write {forms}")
    if ns > LONGEST_NS:
        raise UsageError(f"{quoted(text)} is longer than any video; write {forms}")
    return ns


def quoted(text: str) -> str:
    """The text in quotes, its beginning where it is long."""
    return repr(text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}...")


def _nanoseconds(text: str) -> int | None:
    if len(text) > _MOST_LETTERS:
        return None
    if match := _NANOSECONDS.fullmatch(text):
        return int(match[1])
    from fractions import Fraction  # 10 ms, for a crop alone

    if match := _SECONDS.fullmatch(text):
        return int(Fraction(match[1]) * NS)
    match = _CLOCK.fullmatch(text)
    if match and int(match[2]) < 60 and Fraction(match[3]) < 60:
        return int((int(match[1] or 0) * 3600 + int(match[2]) * 60 + Fraction(match[3])) * NS)
    return None


def age(ns: int) -> str:
    """How long that is, for people: 40 seconds, 3 minutes, 2 hours, 5 days, 7 weeks, 4 years."""
    seconds = ns // NS
    for size, name in ((365 * 86400, "year"), (7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * (2 if name == "week" else 1):
            return _counted(seconds // size, name)
    return _counted(seconds, "second")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def clock(t_ns: int) -> str:
    """Media time for people: 0:05.2, 12:05.2, 1:02:05.2."""
    tenths = round(t_ns / (NS / 10))
    seconds, tenth = divmod(tenths, 10)
    hours, rest = divmod(seconds, 3600)
    minutes, second = divmod(rest, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{second:02d}.{tenth}"
