"""`vidmem forget` and `compact`: print first, act after confirmation, and leave nothing in the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidmem.memory import Memory
from vidmem.store import Store
from vidmem.store.fp16 import pack_vector

from .conftest import Run


def found(run: Run, memory: Path, colour: str) -> list[tuple[float, float]]:
    sightings = json.loads(run("where", colour, "--all", "--json", "-m", memory).stdout)["sightings"]
    return [(round(s["start_s"], 1), round(s["end_s"], 1)) for s in sightings]


def leftovers(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def vectors(folder: Path, colour: str) -> list[bytes]:
    with Memory.open(folder, read_only=True) as m:
        tracks = m.store.tracks([t for s in m.where(colour, top=None) for t in s.tracks])
        # Both at once, as they lie in their row: of one alone, parts of two others could be mistaken for it.
        return [pack_vector(t.visual) + pack_vector(t.text) for t in tracks]


def test_told_first_done_with_yes(run: Run, copy: Path, walk: Path) -> None:
    told = run("forget", "--source", "walk.mp4", "--before", "5s", "--json", "-m", copy)
    assert told.exit_code == 0
    (row,) = json.loads(told.stdout)
    assert (row["source"], row["whole"], row["before_ns"]) == (str(walk), False, "5000000000")
    assert (row["tracks"], row["shortened"], row["frames"]) == (1, 2, 25)
    assert "nothing was removed; add --yes" in told.stderr
    assert found(run, copy, "red")[-1][0] == 0
    done = run("forget", "--source", "walk.mp4", "--before", "5s", "--yes", "-m", copy)
    assert done.exit_code == 0
    assert "before 0:05.0" in done.stdout
    assert "forgotten; the memory now holds 1 sources and 3 tracks" in done.stderr
    assert found(run, copy, "red") == [(8.0, 10.8)]
    assert found(run, copy, "blue") == [(5.0, 5.8)]
    assert found(run, copy, "green") == [(5.0, 11.8)]
    assert run("index", walk, "-m", copy).exit_code == 0  # what was forgotten does not come back
    assert found(run, copy, "blue") == [(5.0, 5.8)]


def test_a_thing_leaves_no_byte(run: Run, copy: Path) -> None:
    needles = vectors(copy, "green")
    assert all(leftovers(copy, needle) for needle in needles)
    told = run("forget", "--object", "green", "--nl", "--dry-run", "-m", copy)
    assert json.loads(told.stdout)["tracks"] == 1
    assert told.stderr == "nothing was removed\n"
    assert run("forget", "--object", "green", "--yes", "-m", copy).exit_code == 0
    assert [leftovers(copy, needle) for needle in needles] == [[]]
    assert found(run, copy, "green") == []
    assert found(run, copy, "red") == [(8.0, 10.8), (0.0, 2.8)]
    assert run("forget", "--object", "green", "--yes", "-m", copy).exit_code == 1


def test_a_thing_by_the_number_of_a_track(run: Run, copy: Path) -> None:
    document = json.loads(run("where", "red", "--json", "-m", copy).stdout)
    (number,) = document["sightings"][0]["tracks"]
    result = run("forget", "--object", number, "--json", "--yes", "-m", copy)
    assert json.loads(result.stdout)[0]["tracks"] == 2  # the red square was there before, and it is the same
    assert found(run, copy, "red") == []
    assert found(run, copy, "blue") == [(1.0, 5.8)]


def test_by_age(run: Run, copy: Path, walk: Path) -> None:
    assert run("forget", "--before", "30d", "--yes", "-m", copy).exit_code == 1
    assert run("forget", "--before", "now", "--yes", "-m", copy).exit_code == 0
    assert json.loads(run("ls", "--json", "-m", copy).stdout) == []
    assert walk.exists()
    assert not leftovers(copy, walk.name.encode())


def test_by_wall_clock_of_the_recording(run: Run, copy: Path) -> None:
    with Store.open(copy, write=True) as store, store._use(write=True) as conn:
        conn.execute("UPDATE sources SET start_ns = ?", (1_700_000_000 * 10**9,))  # 2023-11-14T22:13:20Z
    result = run("forget", "--before", "2023-11-14T22:13:27Z", "--yes", "-m", copy)
    assert result.exit_code == 0
    assert "before 0:07.0" in result.stdout
    assert found(run, copy, "blue") == []
    assert found(run, copy, "red") == [(8.0, 10.8)]
    assert run("forget", "--before", "2023-11-14T22:13:20Z", "-m", copy).exit_code == 1


def test_whole_sources(run: Run, copy: Path) -> None:
    for arguments in (("--source", "walk.mp4"), ("--source", "walk.mp4", "--before", "13")):
        (row,) = json.loads(run("forget", *arguments, "--json", "-m", copy).stdout)
        assert (row["whole"], row["tracks"], row["frames"], row["before_ns"]) == (True, 4, 60, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to forget"),
        (("--before", "5s"), "say in which with --source"),
        (("--before", "soon"), "is not a time"),
        (("--source", "talk.mp4"), "no source is called"),
        (("--object", "red", "--before", "30d"), "for all times"),
        (("--object", "gibberish"), "no colour in"),
        (("--object", "99"), "there is no track 99"),
        (("--object", "9" * 40), "there is no track"),
        (("--before", "30d", "--yes", "--dry-run"), "exclude each other"),
    ],
)
def test_what_makes_no_sense_fails(run: Run, copy: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run("forget", *arguments, "-m", copy)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_an_interrupted_source_fails(run: Run, copy: Path) -> None:
    with Store.open(copy, write=True) as store, store._use(write=True) as conn:
        conn.execute("UPDATE sources SET state = 'open'")
    result = run("forget", "--object", "red", "--yes", "-m", copy)
    assert result.exit_code == 2
    assert "indexed to its end" in result.stderr
    assert run("forget", "--source", "walk.mp4", "--yes", "-m", copy).exit_code == 0


def test_forget_asks(run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.cli.forget._confirmed", lambda: True)
    assert run("forget", "--object", "red", "-m", copy).exit_code == 0
    assert found(run, copy, "red") == []


def test_no_memory_fails(run: Run, tmp_path: Path) -> None:
    for command in (("forget", "--before", "30d"), ("compact",)):
        result = run(*command, "-m", tmp_path / "none")
        assert result.exit_code == 4
        assert not (tmp_path / "none").exists()


def test_compact(run: Run, copy: Path, indexed: Path) -> None:
    told: dict[str, Any] = json.loads(run("compact", "--dry-run", "--json", "-m", copy).stdout)
    assert told["bytes_after"] is None
    row = json.loads(run("compact", "--json", "-m", copy).stdout)
    assert row["bytes_after"] <= row["bytes_before"] == told["bytes_before"]
    assert found(run, copy, "red") == found(run, indexed, "red")
    assert run("compact", "-m", copy).exit_code == 0
