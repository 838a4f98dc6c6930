"""Memory folders whose files are something else: no command follows them, and nothing outside changes."""

# ruff: noqa: F811 (fixtures of the command line's tests)

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.conftest import Run, clean, copy, indexed, run, walk  # noqa: F401

from vidmem.errors import StoreError
from vidmem.store import Store, VectorCache, cache_build, cache_file, files
from vidmem.store.lock import take_lock
from vidmem.store.phrase_cache import PhraseCache

DATABASE = ("memory.sqlite", "memory.sqlite-wal", "memory.sqlite-shm", "memory.sqlite-journal")
CACHED = ("vectors.bin", "texts.sqlite", "texts.sqlite-wal", "texts.sqlite-journal", "work.tmp")
NAMES = (*DATABASE, "lock", "cache.lock", "cache", *(f"cache/{name}" for name in CACHED))


def commands(out: Path, walk: Path) -> list[list[object]]:
    """Every command that opens a memory."""
    (out / "list.txt").write_text("red\n")
    (out / "known.csv").write_text("question,source,start,end\nred,walk.mp4,0,3\n")
    return [
        ["ls"],
        ["info"],
        ["info", "walk.mp4"],
        ["where", "red"],
        ["where", "red", "--save", out / "w.png"],
        ["things"],
        ["timeline", "red"],
        ["watch-list", out / "list.txt"],
        ["haystack", "--anchor", "red", "--target", "blue"],
        ["names"],
        ["index", walk],
        ["watch", walk, "--name", "cam", "--encoder", "colours"],
        ["recorded", "walk.mp4", "2026-01-01"],
        ["reembed"],
        ["calibrate", out / "known.csv"],
        ["parse", "walk.mp4", "--labels", out / "list.txt"],
        ["annotate", "walk.mp4", "--out", out / "a.parquet"],
        ["rm", "walk.mp4", "--yes"],
        ["forget", "--source", "walk.mp4", "--yes"],
        ["forget", "--object", "red", "--dry-run"],
        ["compact", "--dry-run"],
        ["compact"],
        ["doctor"],
    ]


