"""Sealing a memory, undoing that, and what a sealed memory refuses."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store.making import DV, MODEL, add, track

from vidmem.errors import LockedError, StoreError, VersionError
from vidmem.fleet import manifest
from vidmem.fleet.bounds import Bounds
from vidmem.fleet.checking import check_shard, verify
from vidmem.fleet.sealing import seal, unseal
from vidmem.records import SourceInfo, SourceKind
from vidmem.store import NewTokens, Picture, PictureFile, Store, VectorCache
from vidmem.store.files import seal_id
from vidmem.store.phrase_cache import PhraseCache
from vidmem.store.verify import verify as verify_memory

from .making import START, contents, copied, forged, memory, names, shard

FILES = ["bounds.safetensors", "cache", "cache/vectors.bin", "memory.sqlite", "seal.json"]


def test_a_sealed_memory_has_these_files(tmp_path: Path) -> None:
    made = seal(memory(tmp_path / "m"))
    assert names(tmp_path / "m") == FILES
    assert {*made.files, "seal.json", "cache"} == set(FILES)
    assert manifest.load(tmp_path / "m") == made
    assert seal_id(tmp_path / "m") == made.id
    assert (tmp_path / "m" / "memory.sqlite").read_bytes()[18:20] == b"\x01\x01"
    assert not verify(tmp_path / "m")
    assert check_shard(tmp_path / "m", made.id) == made


def test_the_manifest_says_what_is_in_it(tmp_path: Path) -> None:
    made = shard(tmp_path / "m", 3, sources=2, n=5)
    with Store.open(tmp_path / "m") as store:
        assert made.model == store.model()
        assert made.generation == store.extent()[0]
        assert made.memory == store.memory_id()
        assert [source.row for source in made.sources] == store.sources()
    assert [source.tracks for source in made.sources] == [5, 5]
    assert made.tracks == 10
    first = [source.row.start_ns for source in made.sources]
    assert (made.t_min, made.t_max) == (first[0], (first[1] or 0) + 60_000_000_000)
    assert Bounds.load(tmp_path / "m" / "bounds.safetensors").tracks == 10


def test_a_copy_sealed_elsewhere_has_the_same_id(tmp_path: Path) -> None:
    copied(memory(tmp_path / "m"), tmp_path / "c")
    assert seal(tmp_path / "m") == seal(tmp_path / "c")


def test_sealing_twice_changes_nothing(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    before = contents(tmp_path / "m")
    assert seal(tmp_path / "m") == made
    assert contents(tmp_path / "m") == before


def test_undone_and_sealed_again_it_has_the_same_id(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    for _ in range(3):
        unseal(tmp_path / "m")
        assert names(tmp_path / "m") == ["cache", "cache/vectors.bin", "memory.sqlite"]
        with Store.open(tmp_path / "m") as store:
            assert len(VectorCache(store)) == made.tracks
        assert seal(tmp_path / "m") == made


def test_a_change_gives_another_id(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    unseal(tmp_path / "m")
    with Store.open(tmp_path / "m", write=True) as store:
        add(store, 1, [track(99)], state="done")
    again = seal(tmp_path / "m")
    assert again.id != made.id
    assert again.tracks == made.tracks + 1
    assert not verify(tmp_path / "m")


def test_a_sealed_memory_answers_and_is_never_written(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    before = contents(tmp_path / "m")
    query = np.ones(DV, np.float32)
    for _ in range(2):
        with Store.open(tmp_path / "m") as store:
            assert store.sealed
            assert not store.writable
            cache = VectorCache(store)
            rows, _ = cache.range_search("visual", query, -1.0)
            assert len(rows) == made.tracks
            phrases = PhraseCache(store)
            phrases.put([(b"k" * 16, query[None])])
            phrases.set_facts("a", 1)
            assert phrases.get([b"k" * 16]) == [None]
            with store.snapshot():
                assert len(store.source_tracks(1)) == made.tracks
            assert all(finding.sound for finding in verify_memory(tmp_path / "m"))
    assert contents(tmp_path / "m") == before
    assert names(tmp_path / "m") == FILES


def test_a_lost_cache_is_not_written_again(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    (tmp_path / "m" / "cache" / "vectors.bin").unlink()
    with Store.open(tmp_path / "m") as store:
        assert len(VectorCache(store)) == made.tracks
    assert names(tmp_path / "m") == [name for name in FILES if name != "cache/vectors.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are POSIX")
def test_a_read_only_folder(tmp_path: Path) -> None:
    """Without any right to write, as on a read-only file system; root is not bound by rights, so another user asks."""
    shard(tmp_path / "m")
    for path in [tmp_path / "m", *(tmp_path / "m").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = (
        "import mmap, os, sys; from vidmem.store import Store, VectorCache;"
        "os.getuid() or (os.setgid(65534), os.setuid(65534));"
        "assert not os.access(sys.argv[1], os.W_OK);"
        "s = Store.open(sys.argv[1]); print(s.sealed, len(VectorCache(s)))"
    )
    for parent in tmp_path.parents:
        if os.stat(parent).st_uid == os.getuid() and len(parent.parts) > 2:
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "12"], done.stderr
    for path in [tmp_path / "m", tmp_path / "m" / "cache"]:
        path.chmod(0o755)


def test_writing_is_refused_with_a_remedy(tmp_path: Path) -> None:
    shard(tmp_path / "m")
    for options in ({"write": True}, {"create": True}):
        with pytest.raises(StoreError, match=r"is sealed.*vidmem seal --undo") as caught:
            Store.open(tmp_path / "m", **options)
        assert str(caught.value).endswith(str(tmp_path / "m"))
    with Store.open(tmp_path / "m") as store:
        for act in (
            lambda: store.check_writable(),
            lambda: store.compact(),
            lambda: store.remove_source(1),
            lambda: store.set_model(MODEL),
        ):
            with pytest.raises(StoreError, match="is sealed"):
                act()
    assert names(tmp_path / "m") == FILES


def test_a_writer_that_waited_for_the_lock_finds_the_seal(tmp_path: Path) -> None:
    from vidmem.store.lock import take_lock

    shard(tmp_path / "m")
    with pytest.raises(StoreError, match="is sealed"):
        take_lock(tmp_path / "m" / "cache.lock", wait=True)
    assert names(tmp_path / "m") == FILES


def test_refused_while_another_writes_or_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.database.BUSY_SECONDS", 0.1)
    memory(tmp_path / "m")
    with Store.open(tmp_path / "m", write=True), pytest.raises(LockedError, match="is writing"):
        seal(tmp_path / "m")
    with Store.open(tmp_path / "m"), pytest.raises(StoreError, match=r"busy|open"):
        seal(tmp_path / "m")
    assert "seal.json" not in names(tmp_path / "m")
    seal(tmp_path / "m")


def test_a_seal_that_someone_reads_stays(tmp_path: Path) -> None:
    shard(tmp_path / "m")
    with Store.open(tmp_path / "m"), pytest.raises(StoreError, match="open"):
        unseal(tmp_path / "m")
    assert names(tmp_path / "m") == FILES
    unseal(tmp_path / "m")
    with pytest.raises(StoreError, match="no sealed memory"):
        unseal(tmp_path / "m")


def test_nothing_to_seal(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no memory here"):
        seal(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with Store.open(tmp_path / "m", create=True):
        pass
    with pytest.raises(StoreError, match="empty"):
        seal(tmp_path / "m")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        seal(tmp_path / "file")
    with pytest.raises(StoreError):
        unseal(tmp_path / "none")


def test_an_unfinished_source(tmp_path: Path) -> None:
    memory(tmp_path / "m", state="open")
    with pytest.raises(StoreError, match=r"1 of its 1 sources .* not indexed to their end, such as .*walk0\.mp4"):
        seal(tmp_path / "m")
    made = seal(tmp_path / "m", partial=True)
    assert made.sources[0].row.state == "open"
    assert not verify(tmp_path / "m")


def test_an_interrupted_reembed(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    with Store.open(tmp_path / "m", write=True) as store:
        store.begin_tokens(replace(MODEL, encoder="other"))
        store.put_tokens([NewTokens(1, np.ones(DV, np.float32), np.ones(16, np.float32), 1.0)])
    with pytest.raises(StoreError, match="reembed"):
        seal(tmp_path / "m")
    assert seal(tmp_path / "m", partial=True).model == MODEL


def test_what_was_forgotten_is_erased_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory(tmp_path / "m", sources=2)
    with Store.open(tmp_path / "m", write=True) as store:
        monkeypatch.setattr("vidmem.store.writer.scrub", lambda *args: None)
        store.remove_source(1)
        monkeypatch.undo()
        assert store.scrub_due()
    assert len(seal(tmp_path / "m").sources) == 1
    with Store.open(tmp_path / "m") as store:
        assert not store.scrub_due()


def test_what_a_stopped_seal_left_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    for name in ("bounds.safetensors", "seal.part.json", "bounds.part.safetensors"):
        (tmp_path / "m" / name).write_bytes(b"left")
    with Store.open(tmp_path / "m", write=True):
        pass
    assert not {"bounds.safetensors", "seal.part.json", "bounds.part.safetensors"} & set(names(tmp_path / "m"))


def test_phrases_are_no_part_of_a_shard(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    with Store.open(tmp_path / "m") as store:
        VectorCache(store)
        PhraseCache(store).set_facts("secret", "my keys")
    assert "cache/texts.sqlite" in names(tmp_path / "m")
    seal(tmp_path / "m")
    assert names(tmp_path / "m") == FILES


def test_photos_have_the_times_they_were_taken(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    with Store.open(tmp_path / "m", write=True) as store:
        row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "p"))
        pictures = [
            Picture(10 * i, bytes([i]) * 32, 8, 8, START + i if i else None, "exif" if i else "") for i in range(3)
        ]
        files = [PictureFile(f"{i}.jpg", 1, 1, 10 * i) for i in range(3)]
        add(store, row.id, [], pictures=pictures, files=files, state="done")
    source = seal(tmp_path / "m").sources[1]
    assert (source.t_min, source.t_max, source.pictures) == (START + 1, START + 2, 3)


def test_a_clock_that_counts_from_zero_is_no_time(tmp_path: Path) -> None:
    with Store.open(tmp_path / "m", create=True) as store:
        store.set_model(MODEL)
        info = SourceInfo("/a.mcap#/cam", SourceKind.LOG, 8, 8, 10**9, "f", 5, "log")
        add(store, store.begin_source(info).id, [track(0)], state="done")
    made = seal(tmp_path / "m")
    assert (made.t_min, made.t_max) == (None, None)


def test_a_sealed_memory_of_an_older_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(tmp_path / "m")
    monkeypatch.setattr("vidmem.store.store.migrations.MIGRATIONS", [None] * 9)
    with pytest.raises(StoreError, match=r"sealed in format 8, .* reads 9; run `vidmem seal --undo`"):
        Store.open(tmp_path / "m")
    monkeypatch.setattr("vidmem.store.store.migrations.MIGRATIONS", [None] * 7)
    with pytest.raises(VersionError, match="newer"):
        Store.open(tmp_path / "m")


@pytest.mark.parametrize("name", [name for name in FILES if name != "cache"])
def test_every_changed_byte_and_size_is_found(tmp_path: Path, name: str) -> None:
    shard(tmp_path / "m")
    data = (tmp_path / "m" / name).read_bytes()
    for place in {0, len(data) // 3, len(data) - 1}:
        changed = bytearray(data)
        changed[place] ^= 1
        (tmp_path / "m" / name).write_bytes(changed)
        assert [problem.name for problem in verify(tmp_path / "m")] == [name]
    (tmp_path / "m" / name).write_bytes(data[:-1])
    assert [problem.name for problem in verify(tmp_path / "m", quick=True)] == [name]
    (tmp_path / "m" / name).unlink()
    assert [problem.name for problem in verify(tmp_path / "m", quick=True)] == [name]
    with pytest.raises(StoreError):
        check_shard(tmp_path / "m")
    (tmp_path / "m" / name).write_bytes(data)
    assert not verify(tmp_path / "m")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "more", "cache link"])
def test_odd_things_in_a_shard(tmp_path: Path, kind: str) -> None:
    shard(tmp_path / "m")
    path = tmp_path / "m" / "memory.sqlite"
    data = path.read_bytes()
    if kind == "more":
        (tmp_path / "m" / "memory.sqlite-wal").write_bytes(b"x")
        (tmp_path / "m" / "cache" / "more.bin").write_bytes(b"x")
        expected = ["cache/more.bin", "memory.sqlite-wal"]
    elif kind == "cache link":
        shutil.move(tmp_path / "m" / "cache", tmp_path / "elsewhere")
        (tmp_path / "m" / "cache").symlink_to(tmp_path / "elsewhere")
        expected = ["cache"]
    else:
        path.unlink()
        expected = ["memory.sqlite"]
    if kind == "link":
        (tmp_path / "same").write_bytes(data)
        path.symlink_to(tmp_path / "same")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    for quick in (False, True):
        assert [problem.name for problem in verify(tmp_path / "m", quick=quick)] == expected


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"generation": 77}, "generation"),
        ({"memory": "ab"}, "memory"),
        ({"schema": 7}, "schema"),
        ({"model__encoder": "clip"}, "model"),
        ({"model__weights": "cd" * 32}, "model"),
        ({"model__visual_dim": 3}, "model"),
        ({"model__config__fps": 9.0}, "model"),
        ({"tracks": 13, "sources__0__tracks": 13}, "tracks"),
        ({"sources__0__uri": "/etc/passwd"}, "sources"),
        ({"sources__0__fingerprint": "x"}, "sources"),
        ({"sources__0__t_max": START, "t_max": START}, "t_max"),
    ],
)
def test_a_manifest_that_lies_about_its_memory(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    made = shard(tmp_path / "m")
    assert forged(tmp_path / "m", **changes) != made.id
    found = verify(tmp_path / "m")
    assert found
    assert all(problem.name == "seal.json" for problem in found)
    assert any(f"its {field} is not that of the memory" in problem.what for problem in found)
    assert [problem.name for problem in verify(tmp_path / "m", quick=True, expected=made.id)] == ["seal.json"]


def test_a_changed_memory_under_a_new_manifest_is_another_shard(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    unseal(tmp_path / "m")
    conn = sqlite3.connect(tmp_path / "m" / "memory.sqlite")
    with conn:
        conn.execute("UPDATE sources SET uri = '/other.mp4'")
    conn.close()
    again = seal(tmp_path / "m")
    assert again.id != made.id
    with pytest.raises(StoreError, match="another shard"):
        check_shard(tmp_path / "m", made.id)


def test_links_in_a_memory_are_not_sealed(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    shutil.move(tmp_path / "m" / "memory.sqlite", tmp_path / "other")
    (tmp_path / "m" / "memory.sqlite").symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match="link"):
        seal(tmp_path / "m")


def test_a_seal_without_an_id(tmp_path: Path) -> None:
    memory(tmp_path / "m")
    assert seal_id(tmp_path / "m") is None
    for text in ("", "[]", "{}", json.dumps({"id": "x"}), "[" * 10_000):
        (tmp_path / "m" / "seal.json").write_text(text)
        with pytest.raises(StoreError, match="seal of the memory is damaged"):
            seal_id(tmp_path / "m")
        with pytest.raises(StoreError, match="sealed"):
            Store.open(tmp_path / "m", write=True)


def test_the_first_pass_of_a_large_memory_is_part_of_the_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 600)
    made = shard(tmp_path / "m", n=700)
    assert "cache/first_pass.bin" in made.files
    assert not verify(tmp_path / "m")
    unseal(tmp_path / "m")
    assert seal(tmp_path / "m") == made
    unseal(tmp_path / "m")
    (tmp_path / "m" / "cache" / "first_pass.bin").unlink()
    assert seal(tmp_path / "m") == made  # it is made again, the same
    (tmp_path / "m" / "cache" / "first_pass.bin").unlink()
    with Store.open(tmp_path / "m") as store:
        assert len(VectorCache(store)) == 700
    assert "cache/first_pass.bin" not in names(tmp_path / "m")
    assert [problem.name for problem in verify(tmp_path / "m", quick=True)] == ["cache/first_pass.bin"]
