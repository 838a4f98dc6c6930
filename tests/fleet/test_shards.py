"""The bounded cache of shards on this machine."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from needs import needs
from vidmem.errors import StoreError, UsageError
from vidmem.fleet import shards as module
from vidmem.fleet import storage
from vidmem.fleet.catalogue import Catalogue
from vidmem.fleet.checking import verify
from vidmem.fleet.rows import ShardRow
from vidmem.fleet.shards import Shards
from vidmem.store import Store, VectorCache

from .conftest import new_bucket
from .making import contents, shard

needs("sqlalchemy")


@pytest.fixture(scope="module")
def rows(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> list[ShardRow]:
    """Five shards in an object store, in a catalogue."""
    folder, bucket = tmp_path_factory.mktemp("shards"), new_bucket()
    with Catalogue.open(folder / "c", create=True) as opened:
        for i in range(5):
            made = shard(folder / f"m{i}", i)
            opened.add(made, storage.upload(folder / f"m{i}", bucket))
        return opened.shards()


def size(rows: list[ShardRow]) -> int:
    """Bytes of the largest shard in the cache, its manifest included."""
    return max(row.bytes for row in rows) + 8000


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_a_shard_is_copied_once(rows: list[ShardRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Shards(None, tmp_path / "cache")
    with cache.local(rows[0]) as folder:
        assert not verify(folder, expected=rows[0].sha256)
        with Store.open(folder) as store:
            assert len(VectorCache(store)) == rows[0].n_tracks
    before = contents(folder)
    monkeypatch.setattr(storage, "download", None)
    for again in (cache, Shards(None, tmp_path / "cache")):
        with again.local(rows[0]) as same:
            assert same == folder
    assert contents(folder) == before
    assert kept(tmp_path / "cache") == {rows[0].sha256}


def test_what_was_used_longest_ago_goes(rows: list[ShardRow], tmp_path: Path) -> None:
    cache = Shards(None, tmp_path / "cache", 3 * size(rows))
    for row in [*rows[:3], rows[0], rows[3]]:
        with cache.local(row):
            pass
        time.sleep(0.01)
    assert kept(tmp_path / "cache") == {rows[i].sha256 for i in (0, 2, 3)}


def test_what_is_in_use_stays(rows: list[ShardRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    cache = Shards(None, tmp_path / "cache", 2 * size(rows))
    with cache.local(rows[0]) as first:
        for row in rows[1:4]:
            with cache.local(row):
                assert not verify(first, quick=True)
        with cache.local(rows[4]), pytest.raises(StoreError, match=r"in use.*VIDMEM_SHARDS_MB"), cache.local(rows[1]):
            pass
        assert not verify(first)
    with cache.local(rows[1]):
        pass


def test_a_shard_larger_than_the_cache(rows: list[ShardRow], tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="more than the 10 of the cache"),
        Shards(None, tmp_path / "x", 10).local(rows[0]),
    ):
        pass
    assert not kept(tmp_path / "x")


def test_a_catalogue_that_says_too_few_bytes(rows: list[ShardRow], tmp_path: Path) -> None:
    lying = replace(rows[0], bytes=10)
    with pytest.raises(StoreError, match="more bytes than the catalogue says"), Shards(None, tmp_path).local(lying):
        pass
    assert not kept(tmp_path)


def test_the_environment_sets_folder_and_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDMEM_SHARDS", str(tmp_path / "there"))
    assert Shards(None).folder == tmp_path / "there"
    assert Shards(None).most_bytes == 20 << 30
    monkeypatch.setenv("VIDMEM_SHARDS_MB", "3")
    assert Shards(None).most_bytes == 3 << 20
    assert Shards(None, tmp_path, 5).most_bytes == 5
    for wrong in ("0", "-1", "much", "1.5", "9" * 20):
        monkeypatch.setenv("VIDMEM_SHARDS_MB", wrong)
        with pytest.raises(UsageError, match="VIDMEM_SHARDS_MB is a number of MB"):
            Shards(None)


def test_a_damaged_copy_is_made_again(rows: list[ShardRow], tmp_path: Path) -> None:
    cache = Shards(None, tmp_path / "cache")
    with cache.local(rows[0]) as folder:
        pass
    for damage in (
        lambda: (folder / "memory.sqlite").unlink(),
        lambda: (folder / "seal.json").write_bytes(b"x"),
        lambda: (folder / "cache" / "vectors.bin").write_bytes(b"x"),
        lambda: shutil.rmtree(folder / "cache"),
    ):
        damage()
        with cache.local(rows[0]):
            assert not verify(folder)


def test_what_a_killed_process_left_is_removed(rows: list[ShardRow], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for name in (f"{rows[0].sha256}.part-999999999", f"{rows[1].sha256}.part-5/x", str(rows[2].sha256)):
        (folder / name).mkdir(parents=True)
    (folder / f"{rows[0].sha256}.part-999999999" / "memory.sqlite").write_bytes(b"x" * 100)
    cache = Shards(None, folder, 2 * size(rows))
    with cache.local(rows[0]), cache.local(rows[2]):
        assert kept(folder) == {rows[0].sha256, rows[2].sha256}


def test_a_download_that_fails_leaves_nothing(
    rows: list[ShardRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage._write
    calls: list[str] = []

    def fails(*args: Any) -> None:
        calls.append("x")
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*args)

    monkeypatch.setattr(storage, "_write", fails)
    cache = Shards(None, tmp_path / "cache")
    with pytest.raises(StoreError, match="No space left"), cache.local(rows[0]):
        pass
    assert not kept(tmp_path / "cache")
    with cache.local(rows[0]) as folder:
        assert not verify(folder)


def test_threads_share_a_small_cache(rows: list[ShardRow], tmp_path: Path) -> None:
    """Eight threads, two caches, room for three of five shards: every folder is whole while it is used."""
    folder = tmp_path / "cache"
    caches = [Shards(None, folder, 3 * size(rows)), Shards(None, folder, 3 * size(rows))]
    wrong: list[object] = []
    largest: list[int] = []

    def use(i: int) -> None:
        for j in range(8):
            row = rows[(i * 7 + j * 3) % 5]
            try:
                with caches[i % 2].local(row) as at:
                    wrong.extend(verify(at, quick=True, expected=row.sha256))
                    with Store.open(at) as store:
                        wrong.extend([] if store.extent()[1] == row.n_tracks else [row])
                    largest.append(
                        sum(module._folder_bytes(folder / name) for name in os.listdir(folder) if "." not in name)
                    )
            except FileNotFoundError:
                pass  # of the sum, while another deletes
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert max(largest) <= 3 * size(rows)


def test_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    with Catalogue.open(tmp_path / "c", create=True) as opened:
        row = opened.add(made, str(tmp_path / "m"))
    cache = Shards(None, tmp_path / "cache")
    with cache.local(row) as folder:
        assert folder == tmp_path / "m"
    assert not (tmp_path / "cache").exists()
    with open(folder / "memory.sqlite", "ab") as file:
        file.write(b"x")
    with pytest.raises(StoreError, match=r"changed after sealing \(memory\.sqlite"), cache.local(row):
        pass
    shutil.rmtree(folder)
    shard(tmp_path / "m", 2)
    with pytest.raises(StoreError, match="another shard"), cache.local(row):
        pass
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="no such folder"), cache.local(row):
        pass


def test_a_task_has_no_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="not made yet"),
        Shards(None, tmp_path).local(ShardRow(1, None, "k", "leased")),
    ):
        pass


def test_an_object_store_that_is_down_is_named(rows: list[ShardRow], tmp_path: Path) -> None:
    lost = ShardRow(9, "0" * 64, "k", "ready", uri="s3://there-is-none/k")
    cache = Shards(None, tmp_path / "cache")
    with ExitStack() as stack, pytest.raises(StoreError, match="s3://there-is-none/k"):
        stack.enter_context(cache.local(lost))
    assert not kept(tmp_path / "cache")
