"""Writing files: errors that name the file, and results that are complete or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MediaError


@contextmanager
def writing(path: str, what: str = "the file") -> Iterator[None]:
    """Turn an OSError into a MediaError that names `what` and `path`."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"{what} cannot be written ({cause}); check folder and disk: {path}") from None


@contextmanager
def replacing(path: str, what: str = "the file") -> Iterator[str]:
    """Give a temporary name beside `path`, with its suffix, that replaces `path` on success and is deleted otherwise.

    Raises MediaError when it cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):  # checked here because not every library raises an OSError for it
        raise MediaError(f"{what} cannot be written (no such folder); check folder and disk: {path}")
    stem, suffix = os.path.splitext(path)
    part = f"{stem}.part{suffix}"
    try:
        with writing(path, what):
            yield part
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
