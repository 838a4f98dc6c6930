"""Shards that are open: checked once, and kept warm for the next questions.

A search needs the vectors alone. They are mapped, which takes no memory that the system could not take back and no
descriptors, so thousands of shards stay open. Looking up what was found needs the memory itself, with connections of
SQLite, of which few are kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError, UsageError
from ..store import Store, VectorCache
from . import storage
from .rows import ShardRow
from .shards import Shards
from .state import TRACK_BITS
from .warm import Warm

MOST_SHARDS = 16_384
"""Shards whose vectors are mapped. Each has two maps, and Linux allows a process 65,530."""
MOST_COPIED = 8 << 30
"""Bytes of mapped vectors of shards that were copied from an object store: a copy that is deleted while it is mapped
still takes its place on the disk."""
MOST_STORES = 64
"""Memories that are open. Each has up to six files open, and a process may have 1,024."""
FIRST_PASS_MB = 2048
FIRST_PASSES = "VIDMEM_FIRST_PASS_MB"
"""Environment variable: most MB (2^20 bytes) of memory for the first passes of all shards of a fleet."""


def most_first_pass_bytes() -> int:
    """Most bytes of first passes, by VIDMEM_FIRST_PASS_MB. Raises UsageError if that is malformed."""
    text = os.environ.get(FIRST_PASSES, "").strip()
    if not text:
        return FIRST_PASS_MB << 20
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise UsageError(f"the environment variable {FIRST_PASSES} is a number of MB from 0 on; got {text[:40]!r}")
    return int(text) << 20


class OpenShard:
    """The vectors of a shard. Threads may share it.

    Attributes:
        cache: The vectors.
        bytes: Bytes of the shard that stay on the disk while it is open, though its copy may be deleted; and of memory.
        first_pass_bytes: Bytes of its first pass.
    """

    def __init__(self, row: ShardRow, folder: Path, admitted: Callable[[int], bool]) -> None:
        """Map and check the vectors. The memory is open only meanwhile.

        Args:
            row: The shard in the catalogue.
            folder: Where it lies.
            admitted: Whether there is room for a first pass of so many bytes, which are taken.

        Raises:
            StoreError: It is damaged, or not what the catalogue says.
        """
        with Store.open(folder) as store:
            self.cache = VectorCache(store)
        if len(self.cache) != row.n_tracks:
            raise StoreError(f"it has {len(self.cache):,} tracks, not {row.n_tracks:,} as in the catalogue: {folder}")
        if len(self.cache) and int(self.cache.columns.ids[-1]) >> TRACK_BITS:
            raise StoreError(f"it has tracks with ids too large for a fleet; index it anew: {folder}")
        copied = 0 if storage.place(row.uri).is_local else row.bytes
        self.bytes = copied + self.cache.own_bytes
        self.first_pass_bytes = self.cache.first_pass_bytes
        if self.first_pass_bytes and not admitted(self.first_pass_bytes):
            self.cache, self.first_pass_bytes = self.cache.without_first_pass(), 0


class OpenShards:
    """The open shards of a fleet; those that were used longest ago are closed first. Threads may share it."""

    def __init__(self, shards: Shards, most_shards: int = MOST_SHARDS, most_stores: int = MOST_STORES) -> None:
        """Open none yet.

        Args:
            shards: Gives the folders of shards.
            most_shards: Most shards whose vectors are mapped; those in use may be more.
            most_stores: Most memories that are open; those in use may be more.

        Raises:
            UsageError: VIDMEM_FIRST_PASS_MB is malformed.
        """
        self.shards = shards
        self.vectors: Warm[OpenShard] = Warm(self._left, most_shards, MOST_COPIED, lambda opened: opened.bytes)
        self.stores: Warm[Store] = Warm(Store.close, most_stores)
        self.most_first_pass_bytes = most_first_pass_bytes()
        self.first_pass_bytes = self.times_opened = 0
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self.vectors)

    @contextmanager
    def use(self, row: ShardRow) -> Iterator[OpenShard]:
        """Give the vectors of a shard, which stay for the block.

        That it is there and as it was sealed is looked at each time, by the names, sizes and times of its files. When
        these have changed, its vectors are checked anew.

        Raises:
            StoreError, ModelError, VersionError: it cannot be reached, was changed, or cannot be read.
        """
        with (
            self._local(row) as (key, folder, stamp),
            self.vectors.use(key, stamp, lambda: self._opened(row, folder)) as opened,
        ):
            yield opened

    @contextmanager
    def reading(self, row: ShardRow) -> Iterator[Store]:
        """Give the memory of a shard, which stays open for the block; checks and errors as in `use`."""
        with (
            self._local(row) as (key, folder, stamp),
            self.stores.use(key, stamp, lambda: Store.open(folder)) as store,
        ):
            yield store

    @contextmanager
    def _local(self, row: ShardRow) -> Iterator[tuple[str, Path, object]]:
        """The key of a shard, its folder, and what tells that its files are those that were checked."""
        key = row.sha256
        assert key is not None
        inside = False
        try:
            with self.shards.local(row) as folder:
                stamp = self.shards.stamp(key)
                inside = True
                yield key, folder, stamp
        except BaseException:
            if not inside:  # it is not there, or was changed
                self.vectors.drop(key)
                self.stores.drop(key)
            raise

    def _opened(self, row: ShardRow, folder: Path) -> OpenShard:
        self.times_opened += 1
        return OpenShard(row, folder, self._admitted)

    def _admitted(self, needed: int) -> bool:
        """Take memory for a first pass, if that much is left. First come, first served: to take turns would only make
        each anew before it is of use."""
        with self._turn:
            if self.first_pass_bytes + needed > self.most_first_pass_bytes:
                return False
            self.first_pass_bytes += needed
            return True

    def _left(self, opened: OpenShard) -> None:
        """The vectors are unmapped when the last search that has them ends."""
        with self._turn:
            self.first_pass_bytes -= opened.first_pass_bytes

    def close(self) -> None:
        """Close all of them. Closing twice is fine."""
        self.vectors.close()
        self.stores.close()
