"""What a memory keeps of a folder of single pictures: which files hold which picture, each content once.

A picture is known by its place in time, PICTURE_NS after the picture before it, and by the hash of its file. Several
files may hold it. A file that cannot be read holds none, and its cause is kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..timecode import NS
from . import meta, validate
from .rows import sane_time

PICTURE_NS = 10 * NS
"""Time from picture to picture: more than the gap over which tracks join into a sighting, so each stands alone."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file of a folder of single pictures.

    Attributes:
        path: Path from the folder.
        size: Bytes.
        mtime_ns: When the file was changed, in ns since the epoch.
        t_ns: The picture in it; None when it cannot be read.
        cause: Why it cannot be read.
        sample: Digest of a part of its content, or of all if it cannot be read; None if unknown.
    """

    path: str
    size: int
    mtime_ns: int
    t_ns: int | None
    cause: str | None = None
    sample: bytes | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a folder of single pictures.

    Attributes:
        t_ns: Its place in time.
        digest: sha256 of its file.
        width: Pixels, upright; boxes are in these pixels.
        height: Pixels, upright.
        recorded_ns: When it was taken, in ns since the epoch; None when that is not known.
        recorded_by: How the time is known; see `SourceInfo.recorded_by`.
    """

    t_ns: int
    digest: bytes
    width: int
    height: int
    recorded_ns: int | None = None
    recorded_by: str = ""


def write(conn: sqlite3.Connection, source_id: int, files: Sequence[PictureFile], pictures: Sequence[Picture]) -> None:
    """Add pictures and add or replace files, inside the caller's transaction."""
    conn.executemany(
        "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(source_id, p.t_ns, p.digest, p.width, p.height, p.recorded_ns, p.recorded_by) for p in pictures],
    )
    conn.executemany(
        "INSERT OR REPLACE INTO picture_files VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(source_id, f.path, f.size, f.mtime_ns, f.t_ns, f.cause, f.sample) for f in files],
    )


def files(conn: sqlite3.Connection, source_id: int) -> list[PictureFile]:
    """Return all files of a source, by path; those that cannot be read as well."""
    query = "SELECT path, size, mtime_ns, t_ns, cause, sample FROM picture_files WHERE source_id = ? ORDER BY path"
    out = []
    for row in conn.execute(query, (source_id,)):
        file = PictureFile(*validate.typed(row, (str, int, int, int | None, str | None, bytes | None), "picture_files"))
        validate.path("picture_files", file.path, inside=True)
        validate.times("picture_files", file.t_ns)
        out.append(file)
    return out


_PICTURES = "SELECT t_ns, hash, width, height, recorded_ns, recorded_by FROM pictures WHERE source_id = ?"


def pictures(conn: sqlite3.Connection, source_id: int) -> list[Picture]:
    """Return all pictures of a source, in order."""
    return [_picture(row) for row in conn.execute(f"{_PICTURES} ORDER BY t_ns", (source_id,))]


def picture(conn: sqlite3.Connection, source_id: int, t_ns: int) -> Picture | None:
    """Return the picture of a source at this time, or None."""
    row = conn.execute(f"{_PICTURES} AND t_ns = ?", (source_id, t_ns)).fetchone()
    return None if row is None else _picture(row)


def _picture(row: tuple[Any, ...]) -> Picture:
    t_ns, digest, width, height = validate.typed(row[:4], (int, bytes, int, int), "pictures")
    validate.times("pictures", t_ns)
    validate.size("pictures", width, height)
    return Picture(t_ns, digest, width, height, *sane_time(*row[4:]))


def recorded(
    conn: sqlite3.Connection, source_id: int, times: Sequence[int] | None = None
) -> dict[int, tuple[int | None, str]]:
    """Return when the pictures at these times (None: all) were taken, and how that is known, by t_ns."""
    query = "SELECT t_ns, recorded_ns, recorded_by FROM pictures WHERE source_id = ?"
    if times is None:
        rows = conn.execute(query, (source_id,))
    else:
        chosen = json.dumps([int(t) for t in times])
        rows = conn.execute(f"{query} AND t_ns IN (SELECT value FROM json_each(?))", (source_id, chosen))
    found = {}
    for t_ns, ns, by in rows:
        validate.typed((t_ns,), (int,), "pictures")
        validate.times("pictures", t_ns)
        found[t_ns] = sane_time(ns, by)
    return found


