"""Write a file so that its name always leads to something complete: the old content or the new."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def replacing(path: str | os.PathLike[str], *, flush: bool = True) -> Iterator[str]:
    """Give the name of a new file beside `path`, with the same suffix, that replaces it at the end of the block.

    After an error it is deleted, and `path` is as it was. A killed process leaves `path` as it was, and at most the
    unfinished file. Of a link to a file, the file is replaced. What is no file, as /dev/stdout, is written directly.

    Args:
        path: The file to write.
        flush: Wait until the content is on the disk, so that a power cut leaves the old content or the new, too. Leave
            it out for many files that can be made again.

    Raises:
        OSError: The folder does not exist or may not be written, or the disk is full.
    """
    target = os.path.realpath(path)
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.stat(target).st_mode):
            yield os.fspath(path)
            return
    stem, suffix = os.path.splitext(target)
    part = f"{stem}.{secrets.token_hex(4)}.part{suffix}"
    # A new file, even if someone has put a link in its place.
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), 0o666))
    try:
        yield part
        if flush:
            _flush(part)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    if flush:
        _flush(os.path.dirname(target))


def _flush(path: str) -> None:
    """Wait until a file or a folder is on the disk; some systems cannot do that for folders."""
    folder = os.path.isdir(path)
    with contextlib.suppress(*([OSError] if folder else [])):
        fd = os.open(path, os.O_RDONLY if folder or os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
