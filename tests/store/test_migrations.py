from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from vidmem.errors import StoreError, VersionError
from vidmem.store import Store, migrations


def test_a_new_memory_has_all_steps(store: Store, folder: Path) -> None:
    store.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    rows = conn.execute("SELECT number, name FROM migrations").fetchall()
    conn.close()
    assert rows == [(i, step.__name__) for i, step in enumerate(migrations.MIGRATIONS, 1)]


@pytest.mark.parametrize("write", [False, True])
def test_a_newer_memory_fails(store: Store, folder: Path, write: bool) -> None:
    store.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
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
    monkeypatch.setattr(migrations, "TABLES", migrations.TABLES | {"later"})
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
