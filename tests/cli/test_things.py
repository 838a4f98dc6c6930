"""`vidmem things`, and what `where` saves: sheets, clips, chapters, near misses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from PIL import Image
from webvtt import parse

from vidmem.cli.where_clips import write_clips
from vidmem.memory import Memory
from vidmem.records import Sighting
from vidmem.timecode import NS

from .conftest import Run


def test_things(run: Run, indexed: Path, tmp_path: Path) -> None:
    """Green for 8 s, red twice for 3 s, blue for 5 s."""
    result = run("things", "-m", indexed, "--save", tmp_path / "t.png")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["thing", "green", "red", "blue"]
    assert f"saved {tmp_path / 't.png'}" in result.stderr
    assert Image.open(tmp_path / "t.png").width == 960
    told = json.loads(run("things", "walk.mp4", "--newest", "--json", "-m", indexed).stdout)
    assert (told["found"], told["total"]) == (True, 3)
    assert [t["name"] for t in told["things"]] == ["green", "red", "blue"]
    red = told["things"][1]
    assert (red["sightings"], red["named"], red["probability"]) == (2, True, None)
    assert red["seen_s"] == pytest.approx(5.6, abs=0.3)
    assert red["last"]["start_s"] == pytest.approx(8)
    rows = run("things", "--nl", "--top", "1", "-m", indexed)
    assert json.loads(rows.stdout)["name"] == "green"
    assert "1 of 3 things; --all prints the rest" in rows.stderr
    table = list(csv.DictReader(io.StringIO(run("things", "--all", "--csv", "-m", indexed).stdout)))
    assert [row["name"] for row in table] == ["green", "red", "blue"]


def test_things_in_a_time(run: Run, indexed: Path) -> None:
    told = json.loads(run("things", "--before", "0.9s", "--json", "-m", indexed).stdout)
    assert [t["name"] for t in told["things"]] == ["red"]
    assert run("things", "--between", "30..40", "-m", indexed).exit_code == 1


def test_a_guess_is_said_to_be_one(run: Run, indexed: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("yellow\n")
    result = run("things", "--labels", names, "-m", indexed)
    assert "? (yellow)" in result.stdout
    assert "too unsure of the name" in result.stderr


def test_nothing_and_nothing_written(run: Run, indexed: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "t.png"
    result = run("things", "--after", "50s", "--save", sheet, "-m", indexed)
    assert result.exit_code == 1
    assert f"nothing was written: {sheet}" in result.stderr
    sheet.write_bytes(b"old")
    result = run("where", "yellow", "--save", sheet, "--clip", tmp_path / "c.mp4", "-m", indexed)
    assert result.exit_code == 1
    assert f"nothing was written; this file is older: {sheet}" in result.stderr
    assert f"nothing was written: {tmp_path / 'c.mp4'}" in result.stderr
    assert sheet.read_bytes() == b"old"
    result = run("timeline", "yellow", "--save", tmp_path / "l.png", "-m", indexed)
    assert "nothing was written" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("things", "--all", "--top", "2"), "exclude each other"),
        (("things", "talk.mp4"), "no source is called"),
        (("things", "--save", "x.svg"), "--save writes png"),
        (("things", "--min-probability", "2"), "between 0 and 1"),
        (("things", "--min-probability", ".5"), "no probability is known"),
        (("things", "--between", "2..1"), "ends before it begins"),
        (("where", "red", "--near-misses"), "give both"),
        (("where", "red", "--vtt", "x.txt"), "--vtt writes vtt"),
    ],
)
def test_what_makes_no_sense_fails(run: Run, indexed: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments, "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_near_misses_are_saved_when_asked_for(run: Run, indexed: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "n.png"
    result = run("where", "yellow", "--near-misses", "--save", sheet, "-m", indexed)
    assert result.exit_code == 1
    assert f"saved {sheet}" in result.stderr
    assert "nothing was written" not in result.stderr
    assert Image.open(sheet).width == 960


def test_one_page_with_all_sightings(run: Run, indexed: Path, tmp_path: Path) -> None:
    """Both sightings of red have a cell."""
    sheet = tmp_path / "all.png"
    assert run("where", "red", "--all", "--save", sheet, "-m", indexed).exit_code == 0
    pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1:].max(-1) < 60)
    cells = [red[:, x : x + 220].sum() for x in (16, 252, 488)]
    assert min(cells[:2]) > 500
    assert cells[2] == 0


def test_a_clip_has_a_box_around_the_thing(run: Run, indexed: Path, tmp_path: Path) -> None:
    """Red is at 112 to 144 from 8 s on, so from second 1 of the clip; the box is also drawn between indexed frames."""
    clip = tmp_path / "red.mp4"
    assert run("where", "red", "--clip", clip, "-m", indexed).exit_code == 0
    with av.open(str(clip)) as container:
        decoded = list(container.decode(video=0))
    frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24").astype(int)) for f in decoded]
    for t, pixels in frames:
        rim = pixels[44:52, 104:112].max(axis=(0, 2))  # left of the square, where the white line is
        if 1.05 < t < 3.75:
            assert rim.max() > 170, t
        if t < 0.9:
            assert rim.max() < 150, t
    assert len(frames) >= 40


def test_a_clip_of_each_and_chapters(run: Run, indexed: Path, tmp_path: Path) -> None:
    folder, vtt = tmp_path / "clips", tmp_path / "red.vtt"
    result = run("where", "red", "--clips", folder, "--vtt", vtt, "-m", indexed)
    assert result.exit_code == 0
    assert sorted(p.name for p in folder.iterdir()) == ["001-walk-0m08s.mp4", "002-walk-0m00s.mp4"]
    assert "saved 2 clips in" in result.stderr
    cues = parse(vtt.read_text("utf-8"))
    assert [(round(a, 1), round(b, 1)) for a, b, _ in cues] == [(0.0, 2.8), (8.0, 10.8)]
    assert len(result.stdout.splitlines()) == 2  # the table still tells the last one
    run("where", "red", "--top", "1", "--clips", tmp_path / "one", "-m", indexed)
    assert len(list((tmp_path / "one").iterdir())) == 1


def test_chapters_of_several_videos_are_files_of_their_own(tmp_path: Path) -> None:
    names = "a/walk.mp4", "b/walk.mp4", "a\0\n<" + "x" * 99, ".."
    seen = [Sighting(f"/v/{name}", 0, NS, 0.5, 0.5, None, 0, (0, 0, 1, 1)) for name in names]
    memory = cast(Memory, None)  # chapters need no memory
    vtt = str(tmp_path / "cup.vtt")
    assert write_clips(memory, seen[0], seen, "cup", clip=None, clips=None, vtt=vtt) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"cup.a___{'x' * 36}.vtt",
        "cup.video.vtt",
        "cup.walk-2.vtt",
        "cup.walk.vtt",
    ]


def test_what_cannot_be_written_is_told(run: Run, indexed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option, name in (("--clips", "file/x"), ("--vtt", "no/x.vtt"), ("--save", "no/x.png")):
        result = run("where", "red", option, tmp_path / name, "-m", indexed)
        assert result.exit_code == 4
        assert "vidmem" not in result.stdout
