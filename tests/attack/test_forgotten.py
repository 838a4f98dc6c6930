"""What is forgotten is gone: no byte of it survives the next writer, wherever the process that forgot was killed."""

# ruff: noqa: F811 (fixtures of the command line's tests)

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli.conftest import Run, clean, run  # noqa: F401
from store.making import MODEL, add, track

from attack import killed
from attack.killed import PHOTO, SECRET, THING, VIDEO, WHAT, fill
from vidmem.indexer.pictures import forget_photo
from vidmem.store import PictureFile, Store
from vidmem.store import store as store_module
from vidmem.store.fp16 import pack_vector

NAMES = (SECRET.encode() + b".mp4", b"secret-print", b"secret-view", b"secret-state")


def in_files(folder: Path, needle: bytes) -> list[str]:
    return [
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()
    ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "memory"
    fill(folder)
    return folder


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_warned", set())
    monkeypatch.setattr("sqlite3.connect", killed.unflushed())


class Killer:
    """Kills a process at a point of its work, again and again."""

    def __init__(self, folder: Path, what: str, room: Path) -> None:
        command = [sys.executable, killed.__file__, str(folder), what]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.room = room

    def __call__(self, point: int) -> tuple[str, Path]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        copy = self.room / f"killed-{point}"
        self.process.stdin.write(f"{point} {copy}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip(), copy


@contextmanager
def killer(folder: Path, what: str, room: Path) -> Iterator[Killer]:
    made = Killer(folder, what, room)
    try:
        yield made
    finally:
        made.process.communicate()
        assert made.process.returncode == 0


def half_forgotten(folder: Path, what: str) -> bool:
    """Whether the forgetting of a killed process was committed."""
    with Store.open(folder) as store:
        names = [row.uri.rpartition("/")[2] for row in store.sources()]
        if what == "rm":
            return f"{SECRET}.mp4" not in names
        if what == "forget_before":
            return not store.source_tracks(store.source(f"{SECRET}.mp4").id)
        if what == "forget_thing":
            return store.source_tracks(store.source("keep.mp4").id)[0].ordinal != 0
        if what == "rm_photo":
            return len(store.pictures(store.source("album").id)) == 2
        if what == "replaced":
            return f"{SECRET}.mp4" not in names or store.source(f"{SECRET}.mp4").fingerprint == "other-print"
        if what == "reembed":
            return store.model() != MODEL
        raise AssertionError(what)


def secrets(what: str) -> tuple[bytes, ...]:
    """What must not be left after a forgetting."""
    video, thing, photo = (vectors(seed) for seed in (VIDEO, THING, PHOTO))
    return {
        "rm": (*NAMES, *video),
        "forget_before": (b"secret-view", *video),
        "forget_thing": thing,
        "rm_photo": (f"{SECRET}-0.jpg".encode(), *photo),
        "replaced": (*NAMES[1:], *video),
        "reembed": (*video, *thing, *photo),
    }[what]


def vectors(seed: int) -> tuple[bytes, bytes]:
    return pack_vector(track(0, seed=seed).visual), pack_vector(track(0, seed=seed).text)


POINTS = 14
"""Points tried in each kind of forgetting, at most; six kinds."""


@pytest.mark.parametrize("what", [name for name in WHAT if name != "compact"])
def test_no_byte_survives_a_kill(filled: Path, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    needles = secrets(what)
    assert all(in_files(filled, needle) for needle in needles)
    with killer(filled, what, tmp_path) as kill:
        state, copy = kill(0)
        low = int(state)
        shutil.rmtree(copy)
        committed = 0
        # The commit and the scrub are in the last part.
        for point in [low // 4, low // 2, *range(max(low // 2, low - 6 * POINTS) + 1, low + 1, 5)]:
            state, copy = kill(point)
            assert state == "killed"
            caplog.clear()
            gone = half_forgotten(copy, what)  # opens it for reading
            told = "something that was forgotten is still in the files" in caplog.text
            left = [needle for needle in needles if in_files(copy, needle)]
            if not gone:  # the forgetting did not happen
                assert set(left) == set(needles)
                assert not told
                continue
            committed += 1
            assert told or not left, (point, left)
            Store.open(copy, write=True).close()
            assert not [needle for needle in needles if in_files(copy, needle)], point
            store_module._warned.clear()
            caplog.clear()
            Store.open(copy).close()
            assert not caplog.records
            shutil.rmtree(copy)
        assert committed >= 3


def half_done(folder: Path, what: str, room: Path) -> Path:
    """A memory in which a process was killed right after it had committed what it forgot."""
    with killer(folder, what, room) as kill:
        state, copy = kill(0)
        for point in range(int(state) // 2, int(state)):
            shutil.rmtree(copy)
            state, copy = kill(point)
            if half_forgotten(copy, what):
                break
    assert all(in_files(copy, needle) for needle in secrets(what))
    store_module._warned.clear()
    return copy


@pytest.fixture(scope="module")
def half(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return half_done(filled, "rm", tmp_path_factory.mktemp("half"))


LINE = "something that was forgotten is still in the files of the memory"


@pytest.mark.parametrize("command", [["ls"], ["info"], ["compact", "--dry-run"], ["where", "x"], ["doctor"]])
def test_a_question_says_once_that_something_is_still_there(
    run: Run, half: Path, tmp_path: Path, command: list[str]
) -> None:
    copy = shutil.copytree(half, tmp_path / "copy")
    result = run(*command, "--memory", copy)
    assert result.stderr.count(LINE) == 1
    assert "`vidmem compact` erases it" in result.stderr
    assert in_files(copy, b"secret-print")


@pytest.mark.parametrize(
    "command",
    [
        ["rm", f"{SECRET}.mp4", "--yes"],
        ["forget", "--before", "2000-01-01"],
        ["forget", "--source", "keep.mp4"],
        ["compact"],
        ["recorded", "keep.mp4", "2026-01-01"],
    ],
)
def test_a_command_that_may_write_finishes(run: Run, half: Path, tmp_path: Path, command: list[str]) -> None:
    """Even if it has nothing else to do, as when the same command is run again."""
    copy = shutil.copytree(half, tmp_path / "copy")
    result = run(*command, "--memory", copy)
    assert result.exit_code in (0, 1, 2), result.output
    assert not [needle for needle in secrets("rm") if in_files(copy, needle)], result.output
    assert LINE not in run("ls", "--memory", copy).stderr


def test_a_dry_run_changes_nothing(run: Run, half: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(half, tmp_path / "copy")
    assert run("forget", "--before", "2000-01-01", "--dry-run", "--memory", copy).exit_code == 1
    assert in_files(copy, b"secret-print")


def test_what_replaces_a_video_erases_it_at_the_end_of_the_run(filled: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(filled, tmp_path / "copy")
    with Store.open(copy, write=True) as store:
        killed.replaced(store)
        assert not [needle for needle in secrets("replaced") if in_files(copy, needle)]
        assert not store.scrub_due()


def test_a_name_of_a_photo_that_is_gone_is_erased(filled: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(filled, tmp_path / "copy")
    with Store.open(copy, write=True) as store:
        row = store.source("album")
        store.drop_picture_files(row.id, [f"{SECRET}-1.jpg"])
        assert store.scrub_due()
        store.settle()
    assert not in_files(copy, f"{SECRET}-1.jpg".encode())
    assert in_files(copy, f"{SECRET}-2.jpg".encode())


def test_a_photo_that_another_file_holds_stays(filled: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(filled, tmp_path / "copy")
    with Store.open(copy, write=True) as store:
        row = store.source("album")
        add(store, row.id, [], state="done", files=[PictureFile("twin.jpg", 5, 6, 0)])
        before = [t.id for t in store.source_tracks(row.id)]
        killed.rm_photo(store)
        assert [t.id for t in store.source_tracks(row.id)] == before
        assert "twin.jpg" in [f.path for f in store.picture_files(row.id)]
        forget_photo(store, row, "twin.jpg")
        assert [t.id for t in store.source_tracks(row.id)] == before[1:]
        assert len(store.pictures(row.id)) == 2
