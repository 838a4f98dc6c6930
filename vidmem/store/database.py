"""The SQLite connection of a memory: how it is opened, what a transaction is, and what its errors mean."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from ..limits import VARIABLE
from .files import DATABASE_NAME, SIDE_FILES, check_database, file_size, sealed
from .fp16 import vectors_crc
from .sqlite_file import longest_value, open_sqlite

BUSY_SECONDS = 5.0


def connect(folder: Path, *, write: bool) -> sqlite3.Connection:
    """Connect to the memory in `folder`, in autocommit mode.

    A writer makes the file when it does not exist. A reader that may not create SQLite's side files (in a read-only
    folder) reads the file as it stands, and so does the reader of a sealed memory.

    Raises:
        sqlite3.Error: the file cannot be opened or is not a database.
        StoreError: a file of the database is a link or a device, or leads out of the memory.
    """
    path = folder / DATABASE_NAME
    check_database(path, write=write)
    if not write and sealed(folder):
        return _probed(_open(path, "mode=ro&immutable=1"))
    if write:
        conn = _open(path, "mode=rwc")
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = FULL")  # what is checkpointed survives a power cut
            conn.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
            conn.execute("PRAGMA foreign_keys = ON")
            conn.create_function("vectors_crc", 2, vectors_crc, deterministic=True)
        except BaseException:
            conn.close()
            raise
        return conn
    try:
        return _probed(_open(path, "mode=ro"))
    except sqlite3.OperationalError as error:
        # WAL needs its side files. Where they can neither be found nor made, nobody can be writing either,
        # unless a log was left behind by a crash: it holds checkpoints that reading "immutable" would miss.
        left = any(file_size(path.with_name(path.name + end)) for end in SIDE_FILES if end != "-shm")
        barred = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not barred or not path.exists() or left:
            raise
        return _probed(_open(path, "mode=ro&immutable=1"))


def _open(path: Path, options: str) -> sqlite3.Connection:
    # The Store serialises its calls, so that a writer thread and a reader thread may share one connection.
    return open_sqlite(path, options, timeout=BUSY_SECONDS, check_same_thread=False)


def _probed(conn: sqlite3.Connection) -> sqlite3.Connection:
    try:
        conn.execute("SELECT count(*) FROM sqlite_master")
    except BaseException:
        conn.close()
        raise
    return conn


@contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Commit all of the block or none of it, however it ends."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:  # SQLite rolls back by itself on some errors
            conn.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(conn: sqlite3.Connection) -> Iterator[None]:
    """Let every read in the block see the same state, whatever a writer does meanwhile. In a transaction: its state."""
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")


@contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a StoreError with a remedy; every message ends with the path."""
    try:
        yield
    except StoreError as error:
        if str(error).endswith(str(folder)):
            raise
        raise type(error)(f"{error}: {folder}") from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{explain(error, folder)}: {folder}") from error
    except UnicodeDecodeError as error:  # SQLite's own message repeats what stands in a damaged schema
        raise StoreError(
            f"the memory is damaged (its schema is not UTF-8 text); restore it from a backup: {folder}"
        ) from error


def explain(error: sqlite3.Error | OSError, folder: Path) -> str:
    """Return cause and remedy of `error`, in one line without the path."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _full(folder)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return "the folder of the memory is read-only; change its permissions or choose another folder"
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            remedy = "choose another folder, or fleet:FILE for a catalogue"
            return f"a memory is a folder and there is a file in its place; {remedy}"
        return f"the memory cannot be accessed ({error.strerror or error}); check the disk or choose another folder"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code == sqlite3.SQLITE_FULL:
        return _full(folder)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return "the memory is read-only; change its permissions or choose another folder"
    if code == sqlite3.SQLITE_CANTOPEN:
        return "the memory cannot be opened; check that the folder exists and may be read and written"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"the memory is damaged ({error}); restore {DATABASE_NAME} from a backup or index again"
    if code == sqlite3.SQLITE_TOOBIG:
        return (
            f"a value in the memory takes more than {longest_value() >> 20:,} MB, half of the memory limit; "
            f"set {VARIABLE} to allow more, or do not use the memory"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another process keeps the memory busy; run again when it is done"
    return f"the memory cannot be accessed ({error}); check the disk, then run again"


def _full(folder: Path) -> str:
    try:
        free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free"
    except OSError:
        free = "free space unknown"
    return f"the disk is full ({free}); nothing checkpointed is lost, make room and run again"
