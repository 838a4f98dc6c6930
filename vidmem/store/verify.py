"""Check a whole memory: every page, every row, every vector. Nothing is written, and nothing outside is touched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError
from . import cache_build, cache_file, log_data, meta, migrations, picture_files, reader, standing
from .database import connect, explain, snapshot
from .files import CACHE_NAME, DATABASE_NAME, check_files
from .fp16 import vectors_crc
from .phrase_cache import check_texts
from .rows import SourceRow
from .schema import TABLES
from .sqlite_file import longest_value
from .validate import damaged, reading

MAX_BLOB = 1 << 28
"""Largest value that a sound memory holds, in bytes: a blob of regions, a state of a tracker."""
_PAGES = 20
"""Lines of SQLite's own check that are kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a verification.

    Attributes:
        check: What was checked.
        sound: True if nothing is wrong.
        found: How much was checked, or what is wrong.
    """

    check: str
    sound: bool
    found: str


def verify(folder: Path) -> Iterator[Finding]:
    """Check the memory in `folder`, and yield what was found, part by part.

    A part that cannot be checked because of an earlier finding is left out.
    """
    try:
        check_files(folder)
        conn = connect(folder, write=False)
    except (StoreError, OSError, sqlite3.Error) as error:
        yield Finding("files", False, _said(error, folder))
        return
    try:
        size = os.lstat(folder / DATABASE_NAME).st_size
        yield Finding("files", True, f"plain files; {DATABASE_NAME} has {size:,} bytes")
        with snapshot(conn):
            yield from _database(conn, folder)
    finally:
        conn.close()


def _database(conn: sqlite3.Connection, folder: Path) -> Iterator[Finding]:
    try:
        number = migrations.version(conn)
        if number == 0:
            raise StoreError("the memory is empty")
    except (StoreError, sqlite3.Error) as error:
        yield Finding("schema", False, _said(error, folder))
        return
    yield Finding("schema", True, f"format {number}, as vidmem makes it")
    yield from _pages(conn, folder)
    if number < len(migrations.MIGRATIONS):
        text = f"format {number} is older than {len(migrations.MIGRATIONS)}; ask a question, which brings it up to date"
        yield Finding("rows", False, text)
        return
    checks: tuple[tuple[str, Callable[[sqlite3.Connection], str]], ...] = (
        ("sizes", _sizes),
        ("rows", _rows),
        ("vectors", _vectors),
        ("regions", _regions),
        ("erased", _erased),
    )
    for name, check in checks:
        found = _outcome(name, check, conn, folder)
        yield found
        if name == "sizes" and not found.sound:  # what follows would read such values
            return
    yield _outcome("cache", lambda conn: _cache(conn, folder), conn, folder)


def _outcome(name: str, check: Callable[[sqlite3.Connection], str], conn: sqlite3.Connection, folder: Path) -> Finding:
    try:
        with reading():
            return Finding(name, True, check(conn))
    except (StoreError, sqlite3.Error) as error:
        return Finding(name, False, _said(error, folder))


def _said(error: Exception, folder: Path) -> str:
    if isinstance(error, sqlite3.Error | OSError):
        return explain(error, folder)
    return str(error)


def _pages(conn: sqlite3.Connection, folder: Path) -> Iterator[Finding]:
    """SQLite's own check of pages, rows and constraints; then references from table to table."""
    try:
        wrong = [str(row[0]) for row in conn.execute(f"PRAGMA quick_check({_PAGES})") if row != ("ok",)]
        wrong += [f"a row of {row[0]} refers to nothing" for row in conn.execute("PRAGMA foreign_key_check")][:_PAGES]
        (pages,) = conn.execute("PRAGMA page_count").fetchone()
    except sqlite3.Error as error:
        yield Finding("pages", False, _said(error, folder))
        return
    yield from (Finding("pages", False, line) for line in wrong)
    if not wrong:
        yield Finding("pages", True, f"{pages:,} pages")


def _sizes(conn: sqlite3.Connection) -> str:
    """The longest text or blob of every table."""
    longest = 0
    for table in sorted(TABLES):
        columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
        sizes = ", ".join(f"max(length({column}))" for column in columns)
        for column, size in zip(columns, conn.execute(f"SELECT {sizes} FROM {table}").fetchone(), strict=True):
            if size is not None and size > min(MAX_BLOB, longest_value()):
                raise damaged(f"{column} in {table} has {size:,} bytes")
            longest = max(longest, size or 0)
    return f"the longest value has {longest:,} bytes"


