"""A bounded cache of shards on this machine, shared by threads and processes.

Each shard has a lock file. Whoever uses the shard holds it shared; whoever copies or deletes the shard holds it alone.
The kernel drops these locks however a process ends, so a killed process blocks nothing, and what it left unfinished is
deleted by the next that needs room.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError, UsageError
from ..store.files import SEAL_NAME
from . import checking, storage
from .rows import ShardRow

if TYPE_CHECKING:
    from .catalogue import Catalogue

_log = logging.getLogger(__name__)

MOST_BYTES = 20 << 30
FOLDER, MEGABYTES = "VIDMEM_SHARDS", "VIDMEM_SHARDS_MB"
"""Environment variables: the folder of the cache, and its most bytes in MB (2^20 bytes)."""
PATIENCE_SECONDS = 10.0
"""How long `local` waits for room while all shards of the cache are in use."""
_LOCK, _ROOM, _PART = ".lock", "room.lock", ".part-"

if sys.platform == "win32":

    def _flock(fd: int, *, alone: bool, wait: bool) -> bool:
        """Windows deletes no file that is open, so that shards in use stay."""
        return True

else:
    import fcntl

    def _flock(fd: int, *, alone: bool, wait: bool) -> bool:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


def default_folder() -> Path:
    """The folder of VIDMEM_SHARDS, else `shards` in the platform's folder for caches."""
    if given := os.environ.get(FOLDER):
        return Path(given).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("vidmem", appauthor=False)) / "shards"


def _most_bytes() -> int:
    """Most bytes of the cache, by VIDMEM_SHARDS_MB. Raises UsageError if that is malformed."""
    text = os.environ.get(MEGABYTES, "").strip()
    if not text:
        return MOST_BYTES
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text)):
        raise UsageError(f"the environment variable {MEGABYTES} is a number of MB from 1 on; got {text[:40]!r}")
    return int(text) << 20


