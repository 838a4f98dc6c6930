"""The files of a memory folder, and the only functions that open, make or delete one of them.

A memory may come from a stranger: nothing in it may lead to a file outside it, or to one that blocks when it is read.
Files are opened without following links, and what was opened is checked, not only its name. SQLite opens its files by
name, so they are checked right before. The folder itself may be a link, which its user made.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import StoreError

DATABASE_NAME = "memory.sqlite"
LOCK_NAME = "lock"
CACHE_LOCK_NAME = "cache.lock"
CACHE_NAME = "cache"
SEAL_NAME = "seal.json"
"""The manifest of a sealed memory. A folder that has it is never written to."""
BOUNDS_NAME = "bounds.safetensors"
"""Bounds of the vectors of a sealed memory."""
_REMAINS = (BOUNDS_NAME, "seal.part.json", "bounds.part.safetensors")

SIDE_FILES = ("-wal", "-shm", "-journal")
"""Ends of the names of the files that SQLite puts beside a database."""
TEMPORARY = ".tmp"
"""End of the names of unfinished files in the cache."""

_LARGEST_SEAL = 64 << 20

_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")
"""The last bytes of a rollback journal that names a second file, which SQLite then opens and deletes
(https://www.sqlite.org/atomiccommit.html, section 5.3). vidmem never has two databases in one transaction."""
_FILES = (
    *(DATABASE_NAME, *(DATABASE_NAME + end for end in SIDE_FILES), LOCK_NAME, CACHE_LOCK_NAME),
    *(SEAL_NAME, BOUNDS_NAME),
)
_SAFE = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def check_files(folder: Path, *, write: bool = False) -> None:
    """Check all files before any is opened.

    Args:
        folder: The memory.
        write: Also refuse files that have a second name (a hard link), because writing would change that file, too.

    Raises:
        StoreError: A file of the memory is a link, a pipe or a device, its cache is not a folder of files, or a journal
            of SQLite names a file outside it.
        OSError: The folder cannot be read.
    """
    for name in _FILES:
        check_file(folder / name, write=write)
    if not has_cache(folder):
        return
    with os.scandir(folder / CACHE_NAME) as entries:
        for entry in entries:
            check_file(Path(entry.path), write=write)


def sealed(folder: Path) -> bool:
    """Return True if the memory in `folder` is sealed: nothing in it may be written, made or deleted."""
    return _lstat(folder / SEAL_NAME) is not None


def seal_id(folder: Path) -> str | None:
    """Return the id of a sealed memory, as its manifest says; None if the memory is not sealed.

    The manifest is not checked here: see `vidmem.fleet.manifest`.

    Raises:
        StoreError: The seal is a link or a device, or has no id.
        OSError: It cannot be read.
    """
    if not sealed(folder):
        return None
    with os.fdopen(open_file(folder / SEAL_NAME, os.O_RDONLY), "rb") as file:
        data = file.read(_LARGEST_SEAL + 1)
    try:
        found = json.loads(data)["id"] if len(data) <= _LARGEST_SEAL else None
    except (ValueError, TypeError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str) or len(found) != 64 or not found.isalnum():
        raise StoreError(f"the seal of the memory is damaged; `vidmem verify` says more: {folder}")
    return found


def seal_refuses() -> StoreError:
    """Return the error for writing to a sealed memory."""
    return StoreError(
        "the memory is sealed and takes no changes; ask it with `read_only`, change a copy of it, or run "
        "`vidmem seal --undo`"
    )


def drop_remains(folder: Path) -> None:
    """Delete what belongs to a seal in a memory that is not sealed: sealing or its undoing was stopped half-way."""
    for name in _REMAINS:
        remove_file(folder / name)


def check_file(path: Path, *, write: bool = False) -> None:
    """Check one file before SQLite opens it by name; it need not exist. Arguments and errors as in `check_files`."""
    found = _lstat(path)
    if found is None:
        return
    # Readers, too, write into the -shm file.
    _check(path, found, write=write or path.name.endswith("-shm"))
    if path.name.endswith("-journal") and _names_a_file(path):
        raise StoreError(
            f"the memory holds a journal that names another file ({path.name}), which SQLite would delete; remove "
            "that, or do not use the memory"
        )


def check_database(path: Path, *, write: bool = False) -> None:
    """Check a database of SQLite with its side files, as `check_file`."""
    for end in ("", *SIDE_FILES):
        check_file(path.with_name(path.name + end), write=write)


def open_file(path: Path, flags: int) -> int:
    """Open a file of a memory; return its descriptor.

    Args:
        path: The file.
        flags: As for `os.open`. A new file gets the permissions of the umask.

    Raises:
        StoreError: It is a link, a pipe or a device, or it is opened for writing and has a second name.
        OSError: It does not exist or may not be opened.
    """
    try:
        fd = os.open(path, flags | _SAFE, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):  # a link; a pipe or socket without a reader
            check_file(path)
        raise
    try:
        _check(path, os.fstat(fd), write=bool(flags & (os.O_WRONLY | os.O_RDWR)))
    except BaseException:
        os.close(fd)
        raise
    return fd


def has_cache(folder: Path) -> bool:
    """Return True if the memory has a cache folder. Raises StoreError if something else is in its place."""
    found = _lstat(folder / CACHE_NAME)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise _odd(folder / CACHE_NAME, found.st_mode, "a folder")
    return found is not None


def make_cache(folder: Path) -> Path:
    """Return the cache folder of a memory, made if it does not exist.

    Raises:
        StoreError: Something else is in its place.
        OSError: It cannot be made.
    """
    cache = folder / CACHE_NAME
    if not has_cache(folder):
        with contextlib.suppress(FileExistsError):
            cache.mkdir()
        has_cache(folder)
    return cache


def remove_cache(folder: Path) -> None:
    """Delete the cache folder. Raises StoreError if it is a link, OSError if something in it cannot be deleted."""
    if has_cache(folder):
        shutil.rmtree(folder / CACHE_NAME)  # follows no links


def remove_file(path: Path) -> None:
    """Delete a file of a memory, if it exists. Of a link only the link goes."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def replace_cached(folder: Path, name: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file of the cache that appears under its name only when it is complete; or leave the old one.

    Files that killed processes left unfinished are deleted.

    Args:
        folder: The memory.
        name: The file.
        parts: Its bytes, in pieces.

    Raises:
        StoreError: The cache is not a folder.
        OSError: The disk is full, or the folder is read-only.
    """
    cache = make_cache(folder)
    for stale in cache.glob(f"*{TEMPORARY}"):
        remove_file(stale)
    fd, part = tempfile.mkstemp(suffix=TEMPORARY, dir=cache)  # never an existing file
    try:
        with os.fdopen(fd, "wb") as file:
            for piece in parts:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, cache / name)  # a link is replaced, not followed
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def file_size(path: Path) -> int:
    """Bytes of a file of a memory; 0 if it does not exist."""
    found = _lstat(path)
    return 0 if found is None else found.st_size


def cache_size(folder: Path) -> int:
    """Bytes of the files in the cache."""
    return sum(file_size(path) for path in (folder / CACHE_NAME).iterdir()) if has_cache(folder) else 0


def _lstat(path: Path) -> os.stat_result | None:
    """Return what the entry itself is, even if it is a link; None if it does not exist."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _check(path: Path, found: os.stat_result, *, write: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _odd(path, found.st_mode, "a file")
    if write and found.st_nlink > 1:
        raise StoreError(
            f"a file of the memory has a second name ({path.name}), under which it would be changed, too; copy the "
            "memory without hard links, or do not use it"
        )


def _names_a_file(journal: Path) -> bool:
    fd = open_file(journal, os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(_JOURNAL_END)))
        return file.read() == _JOURNAL_END


def _odd(path: Path, mode: int, wanted: str) -> StoreError:
    kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    return StoreError(
        f"the memory holds {kind} in place of {wanted} ({path.name}), which may lead out of it; remove "
        "that, or do not use the memory"
    )
