"""The tables of a catalogue, the same in SQLite and PostgreSQL, and how a catalogue is reached."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..address import shown, without_secrets
from ..errors import StoreError, UsageError, VidmemError
from ..store.files import DATABASE_NAME, check_database
from .address import PREFIX

FORMAT = 1
BUSY_SECONDS = 30.0
_ADVISORY = 0x7669646D656D
"""The lock of PostgreSQL under which tables are made."""

metadata = sa.MetaData()

FLEET = sa.Table(
    "fleet",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(64), nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("encoder", sa.Text),
    sa.Column("weights", sa.Text),
    sa.Column("regions", sa.Text),
    sa.Column("visual_dim", sa.Integer),
    sa.Column("text_dim", sa.Integer),
    sa.Column("config", sa.Text),
)
SHARDS = sa.Table(
    "shards",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String(64), unique=True),
    sa.Column("key", sa.String(200), nullable=False, unique=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("encoder", sa.Text, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("n_tracks", sa.BigInteger, nullable=False),
    sa.Column("t_min", sa.BigInteger),
    sa.Column("t_max", sa.BigInteger),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("lease_owner", sa.Text, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("clock_offset_ns", sa.BigInteger, nullable=False),
    sa.Column("clock_error_ns", sa.BigInteger, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Index("shards_state", "state", "t_min"),
    sqlite_autoincrement=True,  # a number is never given to another shard
)
SOURCES = sa.Table(
    "sources",
    metadata,
    sa.Column("shard", sa.Integer, sa.ForeignKey("shards.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("local", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("t_min", sa.BigInteger),
    sa.Column("t_max", sa.BigInteger),
    sa.Column("json", sa.Text, nullable=False),
    sa.Index("sources_fingerprint", "fingerprint"),
)
_OWN = {*metadata.tables, "shards_state", "sources_fingerprint", "sqlite_sequence"}
READING = {"reading": True}
"""Execution options of a transaction that only reads."""


def sqlite_path(url: str) -> Path | None:
    """Return the file of a catalogue in SQLite, which a path or a sqlite:/// address names; None for another address.

    Raises:
        UsageError: The address is empty, or SQLite's without a file, or begins with fleet:.
    """
    if url.startswith(PREFIX) and not os.path.exists(url):
        raise UsageError(f"the name of a catalogue has no `{PREFIX}` here; leave that out")
    if "://" not in url or os.path.exists(url):
        if not url or "\0" in url:
            raise UsageError("the name of a catalogue is empty; give a file or postgresql://HOST/NAME")
        return Path(os.path.abspath(url))
    head, _, rest = url.partition("://")
    if head != "sqlite":
        return None
    if not rest.startswith("/") or len(rest) < 2 or "?" in rest:
        raise UsageError("give a catalogue in SQLite as a path")
    return Path(os.path.abspath(rest[1:]))


def shown_url(url: str) -> str:
    """The address of a catalogue for messages, without a user or a password."""
    path = sqlite_path(url)
    return shown(str(path)) if path is not None else shown(without_secrets(url, whole=True))


def engine(url: str, *, create: bool = False) -> sa.Engine:
    """Return the engine of a catalogue; connections are made when they are used.

    Raises:
        UsageError: The address is malformed, or of a database that is neither SQLite nor PostgreSQL.
        StoreError: There is no such file, or it is a link, a pipe or a device.
    """
    path = sqlite_path(url)
    if path is not None:
        return _sqlite(path, create)
    try:
        made = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError("the address of the catalogue cannot be read; it is like postgresql://HOST/NAME") from None
    if made.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        made = made.set(drivername="postgresql+psycopg")
        return sa.create_engine(made, pool_pre_ping=True, hide_parameters=True, connect_args={"connect_timeout": 10})
    raise UsageError(f"a catalogue is a file, or lies under postgresql://; not under {shown(made.drivername)[:20]}://")


def _sqlite(path: Path, create: bool) -> sa.Engine:
    if path.is_dir():
        if (path / DATABASE_NAME).exists():
            raise StoreError(f"this is a memory and no catalogue; name the catalogue, or ask the memory alone: {path}")
        raise StoreError(f"a catalogue is a file and there is a folder in its place; name the file: {path}")
    check_database(path)
    if not create and not path.exists():
        raise StoreError(f"there is no catalogue here; `vidmem fleet add` makes one: {path}")
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder of the catalogue cannot be made ({error.strerror}): {path}") from None
    fixed = path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    mode = "mode=ro&immutable=1" if fixed else "mode=rwc" if create else "mode=rw"

    def connect() -> sqlite3.Connection:
        conn = sqlite3.connect(
            f"{path.as_uri()}?{mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.execute("PRAGMA foreign_keys = ON")
        if not fixed:
            conn.execute("PRAGMA synchronous = FULL")
        return conn

    made = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.QueuePool, hide_parameters=True)
    sa.event.listen(made, "begin", _begin)
    return made


def _begin(conn: sa.Connection) -> None:
    # A transaction that will write takes its lock at once: one that reads first may find that it cannot write.
    conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def now(conn: sa.Connection) -> Any:
    """The time of the catalogue in ns since the epoch, as SQL: the server's, or that of this machine for a file.

    The clocks of workers do not matter with a server. A file is for workers on one machine, which has one clock.
    """
    if conn.dialect.name == "postgresql":
        return sa.literal_column("(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint")
    return sa.literal(time.time_ns(), sa.BigInteger)


def ready_sources() -> sa.Select[Any]:
    """The shard and the JSON of all sources of ready shards, by shard and by their id in it."""
    return (
        sa.select(SOURCES.c.shard, SOURCES.c.json)
        .select_from(SOURCES.join(SHARDS, SHARDS.c.number == SOURCES.c.shard))
        .where(SHARDS.c.state == "ready")
        .order_by(SOURCES.c.shard, SOURCES.c.local)
    )


def insert_new(conn: sa.Connection, values: Mapping[str, Any]) -> Any:
    """A statement that enters a row of SHARDS, unless there is one with its key."""
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    return dialect.insert(SHARDS).values(**values).on_conflict_do_nothing(index_elements=["key"])


def make(conn: sa.Connection, fleet_id: str) -> None:
    """Make the tables, if they are not there, and the row of the fleet."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY)))
    metadata.create_all(conn)
    if conn.execute(sa.select(FLEET.c.one)).first() is None:
        conn.execute(sa.insert(FLEET).values(one=1, id=fleet_id, format=FORMAT, generation=0))


