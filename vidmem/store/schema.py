"""The schemas that vidmem makes. That of a file is compared with them before a row of it is read.

A stranger's schema could run code of its own at any read: a view or a generated column can take all memory, or a day.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sqlite3

from ..address import printable
from ..errors import StoreError
from .validate import damaged

APPLICATION_ID = 0x76696D6D  # "vimm": tells a memory from any other SQLite file

SCHEMAS = (
    "5721fe267e033f14",
    "01781b2250ba5ead",
    "7a63ab729ac821d5",
    "54fe52e591b33bba",
    "9edea6d6f23d0c77",
    "e344341ec5e9eb91",
    "fbc4f606b11b89a9",
    "b615afdbcbd68558",
)
"""The `schema_digest` of a memory after each step of `migrations`."""
TABLES = frozenset(
    {
        "migrations",
        "meta",
        "model",
        "sources",
        "tracks",
        "regions",
        "marks",
        "trails",
        "pictures",
        "picture_files",
        "views",
        "cuts",
        "new_tokens",
        "standing",
        "told",
    }
)
"""Tables that the steps make."""
INDEXES = frozenset({"idx_sources_fingerprint", "idx_tracks_generation", "picture_files_t_ns"})
"""Indexes that the steps make."""
NUMBERS = "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, applied_at INTEGER)"
"""The table with the numbers of the steps, the same in all versions."""
_MOST = 256
"""Entries that are read of a schema."""

Entry = tuple[str, str, str, str]
"""Type, name, table and statement of one entry of a schema."""


def read(conn: sqlite3.Connection) -> tuple[int, tuple[Entry, ...]]:
    """Return the mark of the program that made a file, and what is in its schema; see `entries`."""
    return int(conn.execute("PRAGMA application_id").fetchone()[0]), entries(conn)


def entries(conn: sqlite3.Connection) -> tuple[Entry, ...]:
    """Return what is in the schema. Raises StoreError if it is far more than vidmem makes."""
    rows = conn.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchmany(_MOST + 1)
    if len(rows) > _MOST:
        raise damaged("it holds more tables than vidmem makes")
    return tuple((str(kind), str(name), str(table), str(sql)) for kind, name, table, sql in rows)


def schema_digest(conn: sqlite3.Connection) -> str:
    """Return a digest of everything that is in the schema: tables, columns, constraints, indexes.

    It does not depend on white space, nor on how names are quoted, which differs between versions of sqlite-utils.
    """
    return digest(entries(conn))


@functools.lru_cache(maxsize=8)
def digest(rows: tuple[Entry, ...]) -> str:
    """Return the digest of these entries; see `schema_digest`."""
    lines = []
    for *place, sql in rows:
        # Names are in small letters and keywords in capitals: a quoted keyword is a name, and stays quoted.
        text = re.sub(r'\[([a-z0-9_]+)\]|"([a-z0-9_]+)"|`([a-z0-9_]+)`', r"\1\2\3", sql)
        # Only what SQLite takes for white space: other spaces of Unicode are part of a name.
        text = re.sub(r"[ \t\n\f\r]+", " ", text).strip(" ")
        # A name with a line end cannot stand for two entries.
        lines.append(" ".join(place).replace("\n", "\\n") + " " + re.sub(r" ?([(),]) ?", r"\1", text))
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def check_known(application: int, rows: tuple[Entry, ...]) -> str:
    """Return the digest of the schema of a memory of any version. The arguments are those that `read` gives.

    Raises:
        StoreError: the schema is of no version, or the file is not a memory.
    """
    if application != APPLICATION_ID:
        raise StoreError("memory.sqlite was not made by vidmem; choose another folder")
    if (found := digest(rows)) not in SCHEMAS:
        raise unknown(rows)
    return found


def unknown(rows: tuple[Entry, ...]) -> StoreError:
    """Return what is wrong with a schema of no version."""
    for kind, name, _, sql in rows:
        own = name == "sqlite_sequence" or (kind == "index" and name.startswith("sqlite_autoindex_"))
        plain = sql.upper().split()[:2] == ["CREATE", "TABLE"]
        if not own and not (kind == "table" and name in TABLES and plain) and not (kind == "index" and name in INDEXES):
            return damaged(f"it holds a {printable(kind)[:20]} that vidmem did not make")
    return damaged("its tables are not those of any format")


def has_numbers(rows: tuple[Entry, ...]) -> bool:
    """Return True if the table with the numbers of the steps is the known one, which may be read in any schema."""
    about = tuple(row for row in rows if "migrations" in (row[1], row[2]))
    return len(about) == 1 and digest(about) == digest((("table", "migrations", "migrations", NUMBERS),))
