"""Write a memory: plain functions on the writer's connection, each in one transaction or several named ones."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

from ..errors import ModelMismatchError, StoreError, UsageError
from ..records import SourceInfo
from . import lookup, meta, picture_files, reader
from .database import transaction
from .files import CACHE_LOCK_NAME, remove_cache
from .lock import holding
from .rows import ModelRecord, SourceRow


def check_model(stored: ModelRecord | None, record: ModelRecord) -> None:
    """Raise ModelMismatchError when `stored` was not made as `record` says; None agrees with all."""
    differ = {} if stored is None else stored.differences(record)
    if stored is None or not differ:
        return
    fields = ", ".join(f"{name} ({ours} in the memory, {theirs} asked for)" for name, (ours, theirs) in differ.items())
    if "encoder" in differ:
        remedy = f"use `encoder` {stored.encoder}, or `vidmem reembed --encoder {record.encoder}`"
    elif differ.keys() & {"weights", "visual_dim", "text_dim", "regions"}:
        remedy = f"`vidmem reembed` gives it the tokens of these weights of {record.encoder}, from its sources"
    else:
        remedy = "use the same settings"
    raise ModelMismatchError(f"the memory was made otherwise: {fields}; {remedy}, or another folder")


def set_model(conn: sqlite3.Connection, record: ModelRecord) -> None:
    """Record what makes this memory. Raises ModelMismatchError if it holds sources that were made otherwise."""
    with transaction(conn):
        if conn.execute("SELECT 1 FROM sources LIMIT 1").fetchone():
            check_model(reader.model(conn), record)
        config = json.dumps(record.config, sort_keys=True)
        row = (1, record.encoder, record.weights, record.visual_dim, record.text_dim, config, record.regions)
        conn.execute("INSERT OR REPLACE INTO model VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def set_recorded(conn: sqlite3.Connection, source_id: int, start_ns: int | None, by: str) -> None:
    """Set when a source was recorded (see `SourceInfo.start_ns`), and how that is known.

    "given" with None means that the time is unknown and is not to be looked up again.

    Raises:
        UsageError: the source has a clock, or pictures, with times of their own.
    """
    row = lookup.source_by_id(conn, source_id)
    if row.kind.own_times or row.kind.single_pictures:
        raise UsageError(f"it has times of its own, which stay as they are: {row.uri}")
    _set_recorded(conn, source_id, start_ns, by)


def _set_recorded(conn: sqlite3.Connection, source_id: int, start_ns: int | None, by: str) -> None:
    with transaction(conn):
        conn.execute("UPDATE sources SET start_ns = ?, recorded_by = ? WHERE id = ?", (start_ns, by, source_id))


def _dated(conn: sqlite3.Connection, known: SourceRow, info: SourceInfo) -> SourceRow:
    """Return the row, with the recording time of `info` if none was known."""
    if known.recorded_by or known.start_ns is not None or info.start_ns is None or known.kind.own_clock:
        return known
    _set_recorded(conn, known.id, info.start_ns, info.recorded_by)
    return replace(known, start_ns=info.start_ns, recorded_by=info.recorded_by)


def set_content(conn: sqlite3.Connection, source_id: int, stamp: str, content: str) -> None:
    """Set what the files of a source held when it was indexed; see `SourceRow`."""
    with transaction(conn):
        conn.execute("UPDATE sources SET stamp = ?, content = ? WHERE id = ?", (stamp, content, source_id))


def _renewed(conn: sqlite3.Connection, known: SourceRow, info: SourceInfo) -> SourceRow:
    """Return the row, with the fingerprint of `info` in place of the one of an earlier version."""
    if known.fingerprint == info.fingerprint:
        return known
    with transaction(conn):
        conn.execute("UPDATE sources SET fingerprint = ? WHERE id = ?", (info.fingerprint, known.id))
    return replace(known, fingerprint=info.fingerprint)


def begin_source(conn: sqlite3.Connection, folder: Path, info: SourceInfo, again: bool) -> SourceRow:
    """Return the row of the source: the known one when its content is known under any path, or else a new one."""
    prints = (info.fingerprint, info.former or info.fingerprint)
    known = reader.source_where(conn, "uri = ?", info.uri)
    if known is not None and known.fingerprint in prints and not again:
        return _dated(conn, _renewed(conn, known, info), info)
    if known is not None:  # the file was replaced: what was seen in the old one is not there any more
        remove_rows(conn, folder, known.id)
    known = reader.source_where(conn, "fingerprint = ?", prints[0]) or reader.source_where(
        conn, "fingerprint = ?", prints[1]
    )
    if known is not None:
        known = _renewed(conn, known, info)
    if known is not None and known.address.exists():
        return _dated(conn, known, info)
    if known is not None:  # the file was moved: pictures of it are at the new place
        with transaction(conn):
            conn.execute("UPDATE sources SET uri = ? WHERE id = ?", (info.uri, known.id))
        return _dated(conn, replace(known, uri=info.uri), info)
    with transaction(conn):
        conn.execute(
            "INSERT INTO sources (uri, kind, width, height, duration_ns, start_ns, recorded_by, fingerprint, state,"
            " frames, damaged, tracker_state, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', 0, 0, x'', ?)",
            (
                info.uri,
                info.kind,
                info.width,
                info.height,
                info.duration_ns,
                info.start_ns,
                info.recorded_by,
                info.fingerprint,
                time.time_ns(),
            ),
        )
    row = reader.source_where(conn, "uri = ?", info.uri)
    assert row is not None
    return row


def remove_rows(conn: sqlite3.Connection, folder: Path, *source_ids: int) -> None:
    """Delete sources with their tracks and regions, all or none, and mark the memory as in need of `scrub`.

    Raises:
        StoreError: there is no such source.
    """
    # The cache's lock: a reader that is writing the cache finishes first, and later ones see the removal.
    with holding(folder / CACHE_LOCK_NAME), transaction(conn):
        for source_id in source_ids:
            for table in ("regions", "marks", "trails", "cuts"):
                conn.execute(f"DELETE FROM {table} WHERE source_id = ?", (source_id,))
            picture_files.forget_all(conn, source_id)
            conn.execute("DELETE FROM tracks WHERE source_id = ?", (source_id,))
            if not conn.execute("DELETE FROM sources WHERE id = ?", (source_id,)).rowcount:
                raise StoreError(f"source {source_id} is not in this memory (any more)")
        mark_removed(conn)


def mark_removed(conn: sqlite3.Connection) -> int:
    """Count a removal of tracks, inside the caller's transaction: caches are rebuilt, and the next `scrub` is due."""
    generation = meta.bump_generation(conn)
    conn.execute("UPDATE meta SET value = ? WHERE key = 'removed'", (str(generation),))
    meta.mark_scrub(conn)
    return generation


def scrub(conn: sqlite3.Connection, folder: Path) -> None:
    """Make what was deleted disappear from the files: the cache, SQLite's free pages and its log.

    Raises:
        StoreError: another process is reading; the mark stays and the next writer tries again.
    """
    with holding(folder / CACHE_LOCK_NAME):
        remove_cache(folder)
    conn.execute("VACUUM")
    meta.mark_scrub(conn)
    (busy, _, _) = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError(
            "the source is removed, but another process is reading and keeps old bytes in SQLite's log; "
            "stop it, then open the memory for writing once more"
        )
    meta.mark_scrub(conn, False)  # only now, when the old log is gone; this alone is in the new one
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
