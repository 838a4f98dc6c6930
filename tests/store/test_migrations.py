from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import pytest

from vidmem.errors import StoreError, VersionError
from vidmem.store import Store, migrations, schema
from vidmem.store.database import connect
from vidmem.store.schema import APPLICATION_ID


def test_a_new_memory_has_all_steps(store: Store, folder: Path) -> None:
    store.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    rows = conn.execute("SELECT number, name FROM migrations").fetchall()
    conn.close()
    assert rows == [(i, step.__name__) for i, step in enumerate(migrations.MIGRATIONS, 1)]


def digest_with(folder: Path, sql: str) -> str:
    """The digest of the schema after one more statement, which is not kept."""
    conn = sqlite3.connect(folder / "memory.sqlite", isolation_level=None)
    conn.execute("BEGIN")
    conn.execute(sql)
    found = schema.schema_digest(conn)
    conn.execute("ROLLBACK")
    conn.close()
    return found


def older(folder: Path, steps: int) -> None:
    """A memory as an earlier version made it, with the first steps alone."""
    from sqlite_utils import Database

    folder.mkdir()
    conn = connect(folder, write=True)
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    conn.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, applied_at INTEGER)")
    for number, step in enumerate(migrations.MIGRATIONS[:steps], 1):
        step(Database(conn))
        conn.execute("INSERT INTO migrations VALUES (?, ?, 0)", (number, step.__name__))
    conn.close()


@pytest.mark.parametrize("steps", range(1, len(migrations.MIGRATIONS) + 1))
def test_the_schema_of_each_version_is_known(folder: Path, steps: int) -> None:
    older(folder, steps)
    conn = connect(folder, write=False)
    assert schema.schema_digest(conn) == schema.SCHEMAS[steps - 1]
    assert migrations.version(conn) == steps
    conn.close()
    with Store.open(folder) as store:
        assert store.sources() == []


@pytest.mark.parametrize("steps", [1, 3, len(migrations.MIGRATIONS)])
def test_an_older_memory_with_another_schema_fails(folder: Path, steps: int) -> None:
    older(folder, steps)
    conn = sqlite3.connect(folder / "memory.sqlite")
    conn.execute("ALTER TABLE sources ADD COLUMN more TEXT")
    conn.close()
    for write in (False, True):
        with pytest.raises(StoreError, match=r"its tables are not those of any format\)"):
            Store.open(folder, write=write)


def test_names_may_be_quoted_in_any_way(folder: Path) -> None:
    """As by other versions of sqlite-utils."""
    Store.open(folder, create=True).close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    conn.execute("PRAGMA writable_schema = ON")
    with conn:
        sql = "CREATE TABLE [meta] ([key] TEXT PRIMARY KEY,\n [value] TEXT NOT NULL )"
        conn.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'meta'", (sql,))
    conn.close()
    Store.open(folder).close()


def test_tracks_of_an_older_memory_get_checksums(folder: Path) -> None:
    older(folder, 5)
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute(
            "INSERT INTO sources (uri, kind, width, height, duration_ns, fingerprint, state, frames, damaged,"
            " tracker_state, added_at) VALUES ('/a.mp4', 'video', 1, 1, 1, 'f', 'done', 1, 0, x'', 0)"
        )
        conn.execute(
            "INSERT INTO tracks (source_id, ordinal, start_ns, end_ns, frames, best_ns, x0, y0, x1, y1, generation,"
            " visual, text) VALUES (1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, x'003c', x'0038')"
        )
    conn.close()
    Store.open(folder).close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    assert conn.execute("SELECT crc FROM tracks").fetchone() == (zlib.crc32(bytes.fromhex("003c0038")),)
    conn.close()


@pytest.mark.parametrize("more", ["SELECT 1", "CREATE TABLE later (x)"])
@pytest.mark.parametrize("write", [False, True])
def test_a_newer_memory_fails(store: Store, folder: Path, write: bool, more: str) -> None:
    store.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    conn.execute(more)
    with conn:
        conn.execute("INSERT INTO migrations VALUES (99, 'later', 0)")
    conn.close()
    with pytest.raises(VersionError, match=rf"newer vidmem \(format 99.*pip install -U vidmem: {folder}$"):
        Store.open(folder, write=write)


def test_a_reader_brings_an_older_memory_up_to_date(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def m002(db: object) -> None:
        db.conn.execute("CREATE TABLE later (x)")  # type: ignore[attr-defined]

    store.close()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m002))
    monkeypatch.setattr(schema, "TABLES", schema.TABLES | {"later"})
    monkeypatch.setattr(schema, "SCHEMAS", (*schema.SCHEMAS, digest_with(folder, "CREATE TABLE later (x)")))
    with Store.open(folder) as reader:
        assert not reader.writable
        assert reader.sources() == []
    conn = sqlite3.connect(folder / "memory.sqlite")
    assert conn.execute("SELECT max(number) FROM migrations").fetchone() == (len(migrations.MIGRATIONS),)
    conn.close()


def test_a_step_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def m002(db: object) -> None:
        db.conn.execute("CREATE TABLE later (x)")  # type: ignore[attr-defined]
        raise sqlite3.OperationalError("no")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m002))
        with pytest.raises(StoreError):
            Store.open(folder, create=True)
    with Store.open(folder) as reader:  # the first step stays
        assert reader.sources() == []


def test_a_foreign_database_fails(folder: Path) -> None:
    folder.mkdir()
    conn = sqlite3.connect(folder / "memory.sqlite")
    conn.execute("CREATE TABLE theirs (x)")
    conn.close()
    for write in (False, True):
        with pytest.raises(StoreError, match="not made by vidmem"):
            Store.open(folder, write=write)


def test_an_empty_file_is_no_memory_for_a_reader(folder: Path) -> None:
    folder.mkdir()
    (folder / "memory.sqlite").touch()
    with pytest.raises(StoreError, match="empty; index a video first"):
        Store.open(folder)
    Store.open(folder, write=True).close()
    Store.open(folder).close()
