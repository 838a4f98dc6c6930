"""Filters of `vidmem where`, `vidmem timeline` and `vidmem watch-list`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Run


def spans(run: Run, memory: Path, *args: object) -> list[tuple[float, float]]:
    result = run("where", *args, "--all", "--json", "-m", memory)
    return [(round(s["start_s"], 1), round(s["end_s"], 1)) for s in json.loads(result.stdout)["sightings"]]


def test_when(run: Run, indexed: Path) -> None:
    assert spans(run, indexed, "red", "--before", "5s") == [(0.0, 2.8)]
    assert spans(run, indexed, "red", "--after", "0:09") == [(9.0, 10.8)]
    assert spans(run, indexed, "red", "--between", "1..2", "--source", "walk.mp4") == [(1.0, 1.8)]
    assert spans(run, indexed, "red", "--between", "4..7") == []


def test_on_the_clock(run: Run, copy: Path) -> None:
    assert run("recorded", "walk.mp4", "none", "-m", copy).exit_code == 0
    result = run("where", "red", "--after", "1d", "-m", copy)
    assert result.exit_code == 2
    assert "no source here knows when it was recorded; set it with `vidmem recorded SOURCE WHEN`" in result.stderr
    assert run("recorded", "walk.mp4", "2023-11-14T22:13:20Z", "-m", copy).exit_code == 0
    assert spans(run, copy, "red", "--after", "2023-11-14T22:13:29Z") == [(9.0, 10.8)]
    assert spans(run, copy, "red", "--after", "1d") == []


def test_near(run: Run, indexed: Path) -> None:
    """Red is at 8 from 0 to 3 s, blue at 60 from 1 to 6 s; green at 24 from 4 to 12 s, red at 112 from 8 to 11 s."""
    assert spans(run, indexed, "red", "--near", "blue", "--within", "0") == [(1.0, 2.8)]
    assert spans(run, indexed, "red", "--near", "green", "--within", "0", "--apart", "0.5") == []
    result = run("where", "red", "--near", "green", "--within", "0", "--apart", "0.5", "-m", indexed)
    assert result.exit_code == 1
    assert "not found near green; nearest: 1.000 at" in result.stderr
    document = json.loads(run("where", "red", "--near", "blue", "--json", "-m", indexed).stdout)
    assert document["query"]["near"] == ["blue"]


def test_timeline(run: Run, indexed: Path, tmp_path: Path) -> None:
    picture = tmp_path / "t.png"
    result = run("timeline", "red", "--save", picture, "-m", indexed)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [(row[0], *row[3:5]) for row in rows] == [("1", "0:08.0", "0:10.8"), ("1", "0:00.0", "0:02.8")]
    assert re.search(r"thing 1: seen 2 times, last: ~\w+ \d\d:\d\d, 0:10.8 into walk.mp4", result.stderr)
    assert Image.open(picture).width == 960
    document: dict[str, Any] = json.loads(run("timeline", "red", "--json", "--alike", "-m", indexed).stdout)
    assert [(t["thing"], t["seen"]) for t in document["things"]] == [(1, 2)]
    rows = run("timeline", "red", "--nl", "--between", "1..9", "-m", indexed).stdout.splitlines()
    assert [json.loads(row)["end_s"] for row in rows] == pytest.approx([8.8, 2.8])


def test_timeline_of_nothing(run: Run, indexed: Path, tmp_path: Path) -> None:
    result = run("timeline", "yellow", "--json", "--save", tmp_path / "t.png", "-m", indexed)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"found": False, "things": [], "exact": True, "shards": None}
    assert not (tmp_path / "t.png").exists()


def test_watch_list(run: Run, indexed: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red\nyellow\ngreen\n")
    result = run("watch-list", names, "--json", "-m", indexed)
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert [(r["name"], r["found"], r["times"]) for r in rows] == [
        ("red", True, 2),
        ("yellow", False, 0),
        ("green", True, 1),
    ]
    assert rows[0]["start_s"] == pytest.approx(8)
    assert "2 of 3 found" in result.stderr
    assert "not found" in run("watch-list", names, "--before", "2s", "-m", indexed).stdout
    names.write_text("yellow\n")
    assert run("watch-list", names, "-m", indexed).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("where", "red", "--between", "1..2", "--after", "1"), "give either"),
        (("where", "red", "--between", "5"), "is A..B"),
        (("where", "red", "--after", "soon"), "is not a time"),
        (("where", "red", "--after", "5", "--before", "5"), "nothing lies between"),
        (("where", "red", "--source", "talk.mp4"), "no source is called"),
        (("where", "red", "--near", "gibberish"), "no colour in"),
        (("where", "red", "--near", "blue", "--apart", "-1"), "--apart is a number of 0 or more"),
        (("where", "red", "--near", "blue", "--apart", "nan"), "--apart is a number of 0 or more"),
        (("where", "red", "--near", "blue", "--within", "soon"), "is not a time"),
        (("timeline",), "ask for something"),
        (("timeline", "red", "--save", "x.svg"), "--save writes png"),
        (("timeline", "red", "--threshold", "nan"), "--threshold is a score"),
        (("watch-list", "NAMES"), "cannot read 'gibberish'"),
    ],
)
def test_what_makes_no_sense_fails(
    run: Run, indexed: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red\ngibberish\n")
    result = run(*(names if a == "NAMES" else a for a in arguments), "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
