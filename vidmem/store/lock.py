"""One writer at a time: an advisory lock on a file, which the kernel releases however the process ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LockedError, StoreError
from .files import LOCK_NAME, SEAL_NAME, open_file, seal_refuses, sealed

if sys.platform == "win32":
    import msvcrt

    # Windows locks bytes, and other processes cannot read locked ones: lock one far behind the pid.
    _OFFSET = 1 << 30

    def _take(fd: int, wait: bool) -> None:
        os.lseek(fd, _OFFSET, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

    def _lock_seal(fd: int, alone: bool) -> None:
        """Windows deletes no file that is open, so that alone keeps a seal in its place."""

else:
    import fcntl

    def _take(fd: int, wait: bool) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _lock_seal(fd: int, alone: bool) -> None:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks, as some of networks
            pass


def take_lock(path: Path, *, wait: bool) -> int | None:
    """Return a file descriptor that holds the lock on `path` until it is closed; None when another process holds it.

    Raises:
        OSError: the lock file cannot be made, as in a read-only folder.
        StoreError: it is a link or a device, or has a second name; or the memory that it is in is sealed.
    """
    if sealed(path.parent):
        raise seal_refuses()
    fd = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        _take(fd, wait)
        if sealed(path.parent):  # meanwhile, by who held the lock
            raise seal_refuses()
    except (BlockingIOError, PermissionError):
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def take_writer_lock(folder: Path) -> int:
    """Return the descriptor of the one writer of the memory in `folder`; the lock file then holds its pid.

    Raises:
        LockedError: another process, or another Store in this one, is writing.
        OSError: the lock file cannot be made.
    """
    path = folder / LOCK_NAME
    fd = take_lock(path, wait=False)
    if fd is None:
        raise LockedError(f"process {_holder(path)} is writing to this memory; wait for it or stop it: {folder}")
    try:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"%d\n" % os.getpid())
    except BaseException:
        os.close(fd)
        raise
    return fd


def _holder(path: Path) -> str:
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            pid = file.read(32).strip()
    except (OSError, StoreError):
        pid = b""
    return pid.decode() if pid.isdigit() else "(pid unknown)"


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Wait for the lock on `path` and hold it for the block."""
    fd = take_lock(path, wait=True)
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)


def hold_seal(folder: Path, *, alone: bool = False) -> int | None:
    """Return a descriptor that keeps the seal of a memory in its place until it is closed; None when others keep it.

    SQLite takes no locks in a sealed memory, so this is what tells who undoes the seal that someone is reading.

    Args:
        folder: The sealed memory.
        alone: Wanted to undo the seal: nobody else may hold it.

    Raises:
        OSError: it is not sealed (any more), or the seal cannot be read.
        StoreError: the seal is a link or a device.
    """
    fd = open_file(folder / SEAL_NAME, os.O_RDONLY)
    try:
        _lock_seal(fd, alone)
        if not os.path.samestat(os.fstat(fd), os.lstat(folder / SEAL_NAME)):
            raise FileNotFoundError(folder / SEAL_NAME)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd
