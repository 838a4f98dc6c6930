"""Dates of videos and photos: `index --recorded`, `recorded`, `ls`, and the last sighting by date."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from PIL import Image

from vidmem.cli.sightings import place
from vidmem.memory import Memory
from vidmem.records import Sighting

from .conftest import Run

LATE, EARLY = "VID_20260131_180200.mp4", "VID_20260131_083000.mp4"


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos with red, in the late one from 1 s on, in the early one from 3 s on."""
    folder = tmp_path_factory.mktemp("dated")
    fakes.squares(folder / LATE, [("red", 1, 3, 8)], 4)
    fakes.squares(folder / EARLY, [("red", 3, 6, 60)], 6)
    return folder


@pytest.fixture
def both(run: Run, dated: Path) -> Path:
    """A memory of both, the late one first."""
    assert run("index", dated / LATE, dated / EARLY, "--encoder", "colours").exit_code == 0
    return dated


def newest(run: Run, *more: object) -> Any:
    return json.loads(run("where", "red", "--json", *more).stdout)["sightings"][0]


def sources(run: Run) -> dict[str, tuple[str | None, str | None]]:
    return {
        Path(row["source"]).name: (row["recorded"], row["recorded_by"])
        for row in json.loads(run("ls", "--json").stdout)
    }


def test_indexed_in_the_wrong_order(run: Run, both: Path) -> None:
    sighting = newest(run)
    assert (sighting["source"], sighting["recorded_by"]) == (str(both / LATE), "name")
    assert sighting["recorded"].startswith("2026-01-31T18:02:0")
    told = [row.split("  ")[0].replace(" 2026", "") for row in run("where", "red", "--all").stdout.splitlines()]
    assert told == ["when", "31 Jan 18:02", "31 Jan 08:30"]
    assert run("where", "red").stderr == ""


def test_a_mixture_is_said(run: Run, both: Path) -> None:
    os.utime(both / EARLY)
    assert run("index", both / EARLY, "--recorded", "mtime").exit_code == 0
    result = run("where", "red")
    assert EARLY in result.stdout
    assert result.stdout.splitlines()[1].startswith("~today ")
    assert "the order in time is a guess: 1 of 2 recordings is dated only by the file time" in result.stderr
    assert run("recorded", LATE, "none").exit_code == 0
    result = run("where", "red")
    assert "the order in time is that of indexing: 1 of 2 recordings has no date; set" in result.stderr
    assert EARLY in result.stdout  # it was added last
    assert run("where", "red", "--source", LATE).stderr == ""


