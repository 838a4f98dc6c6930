from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vidmem.errors import StoreError
from vidmem.store import Store, VectorCache
from vidmem.store.database import store_errors

from .making import MODEL, add, frame, info, track


def test_opening_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"index a video first.*{tmp_path / 'no'}$"):
        Store.open(tmp_path / "no")
    with pytest.raises(StoreError, match="index a video first"):
        Store.open(tmp_path / "no", write=True)
    assert not (tmp_path / "no").exists()


def test_a_file_in_place_of_the_folder_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"a file in its place; choose another folder, .*: .*file$"):
        Store.open(tmp_path / "file", create=True)


def test_a_damaged_database_fails(store: Store, folder: Path) -> None:
    store.close()
    path = folder / "memory.sqlite"
    path.write_bytes(b"not a database" * 1000)
    for write in (False, True):
        with pytest.raises(StoreError, match=r"damaged .* backup or index again"):
            Store.open(folder, write=write)


def test_full_disk_loses_nothing(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(0)], [frame(0, [0])])
    assert store._conn is not None
    (pages,) = store._conn.execute("PRAGMA page_count").fetchone()
    store._conn.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StoreError, match=r"disk is full \(\d+ MB are free\); nothing checkpointed is lost.*run again"):
        add(store, row.id, [track(i) for i in range(500)], [frame(1, [0])], next_t_ns=999)
    assert store.source("walk.mp4").next_t_ns == 100
    assert len(store.source_tracks(row.id)) == 1
    store._conn.execute("PRAGMA max_page_count = 1000000")
    add(store, row.id, [track(i) for i in range(500)], [frame(1, [0])], next_t_ns=999)
    assert len(store.source_tracks(row.id)) == 500
    assert [f.t_ns for f in store.regions(row.id, 0, 10)] == [0, 1]


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "read-only"), (errno.EIO, "check the")],
)
def test_os_errors_name_the_remedy_and_the_path(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(StoreError, match=f"{message}.*: {tmp_path}$"), store_errors(tmp_path):
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to write everywhere."""
    if not hasattr(os, "seteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_can_be_read_but_not_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to nobody
        folder = Path(name) / "memory"
        with Store.open(folder, create=True) as store:
            store.set_model(MODEL)
            add(store, store.begin_source(info()).id, [track(i) for i in range(9)])
            VectorCache(store).range_search("text", track(3).text, 0.9)  # imports what nobody may not be able to
        (folder / "cache" / "vectors.bin").unlink()
        Path(name).chmod(0o755)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        with nobody():
            with pytest.raises(StoreError, match=r"read-only; .*: .*memory$"):
                Store.open(folder, write=True)
            with Store.open(folder) as store:
                assert len(store.sources()) == 1
                rows, _ = VectorCache(store).range_search("text", track(3).text, 0.9)
                assert rows.tolist() == [3]
        for path in (folder, folder / "cache"):
            path.chmod(0o755)
        assert not (folder / "cache" / "vectors.bin").exists()


def test_a_reader_cannot_write(store: Store, folder: Path) -> None:
    with Store.open(folder) as reader, pytest.raises(StoreError, match="opened for reading"):
        reader.begin_source(info())


def test_a_closed_store_fails(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.sources()


def test_repr_says_the_mode(store: Store) -> None:
    assert repr(store).endswith("write)")


def test_vectors_that_are_not_finite_fail(store: Store) -> None:
    row = store.begin_source(info())
    with pytest.raises(StoreError, match="NaN"):
        add(store, row.id, [track(0, visual=np.full(24, np.nan, np.float32))])
    assert store.source_tracks(row.id) == []


def test_a_reader_undoes_the_transaction_in_which_the_maker_was_killed(tmp_path: Path) -> None:
    """Before the log of a new memory is a WAL, SQLite has a journal, which only a writer may roll back."""
    made, killed = tmp_path / "made", tmp_path / "killed"
    Store.open(made, create=True).close()
    conn = sqlite3.connect(made / "memory.sqlite", isolation_level=None)
    conn.execute("PRAGMA journal_mode = DELETE")
    conn.execute("PRAGMA cache_size = 1")
    conn.execute("BEGIN IMMEDIATE")
    for number in range(200):  # more than the cache holds, so that pages reach the file
        conn.execute("INSERT INTO meta VALUES (?, ?)", (f"half {number}", "x" * 2000))
    shutil.copytree(made, killed)
    conn.close()
    assert (killed / "memory.sqlite-journal").stat().st_size
    with Store.open(killed) as store:
        assert store.sources() == []
        assert not store.writable
    conn = sqlite3.connect(killed / "memory.sqlite")
    assert conn.execute("SELECT count(*) FROM meta WHERE key LIKE 'half%'").fetchone() == (0,)
    conn.close()