def _rows(conn: sqlite3.Connection) -> str:
    reader.model(conn)
    meta.memory_id(conn)
    meta.counter(conn, "generation")
    standing.standing(conn)
    sources = reader.sources(conn)
    n = sum(_rows_of(conn, row) for row in sources)
    return f"{len(sources):,} sources, {n:,} rows of theirs"


def _rows_of(conn: sqlite3.Connection, row: SourceRow) -> int:
    """Read every row of a source as a question would; return how many there are."""
    far = 1 << 62
    trail = log_data.trail(conn, row.id)
    return (
        len(reader.source_tracks(conn, row.id))
        + sum(map(len, reader.views(conn, row.id).values()))
        + len(reader.cuts(conn, row.id))
        + len(log_data.marks(conn, row.id, -far, far))
        + (0 if trail is None else len(trail.t_ns))
        + len(picture_files.pictures(conn, row.id))
        + len(picture_files.files(conn, row.id))
        + len(standing.undelivered(conn, row.id))
    )


def _vectors(conn: sqlite3.Connection) -> str:
    """Length, numbers and checksum of every vector."""
    model = reader.model(conn)
    n = unknown = 0
    for id_, visual, text, crc in conn.execute("SELECT id, visual, text, crc FROM tracks ORDER BY id"):
        if not isinstance(visual, bytes) or not isinstance(text, bytes):
            raise damaged(f"track {id_} has no vectors")
        if model is not None and (len(visual), len(text)) != (2 * model.visual_dim, 2 * model.text_dim):
            raise damaged(f"the vectors of track {id_} have another length")
        if not all(np.isfinite(np.frombuffer(blob, "<f2")).all() for blob in (visual, text)):
            raise damaged(f"the vectors of track {id_} are not numbers")
        if crc is not None and vectors_crc(visual, text) != crc:
            raise damaged(f"the vectors of track {id_} have a wrong checksum")
        n, unknown = n + 1, unknown + (crc is None)
    if unknown:
        raise damaged(f"{unknown:,} of {n:,} tracks have no checksum")
    return f"{n:,} tracks, checksums match"


def _regions(conn: sqlite3.Connection) -> str:
    """Unpack every blob of regions, which have checksums."""
    blobs = regions = 0
    for row in reader.sources(conn):
        for seq in reader.blob_numbers(conn, row.id, -(1 << 63), (1 << 63) - 1):
            frames = reader.regions(conn, row.id, seq)
            blobs, regions = blobs + 1, regions + sum(map(len, frames))
    return f"{regions:,} regions in {blobs:,} blobs, checksums match"


def _erased(conn: sqlite3.Connection) -> str:
    if meta.scrub_due(conn):
        raise StoreError("something that was forgotten is still in the files; `vidmem compact` erases it")
    return "nothing that was forgotten is left"


def _cache(conn: sqlite3.Connection, folder: Path) -> str:
    """Check the cached phrases, and compare the cached vectors with those in the database."""
    check_texts(folder / CACHE_NAME)
    model = reader.model(conn)
    if model is None:
        return "none"
    data = cache_build.stacked(conn)
    try:
        cached = cache_file.load(folder, data.memory, (model.visual_dim, model.text_dim), data.generation, len(data))
    except FileNotFoundError:
        return "none; the next question makes it"
    except ValueError as error:
        return f"not usable ({error}); the next question makes it again"
    except OSError as error:
        raise StoreError(f"the cache cannot be read ({error.strerror})") from None
    if cached.generation != data.generation:
        return "older than the memory; the next question brings it up to date"
    pairs = ((cached.columns, data.columns), (cached.visual, data.visual), (cached.text, data.text))
    same = all(np.array_equal(a, b) for a, b in pairs)
    if not same or not np.allclose(cached.scale, data.scale, rtol=1e-5):
        raise StoreError("the cache holds other vectors than the memory; `vidmem compact` removes it")
    return f"{len(cached):,} tracks, as in the memory"
