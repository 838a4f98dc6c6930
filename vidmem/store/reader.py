"""Read a memory: plain functions on a connection. They raise sqlite3.Error, which the Store translates."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..records import FrameRegions, ViewMark
from . import validate
from .files import DATABASE_NAME, cache_size, file_size
from .region_blobs import Boxes, decode, decode_boxes
from .rows import (
    SOURCE_COLUMNS,
    TRACK_COLUMNS,
    ModelRecord,
    SourceRow,
    StoreStats,
    TrackRow,
    model_record,
    source_row,
    track_row,
)


def model(conn: sqlite3.Connection) -> ModelRecord | None:
    """Return what made the memory; None before anything was indexed. Raises StoreError when it is damaged."""
    row = conn.execute("SELECT encoder, weights, visual_dim, text_dim, config, regions FROM model").fetchone()
    if row is None:
        validate.ensure(
            conn.execute("SELECT 1 FROM tracks LIMIT 1").fetchone() is None, "tracks without the model that made them"
        )
        return None
    return model_record(row)


def sources(conn: sqlite3.Connection, *, states: bool = False) -> list[SourceRow]:
    """Return all sources, in the order in which they were added.

    states: also read `tracker_state`, which is large and is empty here without.
    """
    columns = SOURCE_COLUMNS if states else SOURCE_COLUMNS.replace("tracker_state", _NO_STATE)
    return [source_row(row) for row in conn.execute(f"SELECT {columns} FROM sources ORDER BY id")]


_NO_STATE = "CASE typeof(tracker_state) WHEN 'blob' THEN x'' END"  # its type is checked all the same


def source_where(conn: sqlite3.Connection, condition: str, value: object) -> SourceRow | None:
    """Return the oldest source for which `condition`, a constant of this package with one `?`, is true."""
    query = f"SELECT {SOURCE_COLUMNS} FROM sources WHERE {condition} ORDER BY id LIMIT 1"
    row = conn.execute(query, (value,)).fetchone()
    return None if row is None else source_row(row)


def tracks(conn: sqlite3.Connection, ids: Sequence[int]) -> list[TrackRow]:
    """Return the tracks with these ids, in their order, without ids that are not in the memory (any more)."""
    query = f"SELECT {TRACK_COLUMNS} FROM tracks WHERE id IN (SELECT value FROM json_each(?))"
    found = {row[0]: row for row in conn.execute(query, (json.dumps([int(i) for i in ids]),))}
    return [track_row(found[int(i)]) for i in ids if int(i) in found]


def source_tracks(conn: sqlite3.Connection, source_id: int) -> list[TrackRow]:
    """Return all tracks of one source, by ordinal."""
    query = f"SELECT {TRACK_COLUMNS} FROM tracks WHERE source_id = ? ORDER BY ordinal"
    return [track_row(row) for row in conn.execute(query, (source_id,))]


_VIEW_KINDS = (int, int, *[float] * 5, bytes | None, bytes, float)


def views(conn: sqlite3.Connection, source_id: int) -> dict[int, list[ViewMark]]:
    """Return the views of the tracks of a source, best first, by track id; tracks without views are left out."""
    query = """SELECT track_id, v.t_ns, v.x0, v.y0, v.x1, v.y1, quality, image, hint,
        v.confidence FROM views v JOIN tracks t
        ON t.id = track_id WHERE source_id = ? ORDER BY track_id, quality DESC, v.t_ns"""
    found: dict[int, list[ViewMark]] = {}
    for row in conn.execute(query, (source_id,)):
        track_id, t_ns, x0, y0, x1, y1, quality, image, hint, sure = validate.typed(row, _VIEW_KINDS, "views")
        validate.times("views", t_ns)
        validate.box("views", x0, y0, x1, y1)
        validate.ensure(isfinite(quality), "a quality that is not a number in views")
        validate.shares("views", sure)
        values = tuple(np.frombuffer(hint[: len(hint) // 4 * 4], "<f4").tolist())
        found.setdefault(track_id, []).append(ViewMark(t_ns, (x0, y0, x1, y1), quality, image, values, sure))
    return found


def raw_tracks(conn: sqlite3.Connection, since: int, size: int = 16384) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the tracks that changed after generation `since` by id, in lists of at most `size` rows.

    Each row: id, source_id, ordinal, start_ns, end_ns, frames, visual (fp16 bytes), text (fp16 bytes), text_confidence.
    """
    columns = "id, source_id, ordinal, start_ns, end_ns, frames, visual, text, text_confidence"
    where = "" if since < 0 else "WHERE generation > :since"  # a full scan need not go through the index
    cursor = conn.execute(f"SELECT {columns} FROM tracks {where} ORDER BY id", {"since": since})
    while rows := cursor.fetchmany(size):
        yield rows


