"""Write a file so that its name always leads to something complete: the old content or the new."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

if sys.platform == "win32":

    def _lock(fd: int) -> bool:
        """Windows replaces no file that is open, so none can be locked while it is written."""
        return False

else:
    import fcntl

    def _lock(fd: int) -> bool:
        """Lock a file unless another process or thread has; the kernel undoes it however the process ends."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def replacing(path: str | os.PathLike[str], *, flush: bool = True) -> Iterator[str]:
    """Give the name of a new file beside `path`, with the same suffix, that replaces it at the end of the block.

    After an error it is deleted, and `path` is as it was. A killed process leaves `path` as it was, and at most the
    unfinished file, which the next to write `path` removes. Of a link to a file, the file is replaced. What is no file,
    as /dev/stdout, is written directly.

    Args:
        path: The file to write.
        flush: Wait until the content is on the disk, so that a power cut leaves the old content or the new, too. Leave
            it out for many files that can be made again.

    Raises:
        OSError: The folder does not exist or may not be written, or the disk is full.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        yield os.fspath(path)
        return
    part, fd = _new_part(target)
    try:
        if sys.platform == "win32":
            os.close(fd)
        yield part
        if flush:
            _flush(part)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    finally:
        if sys.platform != "win32":
            os.close(fd)
    if flush:
        _flush(os.path.dirname(target))


def _new_part(target: str) -> tuple[str, int]:
    """Make an empty file beside `target`; return its name, and a descriptor that keeps it locked."""
    stem, suffix = os.path.splitext(target)
    part = f"{stem}.part{suffix}"
    fd = _create(part)
    if fd is None and _removed(part):
        fd = _create(part)
    while fd is None:  # another process or thread is writing the same file
        part = f"{stem}.{secrets.token_hex(4)}.part{suffix}"
        fd = _create(part)
    return part, fd


def _create(part: str) -> int | None:
    """Make a new file, even if someone has put a link in its place, and lock it; None if there is one."""
    try:
        fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | _PLAIN, 0o666)
    except FileExistsError:
        return None
    if sys.platform == "win32" or (_lock(fd) and _is_named(fd, part)):
        return fd
    os.close(fd)
    return None


def _removed(part: str) -> bool:
    """Remove the unfinished file of a killed process; False if it is being written, or is no plain file."""
    try:
        fd = os.open(part, os.O_RDWR | _PLAIN)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or not _lock(fd) or not _is_named(fd, part):
            return False
        os.unlink(part)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _is_named(fd: int, part: str) -> bool:
    """Return True if the open file still has this name."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(part))
    except OSError:
        return False


def _flush(path: str) -> None:
    """Wait until a file or a folder is on the disk; some systems cannot do that for folders."""
    folder = os.path.isdir(path)
    with contextlib.suppress(*([OSError] if folder else [])):
        fd = os.open(path, os.O_RDONLY if folder or os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