def check(conn: sa.Connection) -> int | None:
    """Return the format of the catalogue; None if the database is empty.

    Raises:
        StoreError: It holds other things than a catalogue.
    """
    if conn.dialect.name == "sqlite":
        rows = conn.exec_driver_sql("SELECT type, name, tbl_name FROM sqlite_master LIMIT 100").all()
        known = all(kind in ("table", "index") and table in _OWN for kind, _, table in rows)
        known = known and all(map(partial(_plain, conn), metadata.tables.values()))
        if not rows:
            return None
        if not known and not any(name == "fleet" for _, name, _ in rows):
            raise StoreError("this is a file of SQLite, but no catalogue; choose another name")
    elif not sa.inspect(conn).has_table("fleet"):
        return None
    else:
        known = True
    try:
        found = conn.execute(sa.text("SELECT format FROM fleet")).scalar()
    except sa.exc.DBAPIError:
        raise StoreError("this is a database, but no catalogue; choose another name") from None
    if type(found) is not int or found < 1 or (found <= FORMAT and not known):
        raise StoreError("the catalogue is damaged; restore it from a backup")
    return found


def _plain(conn: sa.Connection, table: sa.Table) -> bool:
    """Return True if a table of SQLite has the columns of `table`, and none that computes."""
    found = conn.exec_driver_sql(f"PRAGMA table_xinfo({table.name})").all()
    return [(row[1], row[6]) for row in found] == [(column.name, 0) for column in table.columns]


@contextmanager
def catalogue_errors(where: str) -> Iterator[None]:
    """Turn what SQLAlchemy and its drivers raise into a StoreError without credentials; the path is last."""
    try:
        yield
    except VidmemError as error:
        if str(error).endswith(where):
            raise
        raise type(error)(f"{error}: {where}") from None
    except sa.exc.TimeoutError:
        raise StoreError(f"the catalogue is asked by too many at once; run again: {where}") from None
    except sa.exc.DBAPIError as error:
        raise StoreError(f"{_cause(error)}: {where}") from None
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(f"the catalogue cannot be used ({type(error).__name__}): {where}") from None


def _cause(error: sa.exc.DBAPIError) -> str:
    original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    first = shown(str(original).strip().partition("\n")[0])[:200]
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "other processes keep the catalogue busy; run again"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "the catalogue is damaged, or is no catalogue; restore it from a backup"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return "the catalogue cannot be written; change the permissions of its file and its folder"
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return "the disk of the catalogue is full; make room and run again"
    return f"the catalogue cannot be used ({first}); check that its server runs and lets you in"
