"""The one place that opens a SQLite file of a memory, with limits: the file may come from a stranger.

Nothing heavy is imported here, because shell completion opens memories, too.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Literal

from ..limits import budget

MAX_SQL = 1 << 20
"""Longest statement, in bytes. SQLite parses the schema of a file as statements, so it bounds that, too."""
_LEAST = 16 << 20
_MOST = 1_000_000_000  # SQLite's own


def longest_value() -> int:
    """Bytes that one value may have: half the memory budget, because SQLite and Python hold it once each.

    At least 16 MB, which is more than what the indexer must write.
    """
    return min(max(budget() // 2, _LEAST), _MOST)


def open_sqlite(
    path: Path,
    mode: str,
    *,
    timeout: float,
    longest: int | None = None,
    isolation_level: Literal["DEFERRED"] | None = None,
    check_same_thread: bool = True,
) -> sqlite3.Connection:
    """Open a SQLite file. Check its schema before you read a row: see `schema`.

    Args:
        path: The file.
        mode: How SQLite opens it: "mode=ro", "mode=ro&immutable=1" or "mode=rwc". All but the last only read.
        timeout: Seconds to wait for another process.
        longest: Bytes of the largest value that is read, made or written; `longest_value` by default.
        isolation_level: As for `sqlite3.connect`; None for autocommit.
        check_same_thread: As for `sqlite3.connect`.

    Raises:
        sqlite3.Error: It cannot be opened or is not a database.
        UsageError: The memory budget is malformed.
    """
    longest = longest_value() if longest is None else longest
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=timeout,
        isolation_level=isolation_level,
        check_same_thread=check_same_thread,
    )
    try:
        conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        conn.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL)
        conn.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 1)  # VACUUM needs one
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.execute("PRAGMA cell_size_check = ON")  # finds some damage before it is read as data
        conn.execute("PRAGMA mmap_size = 0")  # a file that shrinks cannot end the process
        if mode != "mode=rwc":
            conn.execute("PRAGMA query_only = ON")
        if sys.version_info >= (3, 12):
            conn.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # no statement can damage the file
    except BaseException:
        conn.close()
        raise
    return conn
