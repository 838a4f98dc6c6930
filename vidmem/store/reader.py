"""Reading a memory: plain functions on a connection. They raise sqlite3.Error, which the Store translates."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..address import Address
from ..errors import UsageError
from ..records import FrameRegions, ViewMark
from . import checks
from . import pictures as picturebook
from .checks import damaged
from .codec import Boxes, decode, decode_boxes
from .files import DATABASE_NAME
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

LEFT_OUT = "…"
"""What stands in a shortened name for the rest of it, as tables print it."""


def meta(conn: sqlite3.Connection, key: str) -> str:
    """One entry of the table `meta`. Raises StoreError when it is not there."""
    row = conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise damaged(f"no {key!r} in its table meta")
    return str(row[0])


def counter(conn: sqlite3.Connection, key: str) -> int:
    """One entry of the table `meta` that counts. Raises StoreError when it is not there, or none."""
    text = meta(conn, key)
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise damaged(f"{key!r} in its table meta is no number")
    return int(text)


def model(conn: sqlite3.Connection) -> ModelRecord | None:
    """What made the memory; None before anything did. Raises StoreError when it is damaged."""
    row = conn.execute("SELECT encoder, weights, visual_dim, text_dim, config, regions FROM model").fetchone()
    return None if row is None else model_record(row)


def sources(conn: sqlite3.Connection) -> list[SourceRow]:
    """All sources in the order in which they were added."""
    return [source_row(row) for row in conn.execute(f"SELECT {SOURCE_COLUMNS} FROM sources ORDER BY id")]


def source_where(conn: sqlite3.Connection, condition: str, value: object) -> SourceRow | None:
    """The oldest source for which `condition`, a constant of this package with one `?`, holds."""
    query = f"SELECT {SOURCE_COLUMNS} FROM sources WHERE {condition} ORDER BY id LIMIT 1"
    row = conn.execute(query, (value,)).fetchone()
    return None if row is None else source_row(row)


def find_source(conn: sqlite3.Connection, name: str) -> SourceRow:
    """The source with the path `name`, or else the only one whose path ends with the folders and file in `name`; for
    part of a log or a dataset, its path without the part will do.

    Raises:
        UsageError: none is called that, or several are.
    """
    found = _called(conn, name)
    if len(found) > 1:
        raise _ambiguous(name, [row.uri for row in found])
    return found[0]


def find_parts(conn: sqlite3.Connection, name: str) -> list[SourceRow]:
    """As `find_source`, but of a log or a dataset that is named without a part all parts in the memory."""
    found = _called(conn, name)
    if len({row.address.path for row in found}) > 1:
        raise _ambiguous(name, [row.uri for row in found])
    return found


def _called(conn: sqlite3.Connection, name: str) -> list[SourceRow]:
    """The source with that path, or else all whose path, with or without the part, ends so; one at least. A name that a
    table has shortened will do."""
    address = Address.parse(name)
    absolute = str(address.absolute())
    exact = source_where(conn, "uri = ?", name) or source_where(conn, "uri = ?", absolute)
    if exact is not None:
        return [exact]
    rows, wanted = sources(conn), PurePath(name).parts
    found = [
        row
        for row in rows
        if wanted and wanted in (PurePath(path).parts[-len(wanted) :] for path in (row.uri, row.address.path))
    ]
    found = found or [row for row in rows if LEFT_OUT in name and _shown(name, row.uri)]
    whole = [row for row in found if row.address.path == absolute]
    if not found:
        if photos := picturebook.named(conn, name):
            inside = source_where(conn, "id = ?", photos[0][0])
            if inside is not None:
                raise UsageError(f"{name!r} is a photo; the source is its folder, give that: {inside.uri}")
        if address.exists():
            raise UsageError(f"nothing of it is in the memory; run `vidmem index` on it first: {name}")
        raise UsageError(f"no source is called {name!r}; {_nearest(name, [row.uri for row in rows])}")
    return whole or found


def _shown(name: str, path: str) -> bool:
    """Whether the name is the path or the end of it, with LEFT_OUT in place of some of it."""
    return re.fullmatch(f"(.*[/\\\\])?{'.*'.join(map(re.escape, name.split(LEFT_OUT)))}", path, re.DOTALL) is not None


def _ambiguous(name: str, uris: list[str]) -> UsageError:
    return UsageError(f"{len(uris)} sources are called {name!r}; give one of: {_few(uris)}")


def _nearest(name: str, uris: list[str]) -> str:
    import difflib  # only a mistyped name needs it

    if not uris:
        return "the memory is empty, index a video first"
    names = {PurePath(uri).name.lower(): uri for uri in uris}
    close = difflib.get_close_matches(PurePath(name).name.lower(), names, n=3, cutoff=0.5)
    return f"near: {_few([names[c] for c in close])}" if close else f"there are: {_few(uris)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def tracks(conn: sqlite3.Connection, ids: Sequence[int]) -> list[TrackRow]:
    """The tracks with these ids, in their order; ids that are in the memory no more are left out."""
    query = f"SELECT {TRACK_COLUMNS} FROM tracks WHERE id IN (SELECT value FROM json_each(?))"
    found = {row[0]: row for row in conn.execute(query, (json.dumps([int(i) for i in ids]),))}
    return [track_row(found[int(i)]) for i in ids if int(i) in found]


def source_tracks(conn: sqlite3.Connection, source_id: int) -> list[TrackRow]:
    """All tracks of one source, by ordinal."""
    query = f"SELECT {TRACK_COLUMNS} FROM tracks WHERE source_id = ? ORDER BY ordinal"
    return [track_row(row) for row in conn.execute(query, (source_id,))]


_VIEW_KINDS = (int, int, *[float] * 5, bytes | None, bytes, float)


def views(conn: sqlite3.Connection, source_id: int) -> dict[int, list[ViewMark]]:
    """Where the tracks of a source were looked at, best first, by the ids of tracks; none for those without views."""
    query = """SELECT track_id, v.t_ns, v.x0, v.y0, v.x1, v.y1, quality, image, hint,
        v.confidence FROM views v JOIN tracks t
        ON t.id = track_id WHERE source_id = ? ORDER BY track_id, quality DESC, v.t_ns"""
    found: dict[int, list[ViewMark]] = {}
    for row in conn.execute(query, (source_id,)):
        track_id, t_ns, x0, y0, x1, y1, quality, image, hint, sure = checks.typed(row, _VIEW_KINDS, "views")
        checks.times("views", t_ns)
        checks.box("views", x0, y0, x1, y1)
        checks.held(isfinite(quality), "a quality that is no number in views")
        checks.shares("views", sure)
        told = tuple(np.frombuffer(hint[: len(hint) // 4 * 4], "<f4").tolist())
        found.setdefault(track_id, []).append(ViewMark(t_ns, (x0, y0, x1, y1), quality, image, told, sure))
    return found


def raw_tracks(conn: sqlite3.Connection, since: int, size: int = 16384) -> Iterator[list[tuple[Any, ...]]]:
    """Tracks changed after generation `since` by id, in lists of at most `size` rows.

    Each row: id, source_id, ordinal, start_ns, end_ns, frames, visual (fp16 bytes), text (fp16 bytes),
    text_confidence.
    """
    columns = "id, source_id, ordinal, start_ns, end_ns, frames, visual, text, text_confidence"
    where = "" if since < 0 else "WHERE generation > :since"  # a full scan need not go through the index
    cursor = conn.execute(f"SELECT {columns} FROM tracks {where} ORDER BY id", {"since": since})
    while rows := cursor.fetchmany(size):
        yield rows


def region_blobs(conn: sqlite3.Connection, source_id: int, start_ns: int, end_ns: int) -> list[int]:
    """The `seq` of the blobs that overlap `[start_ns, end_ns]`, in order."""
    query = "SELECT seq FROM regions WHERE source_id = ? AND end_ns >= ? AND start_ns <= ? ORDER BY seq"
    return [row[0] for row in conn.execute(query, (source_id, start_ns, end_ns))]


def region_frames(conn: sqlite3.Connection, source_id: int, seq: int) -> list[FrameRegions]:
    """The frames of one blob; none when it was forgotten meanwhile. Raises StoreError when it is damaged."""
    query = "SELECT blob FROM regions WHERE source_id = ? AND seq = ?"
    row = conn.execute(query, (source_id, seq)).fetchone()
    return [] if row is None else decode(row[0])


def region_boxes(conn: sqlite3.Connection, source_id: int, seq: int) -> Boxes | None:
    """Times, tracks and boxes of the regions of one blob, without masks; None when it was forgotten meanwhile. Raises
    StoreError when it is damaged."""
    query = "SELECT blob FROM regions WHERE source_id = ? AND seq = ?"
    row = conn.execute(query, (source_id, seq)).fetchone()
    return None if row is None else decode_boxes(row[0])


def stats(conn: sqlite3.Connection, folder: Path, cache_folder: Path) -> StoreStats:
    """Counts and bytes on disk."""
    n, frames, damaged, duration = conn.execute(
        "SELECT count(*), total(frames), total(damaged), total(duration_ns) FROM sources"
    ).fetchone()
    (n_tracks,) = conn.execute("SELECT count(*) FROM tracks").fetchone()
    (pictures,) = conn.execute("SELECT count(*) FROM pictures").fetchone()
    regions, region_bytes = conn.execute("SELECT total(regions), total(length(blob)) FROM regions").fetchone()
    cache = cache_folder.iterdir() if cache_folder.is_dir() else ()
    return StoreStats(
        sources=n,
        frames=int(frames),
        damaged=int(damaged),
        tracks=n_tracks,
        regions=int(regions),
        region_bytes=int(region_bytes),
        database_bytes=sum(_size(folder / (DATABASE_NAME + suffix)) for suffix in ("", "-wal", "-shm")),
        cache_bytes=sum(_size(path) for path in cache),
        duration_ns=int(duration),
        pictures=pictures,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
