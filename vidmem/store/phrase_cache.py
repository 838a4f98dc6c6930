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
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import StoreError
from ..records import Float32
from .files import check_database, make_cache, remove_file
from .lock import take_lock
from .store import Store

NAME = "texts.sqlite"
MAX_ROWS = 4096
"""Rows kept; older ones are deleted. At 512 numbers each they are 8 MB."""
_log = logging.getLogger(__name__)


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
                    found = None if row is None else np.frombuffer(row[1], "<f4").reshape(-1, row[0]).copy()
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
                conn = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
                conn.execute("PRAGMA trusted_schema = OFF")
                made = set(conn.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
                if made != {("table", "texts"), ("table", "facts")}:
                    raise sqlite3.DatabaseError("it holds tables that vidmem did not make")
                conn.execute("SELECT key, width, vectors, at FROM texts LIMIT 1").fetchone()
                conn.execute("SELECT name, value FROM facts LIMIT 1").fetchone()
        except (sqlite3.Error, StoreError) as error:
            self._damaged(error)
            if conn is not None:
                conn.close()
            conn = None
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
                    remove_file(self._path)
                check_database(self._path, write=True)
                conn = sqlite3.connect(self._path, timeout=1)
                texts = "texts (key BLOB PRIMARY KEY, width INTEGER, vectors BLOB, at INTEGER)"
                for table in (texts, "facts (name TEXT PRIMARY KEY, value TEXT)"):
                    conn.execute(f"CREATE TABLE IF NOT EXISTS {table}")
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
