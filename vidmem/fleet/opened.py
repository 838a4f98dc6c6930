"""Shards that are open: fetched, checked, and kept warm for the next questions, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import StoreError
from ..store import Store, VectorCache
from .rows import ShardRow
from .shards import Shards
from .state import TRACK_BITS

MOST_BYTES = 8 << 30
"""Vectors of all open shards together. They are mapped, so that the system may drop what is not read."""
MOST_SHARDS = 128
"""Open shards: each has files of its own open, and a process may have 1,024."""


class OpenShard:
    """A shard that is open. Threads may share it.

    Attributes:
        store: Its memory.
        cache: Its vectors.
    """

    def __init__(self, row: ShardRow, folder: Path) -> None:
        self.store = Store.open(folder)
        try:
            self.cache = VectorCache(self.store)
            if len(self.cache) != row.n_tracks:
                raise StoreError(
                    f"it has {len(self.cache):,} tracks, not {row.n_tracks:,} as in the catalogue: {folder}"
                )
            if len(self.cache) and int(self.cache.columns.ids[-1]) >> TRACK_BITS:
                raise StoreError(f"it has tracks with ids too large for a fleet; index it anew: {folder}")
        except BaseException:
            self.store.close()
            raise
        self.bytes = 2 * len(self.cache) * (self.cache.dim("visual") + self.cache.dim("text") + 28)
        self.users = 0


class OpenShards:
    """The open shards of a fleet; those that were used longest ago are closed first."""

    def __init__(self, shards: Shards, most_bytes: int = MOST_BYTES, most_shards: int = MOST_SHARDS) -> None:
        """Open none yet.

        Args:
            shards: Gives the folders of shards.
            most_bytes: Most bytes of the vectors of all open shards; those in use may be more.
            most_shards: Most open shards; those in use may be more.
        """
        self.shards, self.most_bytes, self.most_shards = shards, most_bytes, most_shards
        self._held: OrderedDict[str, OpenShard] = OrderedDict()
        self._turn = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def use(self, row: ShardRow) -> Iterator[OpenShard]:
        """Give a shard, which stays open for the block.

        That it is there and as it was sealed is looked at each time, by the names, sizes and times of its files.

        Raises:
            StoreError, ModelError, VersionError: it cannot be reached, was changed, or cannot be read.
        """
        assert row.sha256 is not None
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self.shards.local(row))
                opened = self._taken(row, row.sha256, folder)
            except BaseException:
                self._drop(row.sha256)
                raise
            try:
                yield opened
            finally:
                self._leave(opened)

    def _drop(self, key: str) -> None:
        """Close a shard that is not as it was, unless someone uses it."""
        with self._turn:
            opened = self._held.get(key)
            if opened is None or opened.users:
                return
            del self._held[key]
        opened.store.close()

    def _taken(self, row: ShardRow, key: str, folder: Path) -> OpenShard:
        with self._turn:
            lock = self._opening.setdefault(key, threading.Lock())
        with lock:
            with self._turn:
                opened = self._held.get(key)
                if opened is not None:
                    opened.users += 1
                    self._held.move_to_end(key)
                    return opened
            opened = OpenShard(row, folder)
            opened.users = 1
            with self._turn:
                self._held[key] = opened
                spare = self._spare()
        for one in spare:
            one.store.close()
        return opened

    def _leave(self, opened: OpenShard) -> None:
        with self._turn:
            opened.users -= 1
            spare = self._spare()
        for one in spare:
            one.store.close()

    def _spare(self) -> list[OpenShard]:
        """Take out those that nobody uses and that are too many. The caller holds the turn, and closes them later."""
        total, out = sum(one.bytes for one in self._held.values()), []
        for key, one in list(self._held.items()):
            if total <= self.most_bytes and len(self._held) <= self.most_shards:
                break
            if not one.users:
                del self._held[key]
                total -= one.bytes
                out.append(one)
        return out

    def close(self) -> None:
        """Close all of them. Closing twice is fine."""
        with self._turn:
            held, self._held = list(self._held.values()), OrderedDict()
        for one in held:
            one.store.close()
