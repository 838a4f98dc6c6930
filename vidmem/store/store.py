"""The Store: one memory folder, opened by many readers and at most one writer.

SQLite is the truth; everything in `cache/` can be rebuilt from it.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..closing import Closing
from ..errors import StoreError, UsageError
from ..records import FrameRegions, Mark, SourceInfo, Trail, ViewMark
from . import checkpoint, forget, logs, migrations, reader, tokens, writer
from . import pictures as picturebook
from .checkpoint import Checkpoint
from .checks import parsed, path, reading, typed
from .codec import Boxes
from .database import connect, snapshot, store_errors, transaction
from .files import CACHE_LOCK_NAME, CACHE_NAME, DATABASE_NAME, check_files
from .lock import take_writer_lock
from .pictures import Picture, PictureFile
from .rows import ModelRecord, SourceRow, StoreStats, TrackRow

_log = logging.getLogger(__name__)


class Store(Closing):
    """One open memory; use it as a context manager. Threads may share it: its calls wait for each other.

    folder: where it lies. writable: whether this Store is the one writer. Every method may raise StoreError when
    the memory is damaged, the disk is full or the folder turns out to be read-only.
    """

    def __init__(self, folder: Path, conn: sqlite3.Connection, lock_fd: int | None) -> None:
        self.folder = folder
        self.writable = lock_fd is not None
        self._conn: sqlite3.Connection | None = conn
        self._lock_fd = lock_fd
        self._turn = threading.RLock()

    @classmethod
    def open(cls, path: str | os.PathLike[str], write: bool = False, create: bool = False) -> Self:
        """The memory in the folder `path`. create: make it when it is missing, which implies write.

        Raises:
            StoreError: no memory there, or it cannot be opened as asked.
            LockedError: write, and another process writes already.
            VersionError: made by a newer vidmem.
        """
        folder = Path(path)
        with store_errors(folder):
            if create:
                folder.mkdir(parents=True, exist_ok=True)
            check_files(folder)
            if not create and not (folder / DATABASE_NAME).exists():
                raise StoreError("there is no memory here; index a video first, or choose another folder")
            _log.info("memory, opened for %s: %s", "writing" if write or create else "reading", folder)
            return cls._open_writer(folder) if write or create else cls._open_reader(folder)

    @classmethod
    def _open_reader(cls, folder: Path) -> Self:
        conn = connect(folder, write=False)
        try:
            version = migrations.version(conn)
        except BaseException:
            conn.close()
            raise
        if version == len(migrations.MIGRATIONS):
            return cls(folder, conn, None)
        conn.close()
        if version == 0:
            raise StoreError("the memory is empty; index a video first")
        cls._open_writer(folder).close()  # an older memory: only a writer may bring it up to date
        return cls(folder, connect(folder, write=False), None)

    @classmethod
    def _open_writer(cls, folder: Path) -> Self:
        lock_fd = take_writer_lock(folder)
        try:
            conn = connect(folder, write=True)
            try:
                migrations.migrate(conn)
            except BaseException:
                conn.close()
                raise
        except BaseException:
            os.close(lock_fd)
            raise
        store = cls(folder, conn, lock_fd)
        store._finish_scrub()
        return store

    def _finish_scrub(self) -> None:
        """What an earlier `remove_source` was kept from, or a crash cut short."""
        try:
            with self._use() as conn:
                if reader.meta(conn, "scrub") == "1":
                    writer.scrub(conn, self.folder)
        except StoreError as error:  # a reader in the way again must not keep a new video from being indexed
            _log.warning("%s", error)

    def settle(self) -> None:
        """Move what is in SQLite's log into the database file, so that `stats` tells what the memory costs at rest. A
        reader in the way keeps the log as it is."""
        with self._use(write=True) as conn:
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def check_writable(self) -> None:
        """Raises StoreError in a memory that was opened for reading."""
        if not self.writable:
            raise StoreError(
                f"this memory was opened for reading; open it without `read_only` to change it: {self.folder}"
            )

    def close(self) -> None:
        """Close the files and let go of the writer's lock. Does nothing the second time."""
        with self._turn:
            if self._conn is not None:
                self._conn.close()
                self._conn = None
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None

    def __repr__(self) -> str:
        mode = "closed" if self._conn is None else "write" if self.writable else "read"
        return f"Store({str(self.folder)!r}, {mode})"

    @contextmanager
    def _use(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        with self._turn, store_errors(self.folder):
            if self._conn is None:
                raise StoreError("this Store is closed; open it again")
            if write and not self.writable:
                raise StoreError("this Store was opened for reading; use Store.open(path, write=True)")
            with nullcontext() if write else reading():
                yield self._conn

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads off this Store. Who takes the cache's lock does so in here, as everything that removes
        does: else two threads could wait for each other."""
        with self._turn:
            yield

    @property
    def cache_folder(self) -> Path:
        """Where files lie that can be rebuilt; it need not exist."""
        return self.folder / CACHE_NAME

    @property
    def cache_lock(self) -> Path:
        """The lock that whoever changes files in the cache folder holds."""
        return self.folder / CACHE_LOCK_NAME

    def model(self) -> ModelRecord | None:
        """What made this memory; None before anything did."""
        with self._use() as conn:
            return reader.model(conn)

    def check_model(self, record: ModelRecord) -> None:
        """Raises ModelMismatchError, naming what differs, unless the memory was made as `record` says."""
        with self._use() as conn:
            writer.check_model(reader.model(conn), record)

    def set_model(self, record: ModelRecord) -> None:
        """Record what makes this memory; raises ModelMismatchError when it holds sources made otherwise."""
        with self._use(write=True) as conn:
            writer.set_model(conn, record)

    def begin_source(self, info: SourceInfo) -> SourceRow:
        """The row to index `info` into, with its resume position.

        Content that is known, under this path or another, gives the row it has. A path whose content changed is
        removed and begun anew.
        """
        with self._use(write=True) as conn:
            return writer.begin_source(conn, self.folder, info)

    def set_recorded(self, source_id: int, start_ns: int | None, by: str) -> None:
        """When the source was recorded (see `SourceInfo.start_ns`), and how that is known. "given" with None: not at
        all, and nobody is to look again. Raises UsageError for sources with a clock or pictures of their own."""
        row = self.source_by_id(source_id)
        if row.kind.own_times or row.kind.single_pictures:
            raise UsageError(f"it has times of its own, which stay as they are: {row.uri}")
        with self._use(write=True) as conn:
            writer.set_recorded(conn, source_id, start_ns, by)

    def set_pictures_recorded(self, source_id: int, times: Mapping[int, tuple[int | None, str]]) -> None:
        """The same for single pictures, by their t_ns."""
        with self._use(write=True) as conn, transaction(conn):
            picturebook.set_recorded(conn, source_id, times)

    def pictures_recorded(
        self, source_id: int, times: Sequence[int] | None = None
    ) -> Mapping[int, tuple[int | None, str]]:
        """When the pictures at these times (None: all) were taken, and how that is known, by t_ns."""
        with self._use() as conn:
            return picturebook.recorded(conn, source_id, times)

    def sources(self) -> list[SourceRow]:
        """All sources in the order in which they were added."""
        with self._use() as conn:
            return reader.sources(conn)

    def source(self, uri_or_suffix: str) -> SourceRow:
        """The source with this path, or with this file name (and last folders) if only one has it.

        Raises:
            UsageError: unknown, with near names, or ambiguous, with the paths.
        """
        with self._use() as conn:
            return reader.find_source(conn, uri_or_suffix)

    def parts(self, uri_or_suffix: str) -> list[SourceRow]:
        """As `source`; of a log or a dataset that is named without a part, all parts that are in the memory."""
        with self._use() as conn:
            return reader.find_parts(conn, uri_or_suffix)

    def source_by_id(self, source_id: int) -> SourceRow:
        """The source with this id. Raises UsageError when it is not there (any more)."""
        with self._use() as conn:
            row = reader.source_where(conn, "id = ?", source_id)
        if row is None:
            raise UsageError(f"no source has the id {source_id}")
        return row

    def checkpoint(self, source_id: int, made: Checkpoint) -> None:
        """Write everything since the last checkpoint, in one transaction that also survives a power cut.

        Raises:
            StoreError: the disk is full or read-only, or the source was removed; the memory is then as it was after
                the last checkpoint.
            ValueError: data that cannot be stored (see `codec.encode`), or vectors of another length than the model's.
        """
        with self._use(write=True) as conn:
            checkpoint.write(conn, source_id, made)

    def picture_files(self, source_id: int) -> list[PictureFile]:
        """The files of a folder of single pictures, by path; those that cannot be read as well."""
        with self._use() as conn:
            return picturebook.files(conn, source_id)

    def pictures(self, source_id: int) -> list[Picture]:
        """The pictures of such a folder, in order."""
        with self._use() as conn:
            return picturebook.pictures(conn, source_id)

    def picture(self, source_id: int, t_ns: int) -> Picture | None:
        """The picture of such a folder at this time; None when there is none."""
        with self._use() as conn:
            return next(iter(picturebook.pictures(conn, source_id, t_ns)), None)

    def picture_paths(self, source_id: int, times: Sequence[int]) -> Mapping[int, list[str]]:
        """The files that hold the picture, for each of the times that has one."""
        with self._use() as conn:
            return picturebook.paths(conn, source_id, times)

    def photo(self, name: str) -> tuple[SourceRow, str] | None:
        """The source that has the photo with this path, or with this file name (and last folders), and its path there;
        None when there is none, or several."""
        with self._use() as conn:
            found = picturebook.named(conn, name)
            row = reader.source_where(conn, "id = ?", found[0][0]) if len(found) == 1 else None
        return None if row is None else (row, found[0][1])

    def drop_picture_files(self, source_id: int, gone: Sequence[str]) -> list[int]:
        """Forget these paths; the times of the pictures that no file holds any more."""
        with self._use(write=True) as conn:
            with transaction(conn):
                picturebook.drop_files(conn, source_id, gone)
            return picturebook.orphans(conn, source_id)

    def set_trail(self, source_id: int, trail: Trail) -> None:
        """Keep the poses over a source, in place of those it had. Raises StoreError for poses that are not finite."""
        with self._use(write=True) as conn:
            logs.set_trail(conn, source_id, trail)

    def trail(self, source_id: int) -> Trail | None:
        """The poses over a source; None when it has none. Raises StoreError when they are damaged."""
        with self._use() as conn:
            return logs.trail(conn, source_id)

    def marks(self, source_id: int, start_ns: int, end_ns: int) -> list[tuple[int, Mark]]:
        """t_ns and the place in the log of the sampled frames with `start_ns <= t_ns <= end_ns`, in order."""
        with self._use() as conn:
            return logs.marks(conn, source_id, start_ns, end_ns)

    def remove_source(self, source_id: int) -> None:
        """Remove a source so that no byte of it is left in any file of the memory.

        Raises:
            StoreError: no such source; or another process is reading, and old bytes stay until the next writer.
        """
        with self._use(write=True) as conn:
            writer.remove_rows(conn, self.folder, source_id)
            writer.scrub(conn, self.folder)

    def preview_removal(self, part: forget.Part) -> forget.Loss:
        """What `remove_part` would take away."""
        with self._use() as conn, snapshot(conn):
            return forget.preview(conn, part)

    def remove_parts(self, parts: Sequence[forget.Part]) -> list[forget.Loss]:
        """Remove parts of sources, all or none, so that no byte of them is left in any file of the memory.

        Raises:
            StoreError: as `remove_source`; or a source is not indexed to its end.
        """
        with self._use(write=True) as conn:
            losses = forget.remove_parts(conn, self.folder, parts)
            writer.scrub(conn, self.folder)
            return losses

    def compact(self) -> int:
        """Join small blobs of regions and give free pages back; how many blobs there are fewer. The cache is removed.

        Raises:
            StoreError: another process is reading; open the memory for writing once more when it is done.
        """
        with self._use(write=True) as conn:
            joined = sum(forget.join_blobs(conn, row.id) for row in reader.sources(conn))
            writer.scrub(conn, self.folder)
            return joined

    def free_bytes(self) -> int:
        """Bytes of the database file that hold nothing."""
        with self._use() as conn:
            (pages,) = conn.execute("PRAGMA freelist_count").fetchone()
            (size,) = conn.execute("PRAGMA page_size").fetchone()
            return int(pages) * int(size)

    def regions(self, source_id: int, start_ns: int, end_ns: int) -> Iterator[FrameRegions]:
        """The frames of a source with `start_ns <= t_ns <= end_ns`, in order; one blob in memory at a time.

        Raises:
            StoreError: a blob is damaged.
        """
        with self._use() as conn:
            numbers = reader.region_blobs(conn, source_id, start_ns, end_ns)
        for seq in numbers:
            with self._use() as conn:
                frames = reader.region_frames(conn, source_id, seq)
            yield from (frame for frame in frames if start_ns <= frame.t_ns <= end_ns)

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> Boxes:
        """Times `(n,)`, tracks `(n,)` (ordinals) and boxes `(n, 4)` of the regions of a source with
        `start_ns <= t_ns <= end_ns`, in no order: what `regions` has but the masks, in a fifth of its time. All in
        memory at once.

        Raises:
            StoreError: a blob is damaged.
        """
        with self._use() as conn:
            numbers = reader.region_blobs(conn, source_id, start_ns, end_ns)
            parts = [part for seq in numbers if (part := reader.region_boxes(conn, source_id, seq)) is not None]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.float32)
        times, tracks, boxes = (np.concatenate(column) for column in zip(*parts, strict=True))
        held = (times >= start_ns) & (times <= end_ns)
        return times[held], tracks[held], boxes[held]

    def tracks(self, ids: Sequence[int]) -> list[TrackRow]:
        """The tracks with these ids, in their order; ids that are in the memory no more are left out."""
        with self._use() as conn:
            return reader.tracks(conn, ids)

    def source_tracks(self, source_id: int) -> list[TrackRow]:
        """All tracks of one source, by ordinal."""
        with self._use() as conn:
            return reader.source_tracks(conn, source_id)

    def cuts(self, source_id: int) -> list[int]:
        """The times (ns) at which new shots begin in a source, in order."""
        with self._use() as conn:
            query = "SELECT t_ns FROM cuts WHERE source_id = ? ORDER BY t_ns"
            return [typed(row, (int,), "cuts")[0] for row in conn.execute(query, (source_id,))]

    def stale_sources(self) -> list[str]:
        """The paths of those whose tracks have no tokens of the memory's encoder, since they were not there for it."""
        with self._use() as conn:
            return [path("sources", uri) for (uri,) in conn.execute("SELECT uri FROM sources WHERE stale ORDER BY id")]

    def views(self, source_id: int) -> Mapping[int, list[ViewMark]]:
        """Where the tracks of one source were looked at, best first, by their ids; without those that never were."""
        with self._use() as conn:
            return reader.views(conn, source_id)

    def begin_tokens(self, target: ModelRecord) -> set[int]:
        """Begin to collect tokens of `target`: the ids of tracks that have them already."""
        with self._use(write=True) as conn:
            return tokens.begin(conn, target)

    def put_tokens(self, new: Sequence[tokens.NewTokens]) -> None:
        """Collect tokens, beside the old ones. Raises StoreError for values that are not finite."""
        with self._use(write=True) as conn:
            tokens.put(conn, new)

    def adopt_tokens(self, target: ModelRecord, states: Mapping[int, bytes]) -> list[int]:
        """Take over what was collected, in one transaction: from now on the memory is of the encoder `target`. The ids
        of sources with tracks that have none of its tokens, which are stale now. states: of trackers, by source, in
        place of those that know the old tokens.

        Raises:
            StoreError: a source is not indexed to its end.
        """
        with self._use(write=True) as conn:
            return tokens.adopt(conn, target, states)

    def fitted(self, weights: str) -> Mapping[str, Any] | None:
        """What `set_fitted` kept for an encoder of these weights; None when nothing was. Whether it makes sense is for
        `probability.Probabilities` to tell."""
        with self._use() as conn:
            row = conn.execute("SELECT value FROM meta WHERE key = 'fitted'").fetchone()
            kept = parsed(row[0], "what was fitted").get(weights) if row else None
            if kept is not None:
                typed((kept,), (dict,), "what was fitted")
            return kept

    def set_fitted(self, weights: str, values: Mapping[str, Any] | None) -> None:
        """Keep what was fitted to this memory for an encoder of these weights, in place of what was; None drops it."""
        with self._use(write=True) as conn, transaction(conn):
            text = "{}" if values is None else json.dumps({weights: values}, sort_keys=True)
            conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('fitted', ?)", (text,))

    def introduced(self) -> str | None:
        """The encoder that people were told about last; None when it was none."""
        with self._use() as conn:
            row = conn.execute("SELECT value FROM meta WHERE key = 'introduced'").fetchone()
        return None if row is None else str(row[0])

    def set_introduced(self, encoder: str) -> None:
        """Remember that people were told what this encoder knows."""
        with self._use(write=True) as conn, transaction(conn):
            conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('introduced', ?)", (encoder,))

    def next_ordinal(self, source_id: int) -> int:
        """One more than the highest ordinal of the tracks of a source."""
        with self._use() as conn:
            query = "SELECT ifnull(max(ordinal), -1) + 1 FROM tracks WHERE source_id = ?"
            return int(conn.execute(query, (source_id,)).fetchone()[0])

    def stats(self) -> StoreStats:
        """Counts, and bytes on disk."""
        with self._use() as conn, snapshot(conn):
            return reader.stats(conn, self.folder, self.cache_folder)

    def memory_id(self) -> str:
        """A random name that this memory got when it was made; a copy of the folder keeps it."""
        with self._use() as conn:
            return reader.meta(conn, "memory")

    def generation(self) -> int:
        """How often the tracks have changed."""
        with self._use() as conn:
            return reader.counter(conn, "generation")

    def extent(self) -> tuple[int, int]:
        """How often the tracks have changed, and how many there are."""
        with self._use() as conn, snapshot(conn):
            (n,) = conn.execute("SELECT count(*) FROM tracks").fetchone()
            return reader.counter(conn, "generation"), int(n)

    @contextmanager
    def track_changes(self, since: int) -> Iterator[tuple[int, int, Iterator[list[tuple[Any, ...]]]]]:
        """One consistent view for the cache: the generation, the generation of the last removal, and the tracks
        changed after generation `since` (all for -1) as `reader.raw_tracks` gives them."""
        with self._use() as conn, snapshot(conn):
            removed, generation = reader.counter(conn, "removed"), reader.counter(conn, "generation")
            yield generation, removed, reader.raw_tracks(conn, since)
