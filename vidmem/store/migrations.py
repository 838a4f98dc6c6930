"""The schema of a memory, as numbered steps. A released step is never edited: add the next one.

sqlite-utils is imported only when a step is applied: its 100 ms would slow every `vidmem where`.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import VersionError
from . import schema
from .database import snapshot, transaction
from .validate import damaged, ensure, typed

if TYPE_CHECKING:
    from sqlite_utils import Database


def m001_first(db: Database) -> None:
    """Sources, their tracks, their regions, and the one model that made them."""
    db.table("meta").create({"key": str, "value": str}, pk="key", not_null={"value"})
    db.table("model").create(
        {"id": int, "encoder": str, "weights": str, "visual_dim": int, "text_dim": int, "config": str},
        pk="id",
        not_null={"encoder", "weights", "visual_dim", "text_dim", "config"},
    )
    # AUTOINCREMENT, which sqlite-utils cannot write: the id of a forgotten thing is never given to another.
    db.conn.execute("""
        CREATE TABLE sources (
            id INTEGER PRIMARY KEY AUTOINCREMENT, uri TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
            width INTEGER NOT NULL, height INTEGER NOT NULL, duration_ns INTEGER NOT NULL, start_ns INTEGER,
            fingerprint TEXT NOT NULL, state TEXT NOT NULL, frames INTEGER NOT NULL, damaged INTEGER NOT NULL,
            next_t_ns INTEGER, tracker_state BLOB NOT NULL, added_at INTEGER NOT NULL, finished_at INTEGER)""")
    db.conn.execute("""
        CREATE TABLE tracks (
            id INTEGER PRIMARY KEY AUTOINCREMENT, source_id INTEGER NOT NULL REFERENCES sources(id),
            ordinal INTEGER NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, frames INTEGER NOT NULL,
            best_ns INTEGER NOT NULL, x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
            generation INTEGER NOT NULL, visual BLOB NOT NULL, text BLOB NOT NULL, UNIQUE (source_id, ordinal))""")
    db.conn.execute("""
        CREATE TABLE regions (
            source_id INTEGER NOT NULL REFERENCES sources(id), seq INTEGER NOT NULL, start_ns INTEGER NOT NULL,
            end_ns INTEGER NOT NULL, frames INTEGER NOT NULL, regions INTEGER NOT NULL, blob BLOB NOT NULL,
            PRIMARY KEY (source_id, seq))""")
    db.table("sources").create_index(["fingerprint"])
    db.table("tracks").create_index(["generation"])
    meta = {"memory": uuid.uuid4().hex, "generation": "0", "removed": "0", "scrub": "0"}
    db.conn.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta.items())


def m002_logs(db: Database) -> None:
    """Both times and the number of each picture of a log, and the poses of a source."""
    # Times as small numbers: log_ns from the source's zero and t_ns, the stamp from log_ns.
    db.conn.execute("""
        CREATE TABLE marks (
            source_id INTEGER NOT NULL REFERENCES sources(id), t_ns INTEGER NOT NULL, late_ns INTEGER NOT NULL,
            stamp_late_ns INTEGER, sequence INTEGER, PRIMARY KEY (source_id, t_ns)) WITHOUT ROWID""")
    db.conn.execute("""
        CREATE TABLE trails (
            source_id INTEGER PRIMARY KEY REFERENCES sources(id), topic TEXT NOT NULL, frame TEXT NOT NULL,
            blob BLOB NOT NULL)""")


def m003_pictures(db: Database) -> None:
    """Folders of single pictures: each content once, with all files that hold it."""
    db.conn.execute("""
        CREATE TABLE pictures (
            source_id INTEGER NOT NULL REFERENCES sources(id), t_ns INTEGER NOT NULL, hash BLOB NOT NULL,
            width INTEGER NOT NULL, height INTEGER NOT NULL, PRIMARY KEY (source_id, t_ns)) WITHOUT ROWID""")
    db.conn.execute("""
        CREATE TABLE picture_files (
            source_id INTEGER NOT NULL REFERENCES sources(id), path TEXT NOT NULL, size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL, t_ns INTEGER, cause TEXT, PRIMARY KEY (source_id, path)) WITHOUT ROWID""")
    db.conn.execute("CREATE INDEX picture_files_t_ns ON picture_files (source_id, t_ns)")


def m004_views(db: Database) -> None:
    """Confidence of tracks, their views, where shots begin, and tokens of another encoder before they are used."""
    db.conn.execute("ALTER TABLE tracks ADD COLUMN confidence REAL NOT NULL DEFAULT 1")
    db.conn.execute("ALTER TABLE tracks ADD COLUMN text_confidence REAL NOT NULL DEFAULT 1")
    db.conn.execute("ALTER TABLE model ADD COLUMN regions TEXT NOT NULL DEFAULT ''")
    db.conn.execute("ALTER TABLE sources ADD COLUMN stale INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("""
        CREATE TABLE views (
            track_id INTEGER NOT NULL REFERENCES tracks(id) ON DELETE CASCADE, t_ns INTEGER NOT NULL,
            x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, quality REAL NOT NULL, image BLOB,
            hint BLOB NOT NULL DEFAULT x'', confidence REAL NOT NULL DEFAULT 1,
            PRIMARY KEY (track_id, t_ns)) WITHOUT ROWID""")
    db.conn.execute("""
        CREATE TABLE cuts (
            source_id INTEGER NOT NULL REFERENCES sources(id), t_ns INTEGER NOT NULL, PRIMARY KEY (source_id, t_ns))
        WITHOUT ROWID""")
    db.conn.execute("""
        CREATE TABLE new_tokens (
            track_id INTEGER PRIMARY KEY REFERENCES tracks(id) ON DELETE CASCADE, visual BLOB NOT NULL,
            text BLOB NOT NULL, text_confidence REAL NOT NULL)""")


def m005_recorded(db: Database) -> None:
    """How the recording time of a source is known; the same, with the time, for single pictures."""
    db.conn.execute("ALTER TABLE sources ADD COLUMN recorded_by TEXT NOT NULL DEFAULT ''")
    db.conn.execute("ALTER TABLE pictures ADD COLUMN recorded_ns INTEGER")
    db.conn.execute("ALTER TABLE pictures ADD COLUMN recorded_by TEXT NOT NULL DEFAULT ''")
    # Only logs and live sources had a time before; of the others it is not known until they are indexed again.
    db.conn.execute("UPDATE sources SET recorded_by = kind WHERE start_ns IS NOT NULL AND kind IN ('log', 'live')")


def m006_content(db: Database) -> None:
    """What files held when they were indexed, so that one that was repaired or replaced is looked at again."""
    db.conn.execute("ALTER TABLE sources ADD COLUMN stamp TEXT NOT NULL DEFAULT ''")
    db.conn.execute("ALTER TABLE sources ADD COLUMN content TEXT NOT NULL DEFAULT ''")
    db.conn.execute("ALTER TABLE picture_files ADD COLUMN sample BLOB")


def m007_checksums(db: Database) -> None:
    """A checksum of the vectors of each track; NULL where none is known."""
    db.conn.execute("ALTER TABLE tracks ADD COLUMN crc INTEGER")
    db.conn.execute("UPDATE tracks SET crc = vectors_crc(visual, text)")


def m008_standing(db: Database) -> None:
    """Questions that are asked of every live session, and the tracks that they have told of."""
    db.conn.execute("""
        CREATE TABLE standing (
            text TEXT PRIMARY KEY NOT NULL, min_probability REAL, added_at INTEGER NOT NULL)""")
    # event: what is told of the track, until it is delivered. By track first: a forgotten track takes its rows along.
    db.conn.execute("""
        CREATE TABLE told (
            track_id INTEGER NOT NULL REFERENCES tracks(id) ON DELETE CASCADE, question TEXT NOT NULL, event TEXT,
            PRIMARY KEY (track_id, question)) WITHOUT ROWID""")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (
    m001_first,
    m002_logs,
    m003_pictures,
    m004_views,
    m005_recorded,
    m006_content,
    m007_checksums,
    m008_standing,
)


def version(conn: sqlite3.Connection) -> int:
    """Return the number of the last step applied to this memory; 0 for an empty file.

    Raises:
        StoreError: a SQLite file, but not a memory.
        VersionError: a newer vidmem made it.
    """
    if conn.in_transaction:
        return _version(conn)
    with snapshot(conn):  # a writer may be bringing an older memory up to date
        return _version(conn)


def _version(conn: sqlite3.Connection) -> int:
    application, rows = schema.read(conn)
    if not application and not rows:
        return 0
    foreign = application == schema.APPLICATION_ID and schema.digest(rows) not in schema.SCHEMAS
    if foreign and schema.has_numbers(rows) and (newer := _number(conn)) > len(MIGRATIONS):
        raise _newer(newer)
    found = schema.check_known(application, rows)
    number = _number(conn)  # not before: a stranger's schema could make any read endless
    if number > len(MIGRATIONS):
        raise _newer(number)
    ensure(number > 0, "a number out of range in migrations")
    if found != schema.SCHEMAS[number - 1]:
        raise damaged(f"its tables are not those of format {number}")
    return number


def _number(conn: sqlite3.Connection) -> int:
    return int(typed(conn.execute("SELECT max(number) FROM migrations").fetchone(), (int,), "migrations")[0])


def _newer(number: int) -> VersionError:
    return VersionError(
        f"this memory was made by a newer vidmem (format {number}, this one knows {len(MIGRATIONS)}); "
        "upgrade with: pip install -U vidmem"
    )


def migrate(conn: sqlite3.Connection) -> int:
    """Apply the missing steps, each in its own transaction; return how many there were.

    Raises:
        StoreError, VersionError: as `version`.
        sqlite3.Error: a step failed; the steps before it stay applied.
    """
    applied = version(conn)
    if applied == len(MIGRATIONS):
        return 0
    from sqlite_utils import Database

    db = Database(conn)
    for number, step in enumerate(MIGRATIONS[applied:], applied + 1):
        with transaction(conn):
            if number == 1:
                conn.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
                conn.execute(schema.NUMBERS)
            step(db)
            conn.execute("INSERT INTO migrations VALUES (?, ?, ?)", (number, step.__name__, time.time_ns()))
    return len(MIGRATIONS) - applied