def set_recorded(conn: sqlite3.Connection, source_id: int, times: Mapping[int, tuple[int | None, str]]) -> None:
    """Set when pictures were taken, and how that is known, by t_ns, inside the caller's transaction."""
    conn.executemany(
        "UPDATE pictures SET recorded_ns = ?, recorded_by = ? WHERE source_id = ? AND t_ns = ?",
        [(ns, by, source_id, t_ns) for t_ns, (ns, by) in times.items()],
    )


def paths(conn: sqlite3.Connection, source_id: int, times: Sequence[int]) -> Mapping[int, list[str]]:
    """Return the absolute paths of the files that hold the picture, by name, for each of the times that has one."""
    row = conn.execute("SELECT uri FROM sources WHERE id = ?", (source_id,)).fetchone()
    out: dict[int, list[str]] = {}
    query = "SELECT path FROM picture_files WHERE source_id = ? AND t_ns = ? ORDER BY path"
    for t_ns in times if row else ():
        held = [_joined(row[0], path) for (path,) in conn.execute(query, (source_id, t_ns))]
        if held:
            out[t_ns] = held
    return out


def _joined(folder: object, path: object) -> str:
    validate.typed((folder, path), (str, str), "picture_files")
    return os.path.join(str(folder), validate.path("picture_files", str(path), inside=True))


def named(conn: sqlite3.Connection, name: str) -> list[tuple[int, str]]:
    """Return source and path of the file with this path, or of all files whose path ends with it."""
    query = """
        SELECT source_id, path, uri FROM picture_files JOIN sources ON id = source_id
        WHERE path = :file OR path LIKE '%/' || :escaped ESCAPE '\\' ORDER BY source_id, path"""
    file = PurePath(name).name
    escaped = file.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = [
        (PurePath(_joined(uri, path)), (source_id, path))
        for source_id, path, uri in conn.execute(query, {"file": file, "escaped": escaped})
    ]
    exact = [place for path, place in found if str(path) == os.path.abspath(name)]
    wanted = PurePath(name).parts
    return exact or [place for path, place in found if path.parts[-len(wanted) :] == wanted]


def drop_files(conn: sqlite3.Connection, source_id: int, gone: Sequence[str]) -> list[int]:
    """Delete file names, inside the caller's transaction; return the times of the pictures that no file holds now."""
    if gone:
        meta.mark_scrub(conn)
    conn.executemany("DELETE FROM picture_files WHERE source_id = ? AND path = ?", [(source_id, p) for p in gone])
    query = """
        SELECT t_ns FROM pictures AS p WHERE source_id = ? AND NOT EXISTS (
            SELECT 1 FROM picture_files AS f WHERE f.source_id = p.source_id AND f.t_ns = p.t_ns) ORDER BY t_ns"""
    return [validate.typed(row, (int,), "pictures")[0] for row in conn.execute(query, (source_id,))]


def forget(conn: sqlite3.Connection, source_id: int, times: Sequence[int] | None = None, before_ns: int = 0) -> None:
    """Delete these pictures with their files, or all before a time, inside the caller's transaction."""
    for table in ("pictures", "picture_files"):
        if times is None:
            conn.execute(f"DELETE FROM {table} WHERE source_id = ? AND t_ns < ?", (source_id, before_ns))
        else:
            conn.executemany(f"DELETE FROM {table} WHERE source_id = ? AND t_ns = ?", [(source_id, t) for t in times])


def forget_all(conn: sqlite3.Connection, source_id: int) -> None:
    """Delete all pictures and files of a source, inside the caller's transaction."""
    for table in ("pictures", "picture_files"):
        conn.execute(f"DELETE FROM {table} WHERE source_id = ?", (source_id,))