def test_mended_without_indexing_again(run: Run, both: Path) -> None:
    result = run("recorded", EARLY, "2026-02-03", "10:00")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"recorded 2026-02-03 10:00 (given): {both / EARLY}\n"
    assert newest(run)["source"] == str(both / EARLY)
    assert "2026-02-03 10:00 (given)" in run("ls").stdout
    assert "2026-02-03 10:00 (given)" in run("info", EARLY).stdout
    assert run("index", both / EARLY).exit_code == 0  # again, and it stays
    assert sources(run)[EARLY][1] == "given"
    assert run("recorded", EARLY, "name").exit_code == 0
    assert newest(run)["source"] == str(both / LATE)
    assert run("recorded", EARLY, "2026-02-03").exit_code == 0
    assert "2026-02-03 (day)" in run("ls").stdout
    assert run("where", "red").stdout.splitlines()[1].split("  ")[0] in ("3 Feb", "3 Feb 2026")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LATE, "12.5s"), "'12.5s' is a time in a video; say when the recording began"),
        ((LATE, "nmae"), "'nmae' is not a date; write 2026-01-31T08:30, 2026-01-31, yesterday 18:02, container"),
        ((LATE, "2026-13-01"), "is not a date"),
        ((LATE, ""), "is not a date"),
        ((LATE, "container"), "the file has no date written in it; give one"),
        (("walk.mp4", "name"), "no source is called 'walk.mp4'"),
    ],
)
def test_wrong_dates_change_nothing(run: Run, both: Path, arguments: tuple[str, ...], message: str) -> None:
    before = sources(run)
    result = run("recorded", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert sources(run) == before


def test_index_takes_one_date_for_one_source(run: Run, dated: Path) -> None:
    result = run("index", dated, "--recorded", "2026-01-01T08:30", "--encoder", "colours")
    assert result.exit_code == 2
    assert "2 sources did not begin at one time" in result.stderr
    assert run("index", dated, "--recorded", "nmae", "--encoder", "colours").exit_code == 2
    result = run("index", dated / LATE, "--recorded", "2026-01-01T08:30", "--encoder", "colours")
    assert f"recorded 2026-01-01 08:30 (given): {LATE}" in result.stderr
    result = run("index", dated / LATE, "--recorded", "container")  # done before: it is mended, if that tells anything
    assert f"recorded 2026-01-01 08:30 (given): {LATE} (container has no date)" in result.stderr
    result = run("index", dated, "--recorded", "none")
    assert f"without a date: {LATE}" in result.stderr
    assert set(sources(run).values()) == {(None, "given")}


def test_in_python(dated: Path, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    with Memory.open(tmp_path / "m", encoder="colours") as memory:
        memory.index(dated / LATE, recorded="mtime")
        assert memory.sources()[0].recorded_by == "mtime"
        done = memory.set_recorded(LATE, datetime(2026, 1, 31, tzinfo=UTC))
        assert (done.start_ns, done.by) == (1_769_817_600 * 10**9, "given")
        sighting = memory.where("red")[0]
        assert (sighting.recorded_ns, sighting.recorded_by) == (done.start_ns + sighting.frame_ns, "given")


def test_conditions_on_the_clock(run: Run, both: Path) -> None:
    between = ("--between", "2026-01-31T08:00..2026-01-31T09:00")
    assert newest(run, *between)["source"] == str(both / EARLY)
    assert run("where", "red", "--after", "2026-02-01").exit_code == 1
    assert run("recorded", EARLY, "yesterday", "18:02").exit_code == 0
    assert newest(run, "--after", "yesterday")["source"] == str(both / EARLY)
    assert run("where", "red", "--after", "yesterday 18:03").exit_code == 1
    assert run("where", "red", "--after", "yesterday").stdout.splitlines()[1].startswith("yesterday 18:02  ")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three photos with red: the name of 1.jpg has a date; 2.jpg is rotated and has an EXIF date; the last has none."""
    folder = tmp_path / "album"
    folder.mkdir()
    image = np.full((96, 160, 3), fakes.GROUND, np.uint8)
    for number, name in enumerate(("IMG_20260131_083000.jpg", "2.jpg", "3.jpg")):
        image[32:64, 32 * number : 32 * number + 32] = fakes.COLOURS["red"]
        photo = Image.fromarray(image)
        exif = photo.getexif()
        if name == "2.jpg":
            photo = photo.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6
            exif.get_ifd(0x8769)[0x9003] = "2026:01:31 18:02:00"
        photo.save(folder / name, quality=95, exif=exif)
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))  # November 2023
    return folder


def test_photos_are_ordered_by_their_own_dates(run: Run, album: Path) -> None:
    assert run("index", album, "--encoder", "colours").exit_code == 0
    document = json.loads(run("where", "red", "--all", "--json").stdout)
    rows = [(Path(s["picture"]).name, s["recorded_by"]) for s in document["sightings"]]
    assert rows == [("2.jpg", "exif"), ("IMG_20260131_083000.jpg", "name"), ("3.jpg", "mtime")]
    assert document["sightings"][0]["recorded"].startswith("2026-01-31T18:02:00.000")
    assert all(s[name] is None for s in document["sightings"] for name in ("start_s", "end_ns", "frame_s"))
    assert document["sightings"][0]["box"] == [0, 32, 64, 64]  # upright
    for command in ("where", "timeline"):
        result = run(command, "red")
        assert not re.search(r"\d:\d\d\.\d", result.stdout + result.stderr)  # no time in a video
    missed = run("where", "blue").stderr
    assert not re.search(r"\d:\d\d\.\d", missed)
    assert "2.jpg (31 Jan" in missed


def test_photos_on_the_clock(run: Run, album: Path) -> None:
    assert run("index", album, "--encoder", "colours").exit_code == 0
    assert Path(newest(run, "--before", "2026-01-31T12:00")["picture"]).name == "IMG_20260131_083000.jpg"
    assert run("where", "red", "--after", "2026-02-01").exit_code == 1
    result = run("where", "red", "--after", "1:02")
    assert result.exit_code == 2
    assert "single pictures have no time in a video; give a date" in result.stderr


def test_one_photo_is_mended_and_all_are(run: Run, album: Path) -> None:
    assert run("index", album, "--encoder", "colours", "--recorded", "2026-01-01").exit_code == 2
    assert run("index", album, "--encoder", "colours").exit_code == 0
    result = run("recorded", album / "3.jpg", "2026-02-01T10:00")
    assert f"recorded 2026-02-01 10:00 (given): {album / '3.jpg'}" in result.stderr
    assert Path(newest(run)["picture"]).name == "3.jpg"
    assert "each picture has a date of its own" in run("recorded", "album", "2026-02-01T10:00").stderr
    assert "3 of its photos dated by mtime: " in run("recorded", "album", "mtime").stderr
    assert "1 of its photos dated by name, 2 unchanged: " in run("recorded", "album", "name").stderr
    for command in (("ls",), ("info", "album")):
        assert "each its own" in run(*command).stdout
    assert newest(run)["recorded_by"] == "name"
    assert run("index", album, "--recorded", "none").exit_code == 0
    assert newest(run)["recorded"] is None


def test_a_memory_of_before_gets_dates_when_indexed_again(run: Run, both: Path, album: Path, tmp_path: Path) -> None:
    assert run("index", album).exit_code == 0
    conn = sqlite3.connect(tmp_path / "memory" / "memory.sqlite")
    with conn:
        conn.execute("UPDATE sources SET start_ns = NULL, recorded_by = ''")
        conn.execute("UPDATE pictures SET recorded_ns = NULL, recorded_by = ''")
    conn.close()
    assert newest(run)["recorded"] is None
    assert "-" in run("ls").stdout
    assert run("index", both).exit_code == 0
    assert run("index", album).exit_code == 0
    assert [by for _, by in sources(run).values()][:2] == ["name", "name"]
    assert newest(run)["recorded_by"] == "name"


@pytest.mark.parametrize("start", [1 << 62, -(1 << 62) + 1, (1 << 62) - 1, "\x1b[31m", 0, -1])
def test_a_memory_of_a_stranger(run: Run, both: Path, tmp_path: Path, start: object) -> None:
    conn = sqlite3.connect(tmp_path / "memory" / "memory.sqlite")
    with conn:
        conn.execute("UPDATE sources SET start_ns = ?, recorded_by = ?", (start, "\x1b[31m" * 100))
    conn.close()
    names = tmp_path / "names.txt"
    names.write_text("red\n")
    for command in (
        ("where", "red"),
        ("where", "red", "--all", "--json"),
        ("where", "brown"),
        ("timeline", "red"),
        ("watch-list", names),
        ("ls",),
        ("ls", "--json"),
        ("info", LATE),
        ("where", "red", "--after", "30d"),
        ("where", "red", "--before", "2100-01-01"),
        ("forget", "--before", "30d", "--dry-run"),
        ("recorded", LATE, "name"),
    ):
        result = run(*command)
        assert result.exit_code in (0, 1, 2), command
        assert "\x1b" not in result.stdout + result.stderr


def test_a_moment_for_people() -> None:
    from datetime import datetime

    then = int(datetime(2020, 1, 31, 18, 2).timestamp()) * 10**9
    one = Sighting("/videos/a.mp4", 0, 10**9, 0.9, 0.9, None, 0, (0, 0, 1, 1))
    assert place(one, 12 * 10**9) == "0:12.0 in a.mp4"
    video = replace(one, recorded_ns=then, recorded_by="mtime")
    assert place(video, 12 * 10**9) == "~31 Jan 2020 18:02, 0:12.0 into a.mp4"
    assert place(replace(one, picture="/p/1.jpg"), 10**10) == "1.jpg"
    assert place(replace(video, picture="/p/1.jpg", recorded_by="exif"), 10**10) == "31 Jan 2020 18:02, 1.jpg"
