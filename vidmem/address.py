"""The name of a source: a path, or a path and a part, `run.mcap#/cam/front` or `run.mcap#header:/cam/front`.

A log holds several topics, a dataset several episodes and cameras. Each is a source of its own. Its address says which
one it is and which clock its times are on, so that a picture can be read again from the address alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Self

from .errors import UsageError

_KNOWN = "https?|rtsps?|rtmps?|rtp|srt|tcp|udp|s?ftp|wss?|postgres(?:ql)?"
_SCHEME = re.compile(rf"\b(?!file:)[a-z][a-z0-9+.-]{{1,30}}:/{{2,}}|\b(?:{_KNOWN}):/", re.IGNORECASE)
"""The beginning of an address on a network. Of known kinds one slash is enough, since paths have no double ones."""
_AT = re.compile("@|%40", re.IGNORECASE)
_LOGIN = re.compile("[^/?#]*(?:[:@]|%3a|%40)", re.IGNORECASE)
"""A user or a password, or a port, before the first slash. Without them, an @ is part of a path."""
_BLANK = re.compile(r"\s")
_QUERY = re.compile("[?#]|%3f|%23", re.IGNORECASE)

CLOCKS = ("log", "header")
"""log: the time at which a message was recorded. header: the stamp that its sender wrote into it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A source.

    path: the file or folder. part: the topic or episode in it, empty for all of it. clock: one of CLOCKS.
    """

    path: str
    part: str = ""
    clock: str = "log"

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Self:
        """Parse what a user typed.

        A path that exists is taken as it is, even with a # in its name. Otherwise the path ends at the last # before
        which something exists. If nothing does, all of the text is the path.
        """
        text = os.fspath(text)
        if not os.path.exists(text):
            place = len(text)
            while (place := text.rfind("#", 0, place)) > 0:
                if os.path.exists(text[:place]):
                    return cls._split(text, place)
        return cls(text)

    @classmethod
    def parse_part(cls, text: str) -> Self:
        """Parse an address that is known to have a part, even if the file is gone."""
        address = cls.parse(text)
        place = text.find("#")
        return address if address.part or place <= 0 else cls._split(text, place)

    @classmethod
    def _split(cls, text: str, place: int) -> Self:
        part, clock = text[place + 1 :], "log"
        head, colon, rest = part.partition(":")
        if colon and head in CLOCKS:
            clock, part = head, rest
        return cls(text[:place], part, clock)

    def __str__(self) -> str:
        if not self.part:
            return self.path
        named = self.clock != "log" or self.part.startswith(tuple(f"{clock}:" for clock in CLOCKS))
        return f"{self.path}#{self.clock + ':' if named else ''}{self.part}"

    @property
    def label(self) -> str:
        """The last name in the path, with the part, for people."""
        name = os.path.basename(self.path.rstrip(os.sep)) or self.path
        return f"{name} {self.part}" if self.part else name

    def absolute(self) -> Self:
        """The address with an absolute path."""
        return replace(self, path=os.path.abspath(self.path))

    def exists(self) -> bool:
        """Return True if the file or folder exists."""
        return os.path.exists(self.path)


def check_clock(clock: str) -> None:
    """Raise UsageError for an unknown clock."""
    if clock not in CLOCKS:
        raise UsageError(f"no clock {clock!r}; there are: {', '.join(CLOCKS)}")


def printable(text: str) -> str:
    """`text` on one line, with control characters escaped: a file name may hold any."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def without_secrets(text: str, *, whole: bool = False) -> str:
    """A text, with what may be secret in the addresses in it left out: users and passwords, and all after a `?` or `#`.

    A password may hold any character. So after a user or a port everything up to the last @ is left out, even where
    that @ is in a path.

    Args:
        text: Any text.
        whole: It is one address from its beginning to its end, which may hold blanks.
    """
    last = max((match.end() for match in _AT.finditer(text)), default=0)
    parts, place = [], 0
    while (found := _SCHEME.search(text, place)) is not None:
        begin = max(found.end(), last) if _LOGIN.match(text, found.end()) else found.end()
        blank = None if whole else _BLANK.search(text, begin)
        end = len(text) if blank is None else blank.start()
        address = text[begin:end]
        if _QUERY.search(text, found.end(), begin):  # what follows may be part of a query
            address = "..."
        elif (query := _QUERY.search(address)) is not None:
            address = address[: query.start()]
        parts += [text[place : found.end()], address]
        place = end
    return "".join(parts) + text[place:]


def shown(text: str) -> str:
    """A text as it may be shown: on one line, without control characters, and without the secrets of addresses."""
    return printable(without_secrets(text))
