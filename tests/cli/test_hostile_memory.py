"""Commands on a memory that vidmem did not write fail with one line, and not as a bug."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from vidmem.store import Store

from .conftest import Run

NAME = "/v/a\x1b[31mred\x07\r\n\x9b0m\u202e\u2028b\u202fc \U0001f600.mp4"
TOLD = "/v/a\\x1b[31mred\\x07\\r\\n\\x9b0m\\u202e\\u2028b\u202fc \U0001f600.mp4"
"""Control characters are escaped; unusual spaces and emoji stay, so that a path in CSV can be opened."""

COMMANDS: list[list[str]] = [
    ["ls"],
    ["info"],
    ["info", "walk.mp4"],
    ["where", "red"],
    ["where", "red", "--all", "--json"],
    ["where", "--crop", "walk.mp4@9s:150,10,20,20"],
    ["timeline", "red"],
    ["things"],
    ["forget", "--before", "2s", "--source", "walk.mp4", "--dry-run"],
    ["forget", "--before", "2020-01-01", "-y"],
]


def alter(folder: Path, sql: str, *values: Any) -> None:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute(sql, values)
    conn.close()


@pytest.mark.parametrize("command", [["ls", "--csv"], ["where", "red", "--csv"]])
def test_csv_has_no_control_characters(run: Run, copy: Path, command: list[str]) -> None:
    alter(copy, "UPDATE sources SET uri = ?", NAME)
    out = run(*command, "-m", copy).stdout
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["source"] == TOLD
    assert not any(c < " " and c != "\n" for c in out)


def test_json_has_names_as_they_are(run: Run, copy: Path) -> None:
    alter(copy, "UPDATE sources SET uri = ?", NAME)
    out = run("ls", "--json", "-m", copy).stdout
    assert json.loads(out)[0]["source"] == NAME
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE sources SET added_at = 'word', state = 'dreaming'",
        "UPDATE sources SET state = 'dreaming'",
        "UPDATE sources SET kind = 'hologram'",
        "UPDATE sources SET kind = 'picture'",
        "UPDATE sources SET uri = x'ff'",
        "UPDATE sources SET width = 2000000000, height = 2000000000",
        "UPDATE tracks SET start_ns = 'word'",
        "UPDATE tracks SET best_ns = 'word', y1 = 'word'",
        "UPDATE tracks SET x0 = 9e999",
        "UPDATE tracks SET text_confidence = 'word'",
        "UPDATE tracks SET visual = 5",
        "UPDATE tracks SET visual = zeroblob(length(visual)), text = zeroblob(length(text))",
        "UPDATE regions SET blob = 'word'",
        "UPDATE meta SET value = 'word'",
        "UPDATE meta SET value = printf('%.400c', '9')",
        "UPDATE model SET config = printf('%.100000c', '[')",
        'UPDATE model SET config = \'{"fps": "x"}\'',
        "INSERT INTO meta VALUES ('fitted', printf('%.100000c', '['))",
        "CREATE TRIGGER t AFTER UPDATE ON sources BEGIN DELETE FROM tracks; END",
    ],
)
def test_damage_is_no_bug(run: Run, copy: Path, sql: str) -> None:
    alter(copy, sql)
    codes = []
    for command in COMMANDS:
        result = run(*command, "-m", copy)
        codes.append(result.exit_code)
        assert result.exit_code in (0, 1, 2, 4), (command, result.stderr)
        assert result.exit_code != 4 or "damaged" in result.stderr, result.stderr
        assert "\x1b" not in result.stdout + result.stderr
    assert any(codes), sql


@pytest.mark.parametrize(
    "command",
    [
        ["where", "red"],
        ["ls"],
        ["rm", "walk.mp4", "--yes"],
        ["compact"],
        ["recorded", "walk.mp4", "2026-01-01"],
        ["forget", "--source", "walk.mp4", "-y"],
    ],
)
@pytest.mark.parametrize("name", ["memory.sqlite", "lock", "cache.lock", "cache"])
def test_links_lead_nowhere(run: Run, copy: Path, tmp_path: Path, name: str, command: list[str]) -> None:
    theirs = Path(shutil.copytree(copy, tmp_path / "theirs"))
    (theirs / "cache" / "work.tmp").write_text("precious")
    (theirs / "lock").write_text("precious")
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    if (copy / name).is_dir():
        shutil.rmtree(copy / name)
    else:
        (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to(theirs / name)
    result = run(*command, "-m", copy)
    assert (result.exit_code, result.stdout) == (4, "")
    assert f"holds a link in place of a {'folder' if name == 'cache' else 'file'} ({name})" in result.stderr
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before


def test_a_pipe_is_not_waited_for(run: Run, copy: Path) -> None:
    (copy / "memory.sqlite").unlink()
    os.mkfifo(copy / "memory.sqlite")
    result = run("where", "red", "-m", copy)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "a pipe or a device" in result.stderr


def test_a_crop_of_a_thing_without_tokens_says_so(run: Run, copy: Path) -> None:
    alter(copy, "UPDATE tracks SET visual = zeroblob(length(visual)), crc = NULL")
    with Store.open(copy) as store:
        track = store.source_tracks(1)[0]
    x0, y0, x1, y1 = (round(v) for v in track.best_box)
    crop = f"walk.mp4@{track.best_ns}ns:{x0},{y0},{x1 - x0},{y1 - y0}"
    result = run("where", "--crop", crop, "-m", copy)
    assert (result.exit_code, "no vector to compare with" in result.stderr) == (2, True), result.stderr


def test_a_schema_that_is_no_text(run: Run, copy: Path) -> None:
    """SQLite repeats a piece of it in its message, which Python then cannot decode."""
    file = copy / "memory.sqlite"
    data = file.read_bytes()
    place = data.index(b"CREATE TABLE")
    file.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
    for command in COMMANDS:
        result = run(*command, "-m", copy)
        assert result.exit_code == 4, (command, result.stderr)
        assert "the memory is damaged" in result.stderr


def test_tracks_without_the_model_that_made_them(run: Run, copy: Path) -> None:
    """Without it, a question would be asked with an encoder whose vectors have another length."""
    alter(copy, "DELETE FROM model")
    for command in COMMANDS:
        result = run(*command, "-m", copy)
        assert result.exit_code in (0, 1, 2, 4), (command, result.stderr)
    assert "tracks without the model that made them" in run("where", "red", "-m", copy).stderr
