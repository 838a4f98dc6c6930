"""`vidmem index` with photos, frames and paths on stdin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import photo

from vidmem.memory import Memory

from .conftest import Run

COLOURS = ("--encoder", "colours")


@pytest.fixture
def holiday(tmp_path: Path, walk: Path) -> Path:
    folder = tmp_path / "holiday"
    photo(folder / "1.png", "red", "blue")
    photo(folder / "beach" / "2.png", "green")
    shutil.copy(walk, folder)
    return folder


def test_videos_and_photos_in_one_command(run: Run, holiday: Path, tmp_path: Path) -> None:
    cup = photo(tmp_path / "cup.png", "yellow")
    result = run("index", holiday, cup, *COLOURS, "--json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert [(Path(row["source"]).name, row["kind"], row["frames"], row["files"]) for row in rows] == [
        ("walk.mp4", "video", 60, None),
        ("holiday", "pictures", 2, 2),
        (tmp_path.name, "pictures", 1, 1),
    ]
    assert len({tuple(row) for row in rows}) == 1  # of one shape, for --csv
    assert "indexed 1 source: 60 frames" in result.stderr
    assert f"{holiday}: 2 photos indexed in " in result.stderr
    assert "per hour" not in result.stderr  # photos take their part of the bytes
    again = run("index", holiday, str(tmp_path / "c*.png"))
    assert f"{holiday}: nothing new; 2 known before" in again.stderr
    assert f"{tmp_path}: nothing new; 1 known before" in again.stderr
    assert run("where", "yellow", "--json").exit_code == 0


def test_what_the_encoder_knows_is_said_once(run: Run, holiday: Path) -> None:
    notice = "`colours` knows eight colours by name; for any phrase"
    assert notice in run("index", holiday / "1.png", *COLOURS).stderr
    again = run("index", holiday)
    assert "`colours` knows" not in again.stderr
    assert run("info", "--json").stdout.count("eight colours by name") == 1
    assert "knows            eight colours by name" in run("info").stdout


def test_damaged_photos_are_named_up_to_twenty(run: Run, holiday: Path) -> None:
    for i in range(25):
        (holiday / f"bad{i:02d}.jpg").write_text("no picture")
    result = run("index", holiday, *COLOURS)
    assert result.exit_code == 3
    assert result.stderr.count("the picture cannot be read (not a picture)") == 20
    assert "damaged: 25 in all, of which 20 are named" in result.stderr


def test_frames_are_a_film_when_asked_for(run: Run, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    for i in range(12):
        photo(frames / f"frame_{i:04d}.png", "red")
    told = run("index", frames, *COLOURS)
    assert f"these photos look like the frames of a film; --film indexes them as one: {frames}" in told.stderr
    assert json.loads(run("ls", "--json").stdout)[0]["kind"] == "pictures"
    assert "frames of a film" not in run("index", frames).stderr  # what is known was decided
    other = tmp_path / "other"
    film = run("index", "--film", frames, *COLOURS, "-m", other)
    assert "frames of a film" not in film.stderr
    assert "indexed 1 source: 12 frames" in film.stderr
    assert "1 source indexed before, skipped" in run("index", frames, "-m", other).stderr
    for misused in ((frames,), (frames / "frame_0001.png",)):
        assert run("index", "--film", *misused).exit_code == 2


@pytest.mark.parametrize("joined", ["\n", "\r\n", "\0"])
def test_paths_on_stdin(run: Run, holiday: Path, tmp_path: Path, joined: str) -> None:
    cup = photo(tmp_path / "cup.png", "yellow")
    paths = joined.join([str(holiday / "walk.mp4"), "", str(holiday / "1.png"), ""])
    result = run("index", "-", cup, *COLOURS, "--json", input=paths)
    assert result.exit_code == 0
    assert [Path(row["source"]).name for row in json.loads(result.stdout)] == ["walk.mp4", "holiday", tmp_path.name]


def test_stdin_without_paths_fails(run: Run, holiday: Path, tmp_path: Path) -> None:
    for text in ("", "\n \n"):
        result = run("index", "-", holiday, *COLOURS, input=text)
        assert result.exit_code == 2
        assert "reads paths from stdin, one per line, but stdin is empty" in result.stderr
    assert not (tmp_path / "memory").exists()
    result = run("index", "-", *COLOURS, input=f"nowhere.jpg\n{holiday / '1.png'}\n")
    assert result.exit_code == 3
    assert "no such file" in result.stderr


@pytest.mark.parametrize("name", ["empty", "texts"])
def test_a_folder_of_nothing_fails(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    if name == "texts":
        (tmp_path / name / "a.txt").write_text("a")
    result = run("index", tmp_path / name, *COLOURS)
    assert result.exit_code == 4
    assert "the folder holds no video, log or picture" in result.stderr
    assert not (tmp_path / "memory").exists()


def test_info_says_which_times_they_are(run: Run, holiday: Path, tmp_path: Path) -> None:
    run("index", holiday, *COLOURS)
    told = run("info", "holiday").stdout
    assert "kind          photos" in told
    assert "photos        2" in told
    assert "indexed to" not in told
    assert "second" in told.partition("added")[2].partition("\n")[0]
    assert "length        0:12.0" in run("info", "walk.mp4").stdout
    image = np.full((fakes.HEIGHT, fakes.WIDTH, 3), 200, np.uint8)
    with Memory.open(tmp_path / "memory") as memory, memory.session("cam0") as session:
        for i in range(3):
            session.append(image, 1_700_000_000_000_000_000 + i * 10**9)
    camera = run("info", "cam0").stdout
    assert "length        0:02.0" in camera
    assert "recorded      2023-11-1" in camera
    assert "(live)" in camera
    assert "0:02.0" in run("ls").stdout.splitlines()[-1]


def test_rm_of_a_photo(run: Run, holiday: Path) -> None:
    run("index", holiday, *COLOURS)
    result = run("rm", "beach/2.png", "--yes")
    assert (result.exit_code, result.stderr) == (0, f"forgot {holiday / 'beach' / '2.png'}\n")
    assert json.loads(run("info", "holiday", "--json").stdout)["frames"] == 1
    assert run("rm", "2.png", "--yes").exit_code == 2
    assert run("rm", "holiday", "--yes").exit_code == 0
