"""kill -9 at every step of sealing, of undoing that, of sending a shard and of fetching it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from needs import needs
from vidmem.fleet import storage
from vidmem.fleet.checking import verify
from vidmem.fleet.rows import ShardRow
from vidmem.fleet.sealing import seal, unseal
from vidmem.fleet.shards import Shards
from vidmem.store import Store, VectorCache
from vidmem.store.files import sealed

from .killing import killed_at, steps
from .making import contents, copied, memory, names, shard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are forked"),
]
needs("fsspec")
FILES = ["bounds.safetensors", "cache", "cache/vectors.bin", "memory.sqlite", "seal.json"]


def do_seal(folder: Path) -> None:
    seal(folder)


def do_unseal(folder: Path) -> None:
    unseal(folder)


def do_upload(folder: Path, uri: str) -> None:
    storage.upload(folder, uri)


def do_download(row: ShardRow, folder: Path) -> None:
    with Shards(None, folder).local(row):
        pass


def test_sealing(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    wanted = seal(copied(tmp_path / "m", tmp_path / "whole"))
    states = []

    def prepare(step: int) -> tuple[Path]:
        return (copied(tmp_path / "m", tmp_path / f"{step}"),)

    def check(step: int) -> None:
        folder = tmp_path / f"{step}"
        states.append(sealed(folder))
        if sealed(folder):  # all of it is there
            assert not verify(folder)
            assert seal(folder) == wanted
            return
        with Store.open(folder) as store:
            assert store.extent()[1] == wanted.tracks
        if step % 2:  # it can be written to
            with Store.open(folder, write=True) as store:
                store.set_recorded(1, None, "given")
            assert not set(names(folder)) & {"bounds.safetensors", "seal.part.json"}
        else:
            assert seal(folder).tracks == wanted.tracks
            assert names(folder) == FILES
            assert not verify(folder)

    for step in steps(do_seal, *prepare(0), most=14):
        assert killed_at(step, do_seal, *prepare(step))
        check(step)
    assert {True, False} == set(states)


def test_undoing(tmp_path: Path) -> None:
    wanted = shard(tmp_path / "m")

    def prepare(step: int) -> tuple[Path]:
        return (copied(tmp_path / "m", tmp_path / f"{step}"),)

    def check(step: int) -> None:
        folder = tmp_path / f"{step}"
        if sealed(folder):
            assert not verify(folder)
        else:
            with Store.open(folder) as store:
                assert len(VectorCache(store)) == wanted.tracks
        assert seal(folder) == wanted

    for step in steps(do_unseal, *prepare(0), most=9):
        assert killed_at(step, do_unseal, *prepare(step))
        check(step)


def test_sending_to_a_folder(tmp_path: Path) -> None:
    wanted = shard(tmp_path / "m")

    for step in steps(do_upload, tmp_path / "m", str(tmp_path / "0"), most=9):
        assert killed_at(step, do_upload, tmp_path / "m", str(tmp_path / f"{step}"))
        target = tmp_path / f"{step}" / wanted.id
        assert not target.exists() or not verify(target)
        assert not verify(Path(storage.upload(tmp_path / "m", tmp_path / f"{step}")))


def test_sending_to_an_object_store(tmp_path: Path, bucket: str) -> None:
    wanted = shard(tmp_path / "m")
    finished = 0
    chosen = steps(do_upload, tmp_path / "m", f"{bucket}/0", most=8)
    for step in chosen:
        killed_at(step, do_upload, tmp_path / "m", f"{bucket}/{step}")
        uri = f"{bucket}/{step}/{wanted.id}"
        finished += storage.exists(uri)
        assert not storage.exists(uri) or not storage.verify_remote(uri)
        assert not storage.verify_remote(storage.upload(tmp_path / "m", f"{bucket}/{step}"))
    assert finished < len(chosen)


def test_fetching(tmp_path: Path, bucket: str) -> None:
    made = shard(tmp_path / "m")
    row = ShardRow(1, made.id, "k", "ready", uri=storage.upload(tmp_path / "m", bucket), bytes=made.total_bytes)
    cache = tmp_path / "cache"
    killed = 0
    for step in steps(do_download, row, tmp_path / "first", most=9):
        killed += killed_at(step, do_download, row, cache)
        if (cache / made.id).exists():
            assert not verify(cache / made.id)
            (cache / made.id / "seal.json").unlink()
    assert killed > 4
    with Shards(None, cache, made.total_bytes + 1).local(row) as folder:
        assert not verify(folder)
    assert contents(folder)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [made.id]
