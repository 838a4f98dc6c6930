"""Writing a memory: plain functions on the writer's connection, each one transaction or several named ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import ModelMismatchError, StoreError
from ..records import FrameRegions, Mark, SourceInfo, Track
from . import logs, reader
from . import pictures as picturebook
from .codec import encode, same_grid
from .database import transaction
from .files import CACHE_LOCK_NAME, CACHE_NAME
from .lock import holding
from .pictures import Picture, PictureFile
from .rows import STATES, ModelRecord, SourceRow, SourceState, pack_vector


def check_model(stored: ModelRecord | None, record: ModelRecord) -> None:
    """Raises ModelMismatchError when `stored` was not made as `record` would; a fresh memory agrees with all."""
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
    """Record what makes this memory. With sources in it, it must agree with what is recorded already."""
    with transaction(conn):
        if conn.execute("SELECT 1 FROM sources LIMIT 1").fetchone():
            check_model(reader.model(conn), record)
        config = json.dumps(record.config, sort_keys=True)
        row = (1, record.encoder, record.weights, record.visual_dim, record.text_dim, config, record.regions)
        conn.execute("INSERT OR REPLACE INTO model VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def set_recorded(conn: sqlite3.Connection, source_id: int, start_ns: int | None, by: str) -> None:
    """When the source was recorded, and how that is known."""
    with transaction(conn):
        conn.execute("UPDATE sources SET start_ns = ?, recorded_by = ? WHERE id = ?", (start_ns, by, source_id))


def _dated(conn: sqlite3.Connection, known: SourceRow, info: SourceInfo) -> SourceRow:
    """The row, with the recording time where it was indexed when none was known."""
    if known.recorded_by or known.start_ns is not None or info.start_ns is None or known.kind.own_clock:
        return known
    set_recorded(conn, known.id, info.start_ns, info.recorded_by)
    return replace(known, start_ns=info.start_ns, recorded_by=info.recorded_by)


def begin_source(conn: sqlite3.Connection, folder: Path, info: SourceInfo) -> SourceRow:
    """The row of the source: the known one when its content is known under any path, or else a new one."""
    known = reader.source_where(conn, "uri = ?", info.uri)
    if known is not None and known.fingerprint == info.fingerprint:
        return _dated(conn, known, info)
    if known is not None:  # the file was replaced: what was seen in the old one is not there any more
        remove_rows(conn, folder, known.id)
    known = reader.source_where(conn, "fingerprint = ?", info.fingerprint)
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


def checkpoint(
    conn: sqlite3.Connection,
    source_id: int,
    tracks: Sequence[Track],
    frames: Sequence[FrameRegions],
    *,
    next_t_ns: int,
    frames_done: int,
    damaged: int,
    tracker_state: bytes,
    state: SourceState,
    marks: Sequence[tuple[int, Mark]] = (),
    files: Sequence[PictureFile] = (),
    pictures: Sequence[Picture] = (),
    cuts: Sequence[int] = (),
    duration_ns: int | None = None,
) -> None:
    """One transaction; see `Store.checkpoint`."""
    if state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}, not {state!r}")
    blobs = [(run, encode(run)) for run in same_grid(frames)]  # slow work first: the lock is held briefly
    finished = None if state == "open" else time.time_ns()
    with transaction(conn):
        updated = conn.execute(
            "UPDATE sources SET next_t_ns = ?, frames = ?, damaged = ?, tracker_state = ?, state = ?, finished_at = ?,"
            " duration_ns = ifnull(?, duration_ns) WHERE id = ?",
            (next_t_ns, frames_done, damaged, tracker_state, state, finished, duration_ns, source_id),
        )
        if not updated.rowcount:
            raise StoreError(f"source {source_id} is not in this memory (any more); begin it again")
        if tracks:
            _write_tracks(conn, source_id, tracks, bump_generation(conn))
        (seq,) = conn.execute("SELECT ifnull(max(seq), -1) FROM regions WHERE source_id = ?", (source_id,)).fetchone()
        for number, (run, blob) in enumerate(blobs, seq + 1):
            times = [frame.t_ns for frame in run]
            row = (source_id, number, min(times), max(times), len(run), sum(map(len, run)), blob)
            conn.execute("INSERT INTO regions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        logs.write_marks(conn, source_id, marks)
        picturebook.write(conn, source_id, files, pictures)
        conn.executemany("INSERT OR IGNORE INTO cuts VALUES (?, ?)", [(source_id, t_ns) for t_ns in cuts])


def _write_tracks(conn: sqlite3.Connection, source_id: int, tracks: Sequence[Track], generation: int) -> None:
    dims = conn.execute("SELECT visual_dim, text_dim FROM model").fetchone()
    # By ordinal, and without INSERT ... ON CONFLICT, which spends an id on every update: ids then depend only on
    # the order in which tracks were born, not on where checkpoints or interruptions fell.
    for track in sorted(tracks, key=lambda track: track.ordinal):
        if dims and (len(track.visual), len(track.text)) != dims:
            raise ValueError(f"track vectors have {len(track.visual)} and {len(track.text)} values, want {dims}")
        row = (
            track.start_ns,
            track.end_ns,
            track.frames,
            track.best_ns,
            *map(float, track.best_box),
            generation,
            pack_vector(track.visual),
            pack_vector(track.text),
            set_share(track.confidence),
            set_share(track.text_confidence),
            source_id,
            track.ordinal,
        )
        updated = conn.execute(
            "UPDATE tracks SET start_ns = ?, end_ns = ?, frames = ?, best_ns = ?, x0 = ?, y0 = ?, x1 = ?, y1 = ?,"
            " generation = ?, visual = ?, text = ?, confidence = ?, text_confidence = ?"
            " WHERE source_id = ? AND ordinal = ?",
            row,
        )
        if not updated.rowcount:
            conn.execute(
                "INSERT INTO tracks (start_ns, end_ns, frames, best_ns, x0, y0, x1, y1, generation, visual, text,"
                " confidence, text_confidence, source_id, ordinal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                " ?)",
                row,
            )
        if track.views:
            _write_views(conn, source_id, track)


def _write_views(conn: sqlite3.Connection, source_id: int, track: Track) -> None:
    """The views of a track in place of those before; the picture of one that stays is kept."""
    query = "SELECT id FROM tracks WHERE source_id = ? AND ordinal = ?"
    (track_id,) = conn.execute(query, (source_id, track.ordinal)).fetchone()
    times = json.dumps([view.t_ns for view in track.views])
    conn.execute(
        "DELETE FROM views WHERE track_id = ? AND t_ns NOT IN (SELECT value FROM json_each(?))", (track_id, times)
    )
    conn.executemany(
        "INSERT INTO views VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET x0 = excluded.x0,"
        " y0 = excluded.y0, x1 = excluded.x1, y1 = excluded.y1, quality = excluded.quality,"
        # a picture is handed out once, with what was told of it
        " image = ifnull(excluded.image, image), hint = iif(excluded.image IS NULL, hint, excluded.hint),"
        " confidence = iif(excluded.image IS NULL, confidence, excluded.confidence)",
        [
            (
                track_id,
                v.t_ns,
                *map(float, v.box),
                float(v.quality),
                v.image,
                np.array(v.hint, "<f4").tobytes(),
                float(v.confidence),
            )
            for v in track.views
        ],
    )


def set_share(value: float) -> float:
    """The value, which lies in [0, 1]. Raises StoreError for what is no number."""
    if not 0 <= value <= 1:  # false for NaN
        raise StoreError(f"a confidence of {value} is not between 0 and 1; check the encoder, then index again")
    return float(value)


def bump_generation(conn: sqlite3.Connection) -> int:
    """Count one more change of the tracks, inside the caller's transaction."""
    generation = reader.counter(conn, "generation") + 1
    conn.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (str(generation),))
    return generation


