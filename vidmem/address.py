"""How one of several videos in a file or folder is named: `run.mcap#/cam/front`, `run.mcap#header:/cam/front`.

A log holds several topics, a dataset several episodes and cameras. Each is a source of its own, and its name says
which and by which clock its times are told, so that a picture of it can be fetched again from the name alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import UsageError

CLOCKS = ("log", "header")
"""log: when a message was recorded. header: the stamp that its sender wrote into it."""


@dataclass(frozen=True, slots=True)
class Address:
    """path: of the file or folder. part: what in it, empty for all of it. clock: one of CLOCKS."""

    path: str
    part: str = ""
    clock: str = "log"

    def __str__(self) -> str:
        if not self.part:
            return self.path
        named = self.clock != "log" or self.part.startswith(tuple(f"{clock}:" for clock in CLOCKS))
        return f"{self.path}#{self.clock + ':' if named else ''}{self.part}"

    @property
    def label(self) -> str:
        """The last folder of the path with the part, for people."""
        name = os.path.basename(self.path.rstrip(os.sep)) or self.path
        return f"{name} {self.part}" if self.part else name


def split(text: str) -> Address:
    """The address that `text` is. A path that exists is one as it stands, even with a # in its name; otherwise the
    path ends at the last # before which something exists, and where nothing does, all of the text is a path."""
    if not os.path.exists(text):
        place = len(text)
        while (place := text.rfind("#", 0, place)) > 0:
            if os.path.exists(text[:place]):
                return _parted(text, place)
    return Address(text)


def split_known(text: str) -> Address:
    """The address `text` of a source that is known to be part of something, also when its file is gone."""
    address = split(text)
    place = text.find("#")
    return address if address.part or place <= 0 else _parted(text, place)


def _parted(text: str, place: int) -> Address:
    part, clock = text[place + 1 :], "log"
    head, colon, rest = part.partition(":")
    if colon and head in CLOCKS:
        clock, part = head, rest
    return Address(text[:place], part, clock)


def absolute(text: str) -> str:
    """`text` with an absolute path; its part stays as it is."""
    address = split(text)
    return str(Address(os.path.abspath(address.path), address.part, address.clock))


def exists(text: str) -> bool:
    """Whether the file or folder of the address is there."""
    return os.path.exists(split(text).path)


def check_clock(clock: str) -> None:
    """Raises UsageError when there is no such clock."""
    if clock not in CLOCKS:
        raise UsageError(f"no clock {clock!r}; there are: {', '.join(CLOCKS)}")


def printable(text: str) -> str:
    """`text` on one line, without control characters that a file name may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
