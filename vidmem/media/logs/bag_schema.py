"""What may stand in the database of a rosbag2: tables of data, and nothing that computes.

A view, a virtual table or a generated column is a program that runs when it is read: a few bytes of it make gigabytes,
or never end.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...errors import MediaError
from ...limits import budget

_MAGIC = b"SQLite format 3\0"
_COMPUTED = {2, 3}
"""`hidden` of generated columns in PRAGMA table_xinfo."""
_EXPRESSION = -2
"""`cid` of an expression in PRAGMA index_xinfo."""
_MAX_ENTRIES = 1_000
_MAX_LENGTH = 1_000_000_000
"""What SQLite is built with."""


def is_sqlite(head: bytes) -> bool:
    """Return True if a file that begins with these 16 bytes or more is an SQLite database."""
    return head[:16] == _MAGIC


def check_schema(path: Path, shown: Path) -> None:
    """Check the schema of a database without reading a row of it. shown: the file, for errors.

    Raises:
        MediaError: it has views, triggers, virtual tables, generated columns or indexes of expressions, its name
            cannot be passed on to SQLite, or it is damaged.
    """
    if set(str(path)) & set("?#%"):  # the library passes the name in a URI, where these mean something else
        raise MediaError(f"the path of a bag may not have ?, # or %; rename it: {shown}")
    try:
        conn = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            conn.execute("PRAGMA trusted_schema = OFF")
            conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(budget(), _MAX_LENGTH))
            cause = _odd(conn)
        finally:
            conn.close()
    except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MediaError(
            f"the database of the bag cannot be read ({first}); repair it with `ros2 bag reindex`: {shown}"
        ) from None
    if cause is not None:
        raise MediaError(f"the database of the bag has {cause}, which no recorder writes; record it again: {shown}")


def _odd(conn: sqlite3.Connection) -> str | None:
    """What is in the database besides tables and their indexes; None if there is nothing."""
    names: list[str] = []
    for kind, name, sql in conn.execute("SELECT type, name, sql FROM sqlite_master"):
        begins = str(sql or "").split(None, 2)[:2]
        made = {"table": [["CREATE", "TABLE"]], "index": [["CREATE", "INDEX"], ["CREATE", "UNIQUE"], []]}.get(kind)
        if made is None or [word.upper() for word in begins] not in made:
            return f"a {kind}" if kind in ("view", "trigger") else "a virtual table"
        names.append(str(name))
        if len(names) > _MAX_ENTRIES:
            return f"more than {_MAX_ENTRIES:,} tables"
    for row in conn.execute("PRAGMA table_list"):  # what SQLite made of the texts above; SQLite 3.37
        if row[0] == "main" and row[2] != "table":
            return f"a {row[2]} table" if row[2] != "view" else "a view"
    for name in names:
        if any(row[6] in _COMPUTED for row in conn.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))):
            return "a generated column"
        if any(row[1] == _EXPRESSION for row in conn.execute("SELECT * FROM pragma_index_xinfo(?)", (name,))):
            return "an index of an expression"
    return None