def state(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Hash, time and permissions of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        known = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        found[str(path.relative_to(folder))] = (digest, known.st_mtime_ns, known.st_mode)
    return found


def displace(path: Path) -> None:
    """Remove what has this name, to make room for something else."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)


@pytest.fixture
def theirs(copy: Path, tmp_path: Path) -> Path:
    """A folder outside with a file in place of each file of the memory."""
    folder = tmp_path / "theirs"
    shutil.copytree(copy, folder)
    for name in NAMES:
        path = folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"precious" * 64)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_no_command_follows_a_link(run: Run, copy: Path, theirs: Path, tmp_path: Path, walk: Path, name: str) -> None:
    displace(copy / name)
    (copy / name).symlink_to(theirs / name)
    before, mine = state(theirs), state(copy)
    for command in commands(tmp_path, walk):
        result = run(*command, "--memory", copy)
        assert result.exit_code == 4, (command, result.output)
        assert "holds a link in place of a f" in result.output, (command, result.output)
        assert state(theirs) == before, command
        assert state(copy) == mine, command


@pytest.mark.parametrize("name", ["lock", "cache.lock", "memory.sqlite-shm", "cache/vectors.bin", "cache/new.tmp"])
def test_a_link_to_nothing_makes_no_file(run: Run, copy: Path, tmp_path: Path, name: str) -> None:
    displace(copy / name)
    (copy / name).symlink_to(tmp_path / "not yet")
    for command in (["ls"], ["where", "red"], ["compact"]):
        assert run(*command, "--memory", copy).exit_code == 4
    assert not (tmp_path / "not yet").exists()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [a_pipe, a_socket, a_folder])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "cache"])
def test_what_is_no_file_is_refused_at_once(
    run: Run, copy: Path, name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    displace(copy / name)
    make(copy / name)
    for command in (["ls"], ["where", "red"], ["compact"], ["rm", "walk.mp4", "--yes"]):
        result = run(*command, "--memory", copy)
        assert result.exit_code == 4, (command, result.output)
        assert "in place of a file" in result.output


@pytest.mark.parametrize("name", [*DATABASE[:3], "lock", "cache.lock", "cache/texts.sqlite"])
def test_a_file_with_a_second_name_is_not_written(run: Run, copy: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    shutil.copy(copy / name, victim) if (copy / name).exists() else victim.write_bytes(b"precious")
    displace(copy / name)
    os.link(victim, copy / name)
    before = state(tmp_path)["victim"]
    for command in (["compact"], ["rm", "walk.mp4", "--yes"], ["forget", "--source", "walk.mp4", "--yes"]):
        result = run(*command, "--memory", copy)
        assert result.exit_code == 4, (command, result.output)
        assert "has a second name" in result.stderr
    # A question only reads, as in a backup that shares unchanged files with the one before it.
    asked = run("where", "red", "--memory", copy)
    assert asked.exit_code == (4 if name.endswith("-shm") else 0), asked.output
    assert state(tmp_path)["victim"] == before


def hot_journal(path: Path, names: Path) -> bytes:
    """A journal of SQLite that waits to be rolled back, and names a second file."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode = DELETE")
    conn.execute("CREATE TABLE IF NOT EXISTS filler (x)")
    conn.executemany("INSERT INTO filler VALUES (?)", [(b"x" * 500,)] * 200)
    conn.execute("PRAGMA cache_size = 1")
    conn.execute("BEGIN")
    conn.execute("UPDATE filler SET x = zeroblob(500)")
    journal = path.with_name(path.name + "-journal").read_bytes()
    conn.execute("ROLLBACK")
    conn.execute("DROP TABLE filler")
    conn.close()
    name = os.fsencode(names)
    end = struct.pack(">II", len(name), sum(name)) + bytes.fromhex("d9d505f920a163d7")
    return journal + struct.pack(">I", 0x40000000 // 4096 + 1) + name + end


def test_sqlite_itself_deletes_what_a_journal_names(tmp_path: Path) -> None:
    """Why such journals are refused."""
    path, victim = tmp_path / "some.sqlite", tmp_path / "victim"
    victim.write_text("precious")
    journal = hot_journal(path, victim)
    path.with_name("some.sqlite-journal").write_bytes(journal)
    conn = sqlite3.connect(path)
    conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
    conn.close()
    assert not victim.exists()


@pytest.mark.parametrize("name", ["memory.sqlite", "cache/texts.sqlite"])
def test_a_journal_cannot_delete_a_file_outside(run: Run, copy: Path, tmp_path: Path, walk: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (copy / "cache").mkdir(exist_ok=True)
    journal = hot_journal(copy / name, victim)
    (copy / f"{name}-journal").write_bytes(journal)
    for command in commands(tmp_path, walk):
        result = run(*command, "--memory", copy)
        assert victim.read_text() == "precious", command
        assert result.exit_code == 4, (command, result.output)
        assert "holds a journal that names another file" in result.output, (command, result.output)


@contextmanager
def opened_before(copy: Path) -> Iterator[Store]:
    """A memory whose folder is changed after it was opened, and checked."""
    with Store.open(copy) as store:
        VectorCache(store)
        yield store


def test_a_cache_that_becomes_a_link_is_not_used(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "work.tmp").write_text("precious")
    with opened_before(copy) as store:
        shutil.rmtree(copy / "cache")
        (copy / "cache").symlink_to(outside)
        before = state(outside)
        data = cache_build.current(store)
        with pytest.raises(StoreError, match="holds a link in place of a folder"):
            cache_file.save(store.folder, data)
        with pytest.raises(StoreError, match="holds a link in place of a folder"):
            files.remove_cache(store.folder)
        PhraseCache(store).put([(b"key", np.ones((1, 4), np.float32))])
        assert PhraseCache(store).get([b"key"]) == [None]
    assert state(outside) == before


@pytest.mark.parametrize("name", ["vectors.bin", "texts.sqlite", "texts.sqlite-journal"])
def test_a_cached_file_that_becomes_a_link_is_not_used(copy: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious" * 1000)
    with opened_before(copy) as store:
        displace(copy / "cache" / name)
        (copy / "cache" / name).symlink_to(victim)
        VectorCache(store)
        PhraseCache(store).put([(b"key", np.ones((1, 4), np.float32))])
        PhraseCache(store).get([b"key"])
    assert victim.read_bytes() == b"precious" * 1000


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
def test_the_guarded_opening_takes_files_only(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "lock", tmp_path / "victim"
    victim.write_text("precious")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/null")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY):
        with pytest.raises(StoreError, match="in place of a file"):
            files.open_file(path, flags)
    with pytest.raises(StoreError, match="in place of a file"):
        take_lock(path, wait=True)
    assert victim.read_text() == "precious"


def test_only_the_guarded_place_opens_files_of_a_memory() -> None:
    """No other module of the store calls the functions that open, make or delete files."""
    calls = ("os.open(", " open(", "(open(", ".unlink(", "rmtree(", ".mkdir(", "mkstemp(", "os.replace(", ".rename(")
    allowed: dict[str, set[str]] = {"store.py": {".mkdir("}}  # the folder itself, which the user named
    for path in sorted(Path(files.__file__).parent.glob("*.py")):
        if path.name == "files.py":
            continue
        text = path.read_text().replace("def open(", "")
        assert {call for call in calls if call in text} <= allowed.get(path.name, set()), path.name


def test_the_folder_itself_may_be_a_link(run: Run, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(copy)
    outputs: list[Any] = [run(*command, "-m", tmp_path / "mine") for command in (["ls"], ["where", "red"], ["compact"])]
    assert [result.exit_code for result in outputs] == [0, 0, 0]