def regions(conn: sqlite3.Connection, source_id: int, seq: int) -> list[FrameRegions]:
    """Return the frames of one blob; none when it was removed meanwhile. Raises StoreError when it is damaged."""
    row = _blob(conn, source_id, seq)
    return [] if row is None else decode(row[0])


def region_boxes(conn: sqlite3.Connection, source_id: int, seq: int) -> Boxes | None:
    """Return times, tracks and boxes of the regions of one blob, without masks; None when it was removed meanwhile.

    Raises:
        StoreError: the blob is damaged.
    """
    row = _blob(conn, source_id, seq)
    return None if row is None else decode_boxes(row[0])


def blob_numbers(conn: sqlite3.Connection, source_id: int, start_ns: int, end_ns: int) -> list[int]:
    """Return the `seq` of the blobs that overlap `[start_ns, end_ns]`, in order."""
    query = "SELECT seq FROM regions WHERE source_id = ? AND end_ns >= ? AND start_ns <= ? ORDER BY seq"
    return [row[0] for row in conn.execute(query, (source_id, start_ns, end_ns))]


def _blob(conn: sqlite3.Connection, source_id: int, seq: int) -> tuple[Any] | None:
    """Return the row of one blob, or None."""
    row: tuple[Any] | None = conn.execute(
        "SELECT blob FROM regions WHERE source_id = ? AND seq = ?", (source_id, seq)
    ).fetchone()
    return row


def cuts(conn: sqlite3.Connection, source_id: int) -> list[int]:
    """Return the times (ns) at which new shots begin in a source, in order."""
    query = "SELECT t_ns FROM cuts WHERE source_id = ? ORDER BY t_ns"
    return [validate.typed(row, (int,), "cuts")[0] for row in conn.execute(query, (source_id,))]


def stale_sources(conn: sqlite3.Connection) -> list[str]:
    """Return the paths of the sources without tokens of the memory's encoder: they were missing when it was changed."""
    query = "SELECT uri FROM sources WHERE stale ORDER BY id"
    return [validate.path("sources", uri) for (uri,) in conn.execute(query)]


def shares(conn: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    """Return, for each source by id, how many tracks it has and how many bytes its regions and vectors take."""
    found: dict[int, tuple[int, int]] = {}
    for source_id, n in conn.execute("SELECT source_id, count(*) FROM tracks GROUP BY source_id"):
        found[source_id] = n, 0
    row = conn.execute("SELECT visual_dim, text_dim FROM model").fetchone()
    each = 2 * (int(row[0]) + int(row[1])) if row else 0  # vectors are fp16
    for source_id, size in conn.execute("SELECT source_id, total(length(blob)) FROM regions GROUP BY source_id"):
        found[source_id] = found.get(source_id, (0, 0))[0], int(size)
    return {source_id: (n, size + n * each) for source_id, (n, size) in found.items()}


def next_ordinal(conn: sqlite3.Connection, source_id: int) -> int:
    """Return one more than the highest ordinal of the tracks of a source."""
    query = "SELECT ifnull(max(ordinal), -1) + 1 FROM tracks WHERE source_id = ?"
    return int(conn.execute(query, (source_id,)).fetchone()[0])


def free_bytes(conn: sqlite3.Connection) -> int:
    """Return the bytes of the database file that hold nothing."""
    (pages,) = conn.execute("PRAGMA freelist_count").fetchone()
    (size,) = conn.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(size)


def stats(conn: sqlite3.Connection, folder: Path) -> StoreStats:
    """Count what the memory holds, and its bytes on disk."""
    n, frames, damaged, duration = conn.execute(
        "SELECT count(*), total(frames), total(damaged), total(duration_ns) FROM sources"
    ).fetchone()
    (n_tracks,) = conn.execute("SELECT count(*) FROM tracks").fetchone()
    (pictures,) = conn.execute("SELECT count(*) FROM pictures").fetchone()
    regions, region_bytes = conn.execute("SELECT total(regions), total(length(blob)) FROM regions").fetchone()
    return StoreStats(
        sources=n,
        frames=int(frames),
        damaged=int(damaged),
        tracks=n_tracks,
        regions=int(regions),
        region_bytes=int(region_bytes),
        database_bytes=sum(file_size(folder / (DATABASE_NAME + suffix)) for suffix in ("", "-wal", "-shm")),
        cache_bytes=cache_size(folder),
        duration_ns=int(duration),
        pictures=pictures,
    )
