"""The files of a memory folder.

A memory may come from a stranger: nothing in it may lead to a file outside it, or to one that blocks when it is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import StoreError

DATABASE_NAME = "memory.sqlite"
LOCK_NAME = "lock"
CACHE_LOCK_NAME = "cache.lock"
CACHE_NAME = "cache"

_FILES = (
    DATABASE_NAME,
    f"{DATABASE_NAME}-wal",
    f"{DATABASE_NAME}-shm",
    f"{DATABASE_NAME}-journal",
    LOCK_NAME,
    CACHE_LOCK_NAME,
)


def check_files(folder: Path) -> None:
    """Check all files before any is opened. The folder itself may be a link, which its user made.

    Raises:
        StoreError: a file of the memory is a link, a pipe or a device, or its cache is not a folder of files.
        OSError: the folder cannot be read.
    """
    for name in _FILES:
        if (mode := _mode(folder / name)) is not None and not stat.S_ISREG(mode):
            raise _odd(folder / name, mode, "a file")
    cache = folder / CACHE_NAME
    if (mode := _mode(cache)) is None:
        return
    if not stat.S_ISDIR(mode):
        raise _odd(cache, mode, "a folder")
    with os.scandir(cache) as entries:
        for entry in entries:
            if (mode := _mode(Path(entry.path))) is not None and not stat.S_ISREG(mode):
                raise _odd(Path(entry.path), mode, "a file")


def _mode(path: Path) -> int | None:
    """Return the mode of the entry itself, even if it is a link; None when it does not exist."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None


def _odd(path: Path, mode: int, wanted: str) -> StoreError:
    kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    return StoreError(
        f"the memory holds {kind} in place of {wanted} ({path.name}), which may lead out of it; remove "
        "that, or do not use the memory"
    )