def remove_rows(conn: sqlite3.Connection, folder: Path, source_id: int) -> None:
    """Delete a source with its tracks and regions, and mark the memory as in need of `scrub`.

    Raises:
        StoreError: there is no such source.
    """
    # The cache's lock: a reader that is writing the cache finishes first, and later ones see the removal.
    with holding(folder / CACHE_LOCK_NAME), transaction(conn):
        conn.execute("DELETE FROM regions WHERE source_id = ?", (source_id,))
        conn.execute("DELETE FROM marks WHERE source_id = ?", (source_id,))
        conn.execute("DELETE FROM trails WHERE source_id = ?", (source_id,))
        conn.execute("DELETE FROM cuts WHERE source_id = ?", (source_id,))
        picturebook.forget_all(conn, source_id)
        conn.execute("DELETE FROM tracks WHERE source_id = ?", (source_id,))
        if not conn.execute("DELETE FROM sources WHERE id = ?", (source_id,)).rowcount:
            raise StoreError(f"source {source_id} is not in this memory (any more)")
        mark_removed(conn)


def mark_removed(conn: sqlite3.Connection) -> int:
    """Count a removal of tracks, inside the caller's transaction: caches are made anew, and the next `scrub` is due."""
    generation = bump_generation(conn)
    conn.execute("UPDATE meta SET value = ? WHERE key = 'removed'", (str(generation),))
    conn.execute("UPDATE meta SET value = '1' WHERE key = 'scrub'")
    return generation


def scrub(conn: sqlite3.Connection, folder: Path) -> None:
    """Make what was deleted disappear from the files: the cache, SQLite's free pages and its log.

    Raises:
        StoreError: another process is reading; the mark stays and the next writer tries again.
    """
    with holding(folder / CACHE_LOCK_NAME):
        if (folder / CACHE_NAME).exists():
            shutil.rmtree(folder / CACHE_NAME)
    conn.execute("VACUUM")
    for mark in ("1", "0"):  # clear the mark only when the log is gone, then empty the log of that change too
        conn.execute("UPDATE meta SET value = ? WHERE key = 'scrub'", (mark,))
        (busy, _, _) = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(
                "the source is removed, but another process is reading and keeps old bytes in SQLite's log; "
                "stop it, then open the memory for writing once more"
            )
