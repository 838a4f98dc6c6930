"""Encoded phrases, kept beside the vector cache in a small SQLite file of its own, so that readers may write to it.

Phrases are stored as checksums and vectors, never as words. The file lies in the cache folder, which is deleted
whenever something is forgotten. A file that is damaged or cannot be written costs time, not answers.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..records import Float32
from .files import SIDE_FILES, check_database, make_cache, remove_file
from .lock import take_lock
from .schema import entries
from .sqlite_file import open_sqlite
from .store import Store

NAME = "texts.sqlite"
MAX_ROWS = 4096
"""Rows kept; older ones are deleted. At 512 numbers each they are 8 MB."""
MAX_VALUE = 1 << 24
"""Bytes of the largest value: vectors of a phrase, or facts. Larger ones are not kept."""
TABLES = {
    "texts": "CREATE TABLE texts (key BLOB PRIMARY KEY, width INTEGER, vectors BLOB, at INTEGER)",
    "facts": "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT)",
}
"""The schema: the file may come from a stranger, and a generated column could make any read endless."""
_log = logging.getLogger(__name__)


def check_texts(cache: Path) -> None:
    """Check the file in this cache folder, if there is one: its schema, its pages, its values.

    Raises:
        StoreError: it is not as vidmem makes it; questions would not use it.
    """
    path = cache / NAME
    check_database(path)
    if not path.exists():
        return
    try:
        with closing(_open(path)) as conn:
            wrong = conn.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
            for width, vectors in conn.execute("SELECT width, vectors FROM texts"):
                wrong = wrong or not isinstance(vectors, bytes) or not np.isfinite(_vectors(width, vectors)).all()
            for (value,) in conn.execute("SELECT value FROM facts"):
                json.loads(value)
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"{NAME} in the cache cannot be used ({error}); `vidmem compact` removes it") from error
    if wrong:
        raise StoreError(f"{NAME} in the cache is damaged; `vidmem compact` removes it")


def _open(path: Path) -> sqlite3.Connection:
    """Open the file for reading. Raises sqlite3.Error unless its schema is the known one, before a row is read."""
    conn = open_sqlite(path, "mode=ro", timeout=1, longest=MAX_VALUE)
    try:
        _check_schema(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def _check_schema(conn: sqlite3.Connection) -> None:
    try:
        rows = entries(conn)
    except StoreError as error:
        raise sqlite3.DatabaseError(str(error)) from None
    own = {("index", f"sqlite_autoindex_{name}_1", name, "None") for name in TABLES}
    if len(rows) != 2 * len(TABLES) or set(rows) != own | {("table", n, n, sql) for n, sql in TABLES.items()}:
        raise sqlite3.DatabaseError("it holds tables that vidmem did not make")


def _vectors(width: int, data: bytes) -> Float32:
    return np.frombuffer(data, "<f4").reshape(-1, width)


class PhraseCache:
    """The phrase cache of one memory. Each call opens the file again: it may have been deleted since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.cache_folder / NAME

    def get(self, keys: Sequence[bytes]) -> list[Float32 | None]:
        """Return the vectors `(n, D)` stored under each key, None where there are none."""
        with self._reading() as conn:
            if conn is not None:
                out: list[Float32 | None] = []
                for key in keys:
                    row = conn.execute("SELECT width, vectors FROM texts WHERE key = ?", (key,)).fetchone()
                    found = None if row is None else _vectors(*row).copy()
                    out.append(found if found is not None and np.isfinite(found).all() else None)
                return out
        return [None] * len(keys)

    def put(self, items: Sequence[tuple[bytes, Float32]]) -> None:
        """Store vectors `(n, D)` under keys."""
        now = time.time_ns()
        rows = [
            (key, v.shape[1], np.ascontiguousarray(v, "<f4").tobytes(), now + i) for i, (key, v) in enumerate(items)
        ]
        with self._writing() as conn:
            if conn is not None:
                conn.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?)", rows)
                newest = "SELECT key FROM texts ORDER BY at DESC LIMIT ?"
                conn.execute(f"DELETE FROM texts WHERE key NOT IN ({newest})", (MAX_ROWS,))

    def facts(self, name: str) -> Any:
        """Return plain data that was stored under a name, or None."""
        with self._reading() as conn:
            if conn is not None:
                row = conn.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
                return None if row is None else json.loads(row[0])
        return None

    def set_facts(self, name: str, value: Any) -> None:
        """Store plain data under a name."""
        with self._writing() as conn:
            if conn is not None:
                conn.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file for reading; None when there is no sound file."""
        conn = None
        try:
            check_database(self._path)
            if self._path.exists():
                conn = _open(self._path)
        except (sqlite3.Error, StoreError) as error:
            self._damaged(error)
        try:
            yield conn
        except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
            self._damaged(error)
        finally:
            if conn is not None:
                conn.close()

    def _damaged(self, error: Exception) -> None:
        _log.info("phrases are encoded again (%s): %s", error, self._path)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file for writing; None when it cannot be written, or another process is writing."""
        fd, conn = None, None
        try:
            fd = take_lock(self._store.cache_lock, wait=False)
            if fd is not None:
                make_cache(self._store.folder)
                if not self._sound():
                    for end in ("", *SIDE_FILES):  # a journal must not lead back to what was there
                        remove_file(self._path.with_name(NAME + end))
                check_database(self._path, write=True)
                conn = open_sqlite(self._path, "mode=rwc", timeout=1, longest=MAX_VALUE, isolation_level="DEFERRED")
                for sql in TABLES.values() if not entries(conn) else ():
                    conn.execute(sql)
                _check_schema(conn)
        except (OSError, sqlite3.Error, StoreError) as error:  # a read-only folder, a full disk
            self._unkept(error)
            if conn is not None:
                conn.close()
            conn = None
        try:
            yield conn
            if conn is not None:
                conn.commit()
        except sqlite3.Error as error:
            self._unkept(error)
        finally:
            if conn is not None:
                conn.close()
            if fd is not None:
                os.close(fd)

    def _unkept(self, error: Exception) -> None:
        _log.info("phrases are not kept (%s): %s", error, self._path)

    def _sound(self) -> bool:
        with self._reading() as conn:
            return conn is not None or not self._path.exists()
