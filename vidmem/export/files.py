"""Writing files: errors that name the file, and results that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .. import replacing as atomic
from ..errors import MediaError

_LONGEST_NAME = 255
"""Bytes of the name of a file on all usual file systems."""


def inside(folder: Path, name: str) -> Path | None:
    """The path of a file in a folder; None when the name leads out of it, or no file can have it.

    Names in data sets may be from anyone.
    """
    path = folder / name
    try:
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
            return None
        return path if path.resolve().is_relative_to(folder.resolve()) else None
    except (ValueError, OSError, RuntimeError):  # a null or half a character, too long, links in a circle
        return None


@contextmanager
def writing(path: str, what: str = "the file") -> Iterator[None]:
    """Turn an OSError into a MediaError that names `what` and `path`."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"{what} cannot be written ({cause}); check folder and disk: {path}") from None


@contextmanager
def replacing(path: str, what: str = "the file", *, flush: bool = True) -> Iterator[str]:
    """As `vidmem.replacing.replacing`, but raises MediaError when the file cannot be written."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):  # checked here because not every library raises an OSError for it
        raise MediaError(f"{what} cannot be written (no such folder); check folder and disk: {path}")
    with writing(path, what), atomic.replacing(path, flush=flush) as part:
        yield part


class WholeText:
    """A text file, written line by line, that gets its name at the end. After an error there is no file, or the old
    one. Raises MediaError when it cannot be written."""

    def __init__(self, path: str, what: str = "the file") -> None:
        self._path, self._what = path, what
        with ExitStack() as stack:
            part = stack.enter_context(replacing(path, what))
            self._file = stack.enter_context(open(part, "w", encoding="utf-8"))
            self._stack = stack.pop_all()

    def write(self, text: str) -> None:
        """Add text."""
        with writing(self._path, self._what):
            self._file.write(text)

    def end(self, *error: Any) -> None:
        """Close the file. error: what `__exit__` is given; without an error the file gets its name."""
        self._stack.__exit__(*(error or (None, None, None)))