class Shards:
    """The shards of a catalogue as folders on this machine."""

    def __init__(self, catalogue: Catalogue | None, folder: Path | None = None, most_bytes: int | None = None) -> None:
        """Make a cache.

        Args:
            catalogue: The catalogue of the shards; only for messages.
            folder: Where copies are kept; by default `default_folder()`. Several processes may share it.
            most_bytes: Most bytes of all copies together; by default 20 GB, or what VIDMEM_SHARDS_MB says.

        Raises:
            UsageError: VIDMEM_SHARDS_MB is malformed.
        """
        self.catalogue, self.folder = catalogue, folder or default_folder()
        self.most_bytes = _most_bytes() if most_bytes is None else most_bytes
        self._known: dict[str, tuple[tuple[str, int, int, int], ...]] = {}

    @contextmanager
    def local(self, row: ShardRow) -> Iterator[Path]:
        """Give the folder of a shard, which stays for the block.

        A shard in a folder of this machine is used where it is, if the names and sizes of its files are those of its
        manifest. One in an object store is copied and its checksums are compared, if it is not in the cache.

        Raises:
            StoreError: It cannot be reached or is not as it was sealed; or there is no room in the cache.
            UsageError, ModelError: As `storage.read_manifest`.
        """
        if row.sha256 is None:
            raise StoreError(f"shard {row.number} is not made yet; `vidmem fleet ls` lists the ready ones")
        at = storage.place(row.uri)
        if at.is_local:
            self._check(at.folder, row.sha256)
            yield at.folder
            return
        with self._pinned(row) as folder:
            yield folder

    def stamp(self, sha256: str) -> object:
        """What changes with any file of a shard that `local` has given; None before."""
        return self._known.get(sha256)

    @contextmanager
    def _pinned(self, row: ShardRow) -> Iterator[Path]:
        assert row.sha256 is not None
        target = self.folder / row.sha256
        fd = self._open_lock(row.sha256)
        try:
            while True:
                _flock(fd, alone=False, wait=True)
                if self._sound(target, row.sha256):
                    break
                _flock(fd, alone=True, wait=True)  # not in one step: another may come between, so look again
                if not self._sound(target, row.sha256):
                    self._fetch(row, target)
            os.utime(fd)
            yield target
        finally:
            os.close(fd)

    def _open_lock(self, sha256: str) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self.folder / f"{sha256}{_LOCK}", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(f"the cache of shards cannot be written ({error.strerror}): {self.folder}") from None

    def _check(self, folder: Path, sha256: str) -> None:
        """Raise StoreError if a shard was changed; a shard that was checked before is only looked at."""
        stamp = _stamp(folder)
        if stamp is None or self._known.get(sha256) != stamp:
            checking.check_shard(folder, sha256)
            if stamp is not None:
                self._known[sha256] = stamp

    def _sound(self, folder: Path, sha256: str) -> bool:
        if not (folder / SEAL_NAME).is_file():
            return False
        try:
            self._check(folder, sha256)
        except StoreError as error:
            _log.warning("a copy of a shard is made again: %s", error)
            return False
        return True

    def _fetch(self, row: ShardRow, target: Path) -> None:
        """Copy a shard into the cache. The caller holds its lock alone."""
        assert row.sha256 is not None
        for old in (target, *self.folder.glob(f"{row.sha256}{_PART}*")):  # damaged, or left by a killed process
            shutil.rmtree(old, ignore_errors=True)
        part = self._reserve(row)
        try:
            storage.download(row.uri, part / row.sha256, row.sha256, most_bytes=row.bytes)
            os.rename(part / row.sha256, target)
        except OSError as error:
            raise StoreError(f"the shard cannot be kept ({error.strerror}); check the disk: {self.folder}") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _reserve(self, row: ShardRow) -> Path:
        """Make room for a shard, and a folder that stands for it until it is there."""
        needed = row.bytes
        if needed > self.most_bytes:
            raise StoreError(
                f"shard {row.number} has {needed:,} bytes, more than the {self.most_bytes:,} of the cache; "
                f"set {MEGABYTES} to allow more: {self.folder}"
            )
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            fd = os.open(self.folder / _ROOM, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _flock(fd, alone=True, wait=True)
                if self._make_room(needed):
                    part = self.folder / f"{row.sha256}{_PART}{needed}"
                    part.mkdir()
                    return part
            finally:
                os.close(fd)
            if time.monotonic() > end:
                raise StoreError(
                    f"all shards in the cache are in use, and {self.most_bytes:,} bytes leave no room for {needed:,}; "
                    f"set {MEGABYTES} to allow more: {self.folder}"
                )
            time.sleep(0.05)

    def _make_room(self, needed: int) -> bool:
        """Delete what was used longest ago, until `needed` bytes are free. The caller holds the lock of the room."""
        held: list[tuple[int, str, int]] = []
        total = 0
        for entry in list(os.scandir(self.folder)):
            name, mark, size = entry.name.partition(_PART)
            if mark:
                if self._delete(name, entry.name):
                    continue
                total += int(size) if size.isdecimal() else 0
            elif entry.is_dir(follow_symlinks=False):
                used = 0
                with suppress(OSError):
                    used = os.stat(self.folder / f"{name}{_LOCK}").st_mtime_ns
                total += (bytes_ := _folder_bytes(Path(entry.path)))
                held.append((used, name, bytes_))
        for _, name, bytes_ in sorted(held):
            if total + needed <= self.most_bytes:
                break
            if self._delete(name, name):
                total -= bytes_
        return total + needed <= self.most_bytes

    def _delete(self, sha256: str, name: str) -> bool:
        """Delete a shard, or what was left of one, unless someone uses or copies it. Return True if it is gone."""
        fd = self._open_lock(sha256)
        try:
            if not _flock(fd, alone=True, wait=False):
                return False
            with suppress(FileNotFoundError):
                os.unlink(self.folder / name / SEAL_NAME)  # first: what is half deleted is no shard
            shutil.rmtree(self.folder / name, ignore_errors=True)
            return not (self.folder / name).exists()
        except OSError:
            return False
        finally:
            os.close(fd)


def _stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...] | None:
    """Names, sizes, times and numbers of all files of a shard: they change when a file does. None if unreadable."""
    found = []
    try:
        for at in (folder, folder / "cache"):
            with os.scandir(at) as entries:
                for entry in entries:
                    s = entry.stat(follow_symlinks=False)
                    found.append((os.path.join(at.name, entry.name), s.st_size, s.st_mtime_ns, s.st_ino))
    except OSError:
        return None
    return tuple(sorted(found))


def _folder_bytes(folder: Path) -> int:
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)
