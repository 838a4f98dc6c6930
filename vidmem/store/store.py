"""The Store: one memory folder, opened by many readers and at most one writer.

SQLite is the truth; everything in `cache/` can be rebuilt from it.
"""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np

from ..closing import Closing
from ..errors import StoreError
from ..records import FrameRegions, SourceInfo
from . import (
    checkpoint,
    forget,
    log_data,
    lookup,
    meta,
    migrations,
    new_tokens,
    picture_files,
    reader,
    standing,
    writer,
)
from .database import connect, snapshot, store_errors, transaction
from .files import (
    CACHE_LOCK_NAME,
    CACHE_NAME,
    DATABASE_NAME,
    check_files,
    drop_remains,
    seal_refuses,
    sealed,
)
from .lock import hold_seal, take_writer_lock
from .proof import Proof
from .region_blobs import Boxes
from .rows import ModelRecord, SourceRow, StoreStats
from .snapshots import Snapshots, closed
from .validate import reading

_log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")
_warned: set[str] = set()
"""Memories of which this process has said that something is still to be erased."""
_OnConnection = Callable[Concatenate[sqlite3.Connection, _P], _R]
_OnStore = Callable[Concatenate["Store", _P], _R]


def _reads(function: _OnConnection[_P, _R]) -> _OnStore[_P, _R]:
    """Make a function that reads a connection a method of Store, with its signature and docstring."""

    def call(self: Store, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with self._use() as conn:
            return function(conn, *args, **options)

    return functools.update_wrapper(call, function)


def _writes(function: _OnConnection[_P, _R]) -> _OnStore[_P, _R]:
    """Make a function that writes in transactions of its own a method of Store."""

    def call(self: Store, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with self._use(write=True) as conn:
            return function(conn, *args, **options)

    return functools.update_wrapper(call, function)


def _writes_once(function: _OnConnection[_P, _R]) -> _OnStore[_P, _R]:
    """Make a function that writes a method of Store, which runs it in one transaction."""

    def call(self: Store, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with self._use(write=True) as conn, transaction(conn):
            return function(conn, *args, **options)

    return functools.update_wrapper(call, function)


class Store(Closing):
    """One open memory. Use it as a context manager. Threads may share it: their calls wait for each other, but those
    within a `snapshot` do not.

    Every method may raise StoreError: the memory is damaged, the disk is full, or the folder is read-only.

    Attributes:
        folder: Where the memory lies.
        writable: True in the one Store that may write.
        sealed: The memory is sealed: nothing in its folder is ever written.
    """

    def __init__(self, folder: Path, conn: sqlite3.Connection, lock_fd: int | None, seal_fd: int | None = None) -> None:
        """Use `Store.open`."""
        self.folder = folder
        self.writable = lock_fd is not None
        self.sealed = seal_fd is not None
        self._seal_fd = seal_fd
        self._conn: sqlite3.Connection | None = conn
        self._lock_fd = lock_fd
        self._turn = threading.RLock()
        self._snapshots = Snapshots(folder)

    @classmethod
    def open(cls, path: str | os.PathLike[str], write: bool = False, create: bool = False) -> Self:
        """Open the memory in the folder `path`.

        Args:
            path: The folder.
            write: Open it as the one writer.
            create: Make the memory when it does not exist; implies `write`.

        Raises:
            StoreError: there is no memory, it cannot be opened, or it is sealed and was to be opened for writing.
            LockedError: another process is writing already.
            VersionError: a newer vidmem made it.
        """
        folder = Path(path)
        with store_errors(folder):
            if create:
                folder.mkdir(parents=True, exist_ok=True)
            check_files(folder, write=write or create)
            if not create and not (folder / DATABASE_NAME).exists():
                raise StoreError("there is no memory here; index a video first, or choose another folder")
            if (write or create) and sealed(folder):
                raise seal_refuses()
            _log.info("memory, opened for %s: %s", "writing" if write or create else "reading", folder)
            if write or create:
                return cls._open_writer(folder)
            return cls._open_sealed(folder) if sealed(folder) else cls._open_reader(folder)

    @classmethod
    def _open_sealed(cls, folder: Path) -> Self:
        seal_fd = hold_seal(folder)
        if seal_fd is None:
            raise StoreError("another process is undoing the seal of the memory; open it again when that is done")
        conn = None
        try:
            conn = connect(folder, write=False)
            if (number := migrations.version(conn)) != len(migrations.MIGRATIONS):
                raise StoreError(
                    f"the memory was sealed in format {number}, and this vidmem reads {len(migrations.MIGRATIONS)}; "
                    "run `vidmem seal --undo`, ask it a question, which brings it up to date, and seal it again"
                )
            return cls(folder, conn, None, seal_fd)
        except BaseException:
            if conn is not None:
                conn.close()
            os.close(seal_fd)
            raise

    @classmethod
    def _open_reader(cls, folder: Path) -> Self:
        try:
            conn = connect(folder, write=False)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            cls._open_writer(folder).close()  # its maker was killed at once, and only a writer may undo half of that
            conn = connect(folder, write=False)
        try:
            version = migrations.version(conn)
        except BaseException:
            conn.close()
            raise
        if version == len(migrations.MIGRATIONS):
            if meta.scrub_due(conn):
                _warn_of_scrub(folder)
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
            drop_remains(folder)
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
        """Do the scrub that an earlier removal could not do, or that a crash cut short."""
        try:
            with self._use() as conn:
                if meta.scrub_due(conn):
                    self._scrub(conn)
        except StoreError as error:  # a reader in the way again must not keep a new video from being indexed
            _log.warning("%s", error)

    def close(self) -> None:
        """Close the files and release the writer's lock. Closing twice is fine.

        Other threads that are asking get a StoreError at their next read; `close` waits for them.
        """
        self._snapshots.close()
        with self._turn:
            if self._conn is not None:
                self._conn.close()
                self._conn = None
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None
            if self._seal_fd is not None:
                os.close(self._seal_fd)
                self._seal_fd = None

    def __repr__(self) -> str:
        mode = "closed" if self._conn is None else "write" if self.writable else "sealed" if self.sealed else "read"
        return f"Store({str(self.folder)!r}, {mode})"

    @contextmanager
    def _use(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        with store_errors(self.folder):
            held = self._snapshots.held
        if held is not None:
            if write:
                raise RuntimeError("a memory is written after a snapshot, not within it")
            with store_errors(self.folder), reading():
                yield held
            return
        with self._turn, store_errors(self.folder):
            if self._conn is None:
                raise closed()
            if write and self.sealed:
                raise seal_refuses()
            if write and not self.writable:
                raise StoreError("this Store was opened for reading; use Store.open(path, write=True)")
            with nullcontext() if write else reading():
                yield self._conn

    @contextmanager
    def snapshot(self) -> Iterator[tuple[str, int]]:
        """Let all reads of this thread in the block see one committed state, whatever others write meanwhile.

        It gives the id of the memory and the generation of its tracks. Do not write within it, and keep it short:
        removals wait for it.
        """
        with ExitStack() as stack:
            with store_errors(self.folder), reading():
                conn = stack.enter_context(self._snapshots.take())
                state = meta.memory_id(conn), meta.counter(conn, "generation")
            yield state

    def later(self, action: Callable[[], None]) -> None:
        """Run `action` when this thread's `snapshot` has ended, at once without one: what writes or takes a lock."""
        self._snapshots.later(action)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other threads off this Store.

        Take the cache's lock only in here, as everything that removes does. Otherwise two threads could wait for each
        other.
        """
        with self._turn:
            yield

    def settle(self) -> None:
        """Erase what was replaced, and move SQLite's log into the database file, as at the end of a run.

        `stats` then gives the bytes of a memory at rest. The log stays as it is while another process reads.
        """
        self._finish_scrub()
        with self._use(write=True) as conn:
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def rest(self) -> None:
        """Make `memory.sqlite` the only file of the database. The next writer makes SQLite's log again.

        Raises:
            StoreError: another process has the memory open.
        """
        with self._use(write=True) as conn, self._snapshots.paused():
            self._snapshots.drop_idle()
            try:
                (mode,) = conn.execute("PRAGMA journal_mode = DELETE").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                mode = "busy"
            if mode != "delete":
                raise StoreError("another process has the memory open; close it and run this again")

    def scrub_due(self) -> bool:
        """Return True if something was forgotten that is still in the files: a process was stopped, or is at work."""
        with self._use() as conn:
            return meta.scrub_due(conn)

    def check_writable(self) -> None:
        """Raise StoreError in a memory that was opened for reading."""
        if self.sealed:
            raise StoreError(f"{seal_refuses()}: {self.folder}")
        if not self.writable:
            raise StoreError(
                f"this memory was opened for reading; open it without `read_only` to change it: {self.folder}"
            )

    @property
    def address(self) -> str:
        """What opens it again: the folder."""
        return str(self.folder)

    @property
    def cache_folder(self) -> Path:
        """The folder of files that can be rebuilt; it need not exist."""
        return self.folder / CACHE_NAME

    @property
    def cache_lock(self) -> Path:
        """The lock to hold while files in the cache folder are changed."""
        return self.folder / CACHE_LOCK_NAME

    # What made the memory, and single values
    model = _reads(reader.model)
    set_model = _writes(writer.set_model)
    memory_id = _reads(meta.memory_id)
    fitted = _reads(meta.fitted)
    set_fitted = _writes_once(meta.set_fitted)
    introduced = _reads(meta.introduced)
    set_introduced = _writes_once(meta.set_introduced)
    free_bytes = _reads(reader.free_bytes)

    # Sources
    sources = _reads(reader.sources)
    source = _reads(lookup.find_source)
    parts = _reads(lookup.find_parts)
    photo = _reads(lookup.find_photo)
    source_by_id = _reads(lookup.source_by_id)
    set_recorded = _writes(writer.set_recorded)
    set_content = _writes(writer.set_content)
    stale_sources = _reads(reader.stale_sources)
    cuts = _reads(reader.cuts)
    shares = _reads(reader.shares)
    marks = _reads(log_data.marks)
    trail = _reads(log_data.trail)
    set_trail = _writes(log_data.set_trail)

    # Tracks
    checkpoint = _writes(checkpoint.write)
    tracks = _reads(reader.tracks)
    source_tracks = _reads(reader.source_tracks)
    views = _reads(reader.views)
    next_ordinal = _reads(reader.next_ordinal)

    # Folders of single pictures
    pictures = _reads(picture_files.pictures)
    picture = _reads(picture_files.picture)
    picture_paths = _reads(picture_files.paths)
    pictures_recorded = _reads(picture_files.recorded)
    set_pictures_recorded = _writes_once(picture_files.set_recorded)
    drop_picture_files = _writes_once(picture_files.drop_files)
    picture_files = _reads(picture_files.files)  # the last: in this class it now hides the module

    # Standing questions
    add_standing = _writes_once(standing.add_standing)
    drop_standing = _writes_once(standing.drop_standing)
    told = _reads(standing.told)
    tell = _writes_once(standing.tell)
    settle_event = _writes_once(standing.settle_event)
    undelivered = _reads(standing.undelivered)
    standing = _reads(standing.standing)  # the last: in this class it now hides the module

    # Tokens of another encoder
    begin_tokens = _writes(new_tokens.begin)
    put_tokens = _writes(new_tokens.put)
    adopt_tokens = _writes(new_tokens.adopt)
    tokens_begun = _reads(new_tokens.begun)

    def sources_named(self, name: str) -> list[SourceRow]:
        """Return the source that `source` finds; of a fleet all parts of it, which lie in several shards."""
        return [self.source(name)]

    def source_at(self, name: str, t_ns: int) -> SourceRow:
        """Return the source that `source` finds; of a fleet the part of it that holds this time."""
        return self.source(name)

    def clock_error(self, source_id: int) -> int:
        """Return by how many ns the recording time of a source may be wrong, as was said of its shard of a fleet."""
        return 0

    def clock_group(self, source_id: int) -> int:
        """Return a number that sources of one clock share: of a fleet, those of one shard."""
        return 0

    def proof(self) -> Proof | None:
        """Return what the answer of this thread's snapshot rests on so far; None for a memory, which is whole."""
        return None

    def check_model(self, record: ModelRecord) -> None:
        """Raise ModelMismatchError, with what differs, unless the memory was made as `record` says."""
        with self._use() as conn:
            writer.check_model(reader.model(conn), record)

    def begin_source(self, info: SourceInfo, *, again: bool = False) -> SourceRow:
        """Return the row to index `info` into, with the place to resume.

        Known content, under this path or another, gives the row it has. A path whose content has changed is removed
        and added again.

        again: the content at this path has changed, though its fingerprint is the same.
        """
        with self._use(write=True) as conn:
            return writer.begin_source(conn, self.folder, info, again)

    def remove_source(self, *source_ids: int) -> None:
        """Remove sources, all or none, so that no byte of them is left in any file of the memory.

        Raises:
            StoreError: there is no such source; or another process is reading, and old bytes stay until the next
                writer.
        """
        if source_ids:
            with self._use(write=True) as conn:
                writer.remove_rows(conn, self.folder, *source_ids)
                self._scrub(conn)

    def preview_removal(self, part: forget.Part) -> forget.Loss:
        """Return what `remove_parts` would take away."""
        with self._use() as conn, snapshot(conn):
            return forget.preview(conn, part)

    def remove_parts(self, parts: Sequence[forget.Part]) -> list[forget.Loss]:
        """Remove parts of sources, all or none, so that no byte of them is left in any file of the memory.

        Raises:
            StoreError: as `remove_source`; or a source is not indexed to its end.
        """
        with self._use(write=True) as conn:
            losses = forget.remove_parts(conn, self.folder, parts)
            self._scrub(conn)
            return losses

    def compact(self) -> int:
        """Join small blobs of regions, give free pages back and remove the cache; return how many blobs went.

        Raises:
            StoreError: another process is reading; open the memory for writing again when it is done.
        """
        with self._use(write=True) as conn:
            joined = sum(forget.join_blobs(conn, row.id) for row in reader.sources(conn))
            self._scrub(conn)
            return joined

    def _scrub(self, conn: sqlite3.Connection) -> None:
        with self._snapshots.paused():  # a question that reads old pages would keep them in SQLite's log
            writer.scrub(conn, self.folder)

    def regions(self, source_id: int, start_ns: int, end_ns: int) -> Iterator[FrameRegions]:
        """Yield the frames of a source with `start_ns <= t_ns <= end_ns`, in order; one blob in memory at a time.

        Raises:
            StoreError: a blob is damaged.
        """
        with self._use() as conn:
            numbers = reader.blob_numbers(conn, source_id, start_ns, end_ns)
        for seq in numbers:
            with self._use() as conn:
                frames = reader.regions(conn, source_id, seq)
            yield from (frame for frame in frames if start_ns <= frame.t_ns <= end_ns)

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> Boxes:
        """Return the boxes of a source with `start_ns <= t_ns <= end_ns`, in no order, all in memory at once.

        This is what `regions` gives but for the masks, in a fifth of its time.

        Returns:
            Times `(n,)` in ns, ordinals of tracks `(n,)`, boxes `(n, 4)`.

        Raises:
            StoreError: a blob is damaged.
        """
        with self._use() as conn:
            numbers = reader.blob_numbers(conn, source_id, start_ns, end_ns)
            parts = [part for seq in numbers if (part := reader.region_boxes(conn, source_id, seq)) is not None]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.float32)
        times, tracks, boxes = (np.concatenate(column) for column in zip(*parts, strict=True))
        inside = (times >= start_ns) & (times <= end_ns)
        return times[inside], tracks[inside], boxes[inside]

    def stats(self) -> StoreStats:
        """Count what the memory holds, and its bytes on disk."""
        with self._use() as conn, snapshot(conn):
            return reader.stats(conn, self.folder)

    def changes(self) -> tuple[int, int]:
        """Return a value that is another one after any commit, by this or another process. Not for a `snapshot`."""
        with self._turn, store_errors(self.folder):
            if self._conn is None:
                raise closed()
            return int(self._conn.execute("PRAGMA data_version").fetchone()[0]), self._conn.total_changes

    def extent(self) -> tuple[int, int]:
        """Return how often the tracks have changed, and how many there are."""
        with self._use() as conn, snapshot(conn):
            (n,) = conn.execute("SELECT count(*) FROM tracks").fetchone()
            return meta.counter(conn, "generation"), int(n)

    @contextmanager
    def track_changes(self, since: int) -> Iterator[tuple[int, int, Iterator[list[tuple[Any, ...]]]]]:
        """Give the vector cache one consistent view of the tracks.

        It is the generation, the generation of the last removal, and the tracks that changed after generation `since`
        (all for -1), as `reader.raw_tracks` yields them.
        """
        with self._use() as conn, snapshot(conn):
            removed, generation = meta.counter(conn, "removed"), meta.counter(conn, "generation")
            yield generation, removed, reader.raw_tracks(conn, since)


def _warn_of_scrub(folder: Path) -> None:
    """Say once that a reader cannot erase what was forgotten."""
    if (name := os.path.abspath(folder)) not in _warned:
        _warned.add(name)
        _log.warning(
            "something that was forgotten is still in the files of the memory, since a process was stopped before it "
            "was erased; `vidmem compact` erases it: %s",
            folder,
        )
