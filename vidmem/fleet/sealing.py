"""Seal a memory: make it one immutable folder with a manifest, or undo that.

The seal is `seal.json`, which appears at once and last. A process that is killed before leaves a memory that is not
sealed, and one that is killed after leaves a sealed one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import StoreError
from ..limits import MAX_NS
from ..records import SourceKind
from ..replacing import replacing
from ..store import SourceRow, Store, VectorCache, cache_file, migrations
from ..store.database import connect, store_errors
from ..store.files import (
    BOUNDS_NAME,
    CACHE_LOCK_NAME,
    CACHE_NAME,
    DATABASE_NAME,
    LOCK_NAME,
    SEAL_NAME,
    SIDE_FILES,
    TEMPORARY,
    check_files,
    drop_remains,
    file_size,
    has_cache,
    open_file,
    remove_file,
    sealed,
)
from ..store.lock import hold_seal, take_lock, take_writer_lock
from ..store.phrase_cache import NAME as PHRASES
from ..timecode import is_wall_clock
from . import manifest
from .manifest import Manifest, SealedFile, SealedSource

_CHUNK = 1 << 20
_TRIES = 3
_PLAIN_JOURNAL = b"\x01\x01"
"""Bytes 18 and 19 of a database without a write-ahead log (https://www.sqlite.org/fileformat.html, section 1.3.3)."""


def seal(folder: Path, *, partial: bool = False) -> Manifest:
    """Seal the memory in `folder`; return its manifest. A sealed memory stays as it is.

    The memory is shrunk, its caches are made, and its checksums are taken. From then on nothing in the folder is
    written. What is sealed, undone and sealed again without a change has the same id.

    Args:
        folder: The memory.
        partial: Also seal a memory with sources that are not indexed to their end, or whose `reembed` was interrupted.

    Raises:
        StoreError: There is no memory, it is empty, damaged or unfinished, or another process has it open.
        LockedError: Another process is writing to it.
        VersionError: A newer vidmem made it.
    """
    with store_errors(folder):
        if sealed(folder):
            return manifest.load(folder)
        check_files(folder, write=True)
        for _ in range(_TRIES):
            _settle(folder, partial)
            with _alone(folder):
                if sealed(folder):  # another process was faster
                    return manifest.load(folder)
                found = _sealed(folder, partial)
            if found is not None:
                return found
        raise StoreError("another process writes to the memory again and again; stop it, then seal")


def unseal(folder: Path) -> None:
    """Undo the seal of a memory, so that it can be written to. Its id is the same when it is sealed again unchanged.

    Raises:
        StoreError: There is no sealed memory, or another process has it open.
    """
    with store_errors(folder):
        if not (folder / DATABASE_NAME).exists() or not sealed(folder):
            raise StoreError("there is no sealed memory here; check the path")
        fd = hold_seal(folder, alone=True)
        if fd is None:
            raise StoreError("a process has the sealed memory open; close it, then undo the seal")
        try:
            remove_file(folder / SEAL_NAME)
            drop_remains(folder)
            _flush(folder)
        finally:
            os.close(fd)


def _settle(folder: Path, partial: bool) -> None:
    """Bring the memory to rest: all of it in one database file, its caches beside it."""
    if not _at_rest(folder):
        with Store.open(folder, write=True) as store:
            _check(store, partial)
            store.compact()
            VectorCache(store)
            store.rest()
    with Store.open(folder) as store:
        VectorCache(store)  # writes what is missing


def _at_rest(folder: Path) -> bool:
    """Return True if the last that was done to the memory was sealing it, or the undoing of that."""
    if any(file_size(folder / (DATABASE_NAME + end)) for end in SIDE_FILES):
        return False
    try:
        with os.fdopen(open_file(folder / DATABASE_NAME, os.O_RDONLY), "rb") as file:
            head = file.read(20)
    except FileNotFoundError:
        raise StoreError("there is no memory here; index a video first, or choose another folder") from None
    if head[18:20] != _PLAIN_JOURNAL:
        return False
    with contextlib.closing(connect(folder, write=False)) as conn:
        return migrations.version(conn) == len(migrations.MIGRATIONS)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep all writers off the memory: of its rows and of its caches. At the end their lock files are gone."""
    lock = take_writer_lock(folder)
    try:
        cache_lock = take_lock(folder / CACHE_LOCK_NAME, wait=True)
        try:
            yield
            if sealed(folder):
                for name in (LOCK_NAME, CACHE_LOCK_NAME):
                    remove_file(folder / name)
        finally:
            if cache_lock is not None:
                os.close(cache_lock)
    finally:
        os.close(lock)


def _sealed(folder: Path, partial: bool) -> Manifest | None:
    """Seal a memory at rest; None if it is not, because someone wrote to it in the meantime."""
    if not _at_rest(folder):
        return None
    for name in _cached(folder):
        if name.startswith(PHRASES) or name.endswith(TEMPORARY):
            remove_file(folder / CACHE_NAME / name)
    with Store.open(folder) as store:
        _check(store, partial)
        found = described(store)
        if not _has_vectors(store, found):
            return None
        _write_bounds(store)
    remove_file(folder / (DATABASE_NAME + "-journal"))
    names = [DATABASE_NAME, BOUNDS_NAME, *(f"{CACHE_NAME}/{name}" for name in _cached(folder))]
    files = {name: digest(folder / name, flush=True) for name in names if (folder / name).exists()}
    _flush(folder / CACHE_NAME)
    result = manifest.parse(_with_files(found, files).text(), str(folder))  # what is written can be read
    with replacing(folder / SEAL_NAME) as part, open(part, "wb") as file:
        file.write(result.text())
    return result


def _with_files(found: Manifest, files: dict[str, SealedFile]) -> Manifest:
    values = {name: getattr(found, name) for name in Manifest.__dataclass_fields__}
    return Manifest(**{**values, "files": files}).named()


def _check(store: Store, partial: bool) -> None:
    """Raise StoreError unless the memory is complete."""
    sources = store.sources()
    if store.model() is None or not sources:
        raise StoreError("the memory is empty; index a video first")
    if store.scrub_due():
        raise StoreError("something that was forgotten is not erased yet; run `vidmem compact`, then seal")
    unfinished = [row.uri for row in sources if row.state == "open"]
    if unfinished and not partial:
        raise StoreError(
            f"{len(unfinished)} of its {len(sources)} sources are not indexed to their end, such as {unfinished[0]}; "
            "index them again, or give `partial` to seal what there is"
        )
    if store.tokens_begun() and not partial:
        raise StoreError(
            "its `vidmem reembed` was interrupted; run that again, or give `partial` to seal the old tokens"
        )


def described(store: Store) -> Manifest:
    """Return the manifest of an open memory, but for its files and its id. Raises StoreError if it is damaged."""
    with store.snapshot() as (memory, generation):
        model, rows = store.model(), store.sources()
        if model is None:
            raise StoreError("the memory is empty; index a video first")
        columns = VectorCache(store).columns
        ids, counts = np.unique(columns.source_ids, return_counts=True)
        tracks = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        ends: dict[int, int] = {}
        for id_ in tracks:
            ends[id_] = int(columns.end_ns[columns.source_ids == id_].max())
        sources = tuple(
            _source(store, row, tracks.get(row.id, 0), max(row.duration_ns, ends.get(row.id, 0)))
            for row in sorted(rows, key=lambda row: row.id)
        )
        return Manifest(
            id="",
            vidmem=__version__,
            schema=len(migrations.MIGRATIONS),
            memory=memory,
            model=model,
            generation=generation,
            tracks=sum(tracks.values()),
            t_min=manifest.span_of(sources)[0],
            t_max=manifest.span_of(sources)[1],
            sources=sources,
            files={},
        )


def _source(store: Store, row: SourceRow, tracks: int, end_ns: int) -> SealedSource:
    if row.kind is SourceKind.PICTURES:
        taken = store.pictures_recorded(row.id)
        known = [ns for ns, _ in taken.values() if ns is not None]
        first, last = min(known, default=None), max(known, default=None)
        return SealedSource(row, tracks, end_ns, first, last, len(taken))
    start = row.start_ns
    if start is None or not is_wall_clock(start, row.recorded_by) or start + end_ns >= MAX_NS:
        return SealedSource(row, tracks, end_ns, None, None)
    return SealedSource(row, tracks, end_ns, start, start + end_ns)


def _has_vectors(store: Store, found: Manifest) -> bool:
    """Return True if the cache file holds exactly the tracks of the memory."""
    dims = found.model.visual_dim, found.model.text_dim
    try:
        data = cache_file.load(store.folder, found.memory, dims, found.generation, found.tracks)
    except (OSError, ValueError):
        return False
    return data.generation == found.generation


def _write_bounds(store: Store) -> None:
    from .bounds import bounds_of

    with replacing(store.folder / BOUNDS_NAME) as part:
        bounds_of(VectorCache(store)).save(Path(part))


def _cached(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder / CACHE_NAME)) if has_cache(folder) else []


def digest(path: Path, *, flush: bool = False) -> SealedFile:
    """Return the bytes and the checksum of a file. flush: first wait until it is on the disk.

    Raises:
        StoreError: It is a link, a pipe or a device.
        OSError: It cannot be read.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        if flush:
            with suppress(OSError):  # some file systems refuse it on a file that was opened for reading
                os.fsync(file.fileno())
        total, sha = 0, hashlib.sha256()
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            total += len(chunk)
    return SealedFile(total, sha.hexdigest())


def _flush(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; some systems cannot do that."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
