"""Bad questions fail with one line that says what to do, never with a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import fakes
import pytest

from .conftest import Run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no label; write one name a line"),
        ("# nothing\n\n", "there is no label"),
        ("red\nred\n", "'red' is there twice"),
        ("\n".join(f"red {i}" for i in range(5001)), "5001 labels are too many"),
        ("красный\nred\n", "cannot read 'красный'"),
        ("赤\nأحمر\n", "cannot read '赤', 'أحمر'"),
        ("red\tplant\n", "is not a name, or a name, a tab and thing or stuff"),
    ],
)
@pytest.mark.parametrize("command", ["parse", "watch-list"])
def test_bad_lists_fail(run: Run, indexed: Path, tmp_path: Path, command: str, text: str, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text, "utf-8")
    arguments = ("walk.mp4", "--labels", path) if command == "parse" else (path,)
    result = run(command, *arguments, "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr) < 500


def test_5000_names(run: Run, indexed: Path, tmp_path: Path) -> None:
    """The largest list that is allowed; all names are answered, in order."""
    names = [f"{fakes.NAMES[i % 8]} {i}" for i in range(5000)]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    result = run("watch-list", path, "--csv", "-m", indexed)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == names
    assert sum(line.split(",")[1] == "True" for line in lines) == 5000 * 3 // 8  # red, green and blue are there
    result = run("parse", "walk.mp4", "--labels", path, "--csv", "-m", indexed)
    assert result.exit_code == 0
    assert {line.split(",")[0] for line in result.stdout.splitlines()[1:]} <= set(names)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("99999999999999999999", "longer than any video"),
        ("1e9", "is not a time"),
        ("-5", "is not a time"),
        ("9999999999d", "too far away"),
        ("0001-01-01", "; write 12.5s or"),
        ("2026-02-31", "is not a date"),
        ("25:99", "is not a time"),
        ("", "is not a time"),
        ("завтра", "is not a time"),
    ],
)
@pytest.mark.parametrize("command", ["where", "timeline"])
def test_absurd_times_fail(run: Run, indexed: Path, command: str, time: str, message: str) -> None:
    result = run(command, "red", f"--after={time}", "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize("text", ["красный", "赤", "أحمر", "🔴", "   ", "\u202e", "red" * 1000, "\x00"])
@pytest.mark.parametrize("command", ["where", "timeline"])
def test_text_that_cannot_be_read_fails(run: Run, indexed: Path, command: str, text: str) -> None:
    result = run(command, text, "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


def test_text_of_another_script_to_the_encoder_that_ships() -> None:
    from vidmem.encoders import load_text
    from vidmem.errors import UsageError

    text = load_text("tiny")
    for phrase in ("красный мяч", "赤いボール", "كرة حمراء", "red мяч"):
        with pytest.raises(UsageError, match=r"reads English"):
            text.encode_text([phrase])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("parse", "talk.mp4", "--labels", "coco"), "no source is called 'talk.mp4'"),
        (("parse", "walk.mp4", "--labels", "cocoo"), "give a text file or vspw, ade20k, coco"),
        (("export", "--out", "x", "--vspw", "nowhere"), "is not VSPW's layout"),
        (("export", "--out", "x", "--format", "coco"), "--format is text4seg"),
    ],
)
def test_unknown_names_fail(run: Run, indexed: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments, "-m", indexed)
    assert result.exit_code in (2, 4)
    assert message in result.stderr


@pytest.mark.parametrize("thing", ["pipe", "zero", "loop", "folder", "deep.json", "huge.json", "cells.csv", "bytes"])
@pytest.mark.parametrize(
    "command",
    [
        ("parse", "walk.mp4", "--labels"),
        ("watch-list",),
        ("calibrate",),
        ("eval", "haystack", "FILE", ".", "--encoder", "colours", "--out", "new"),
        ("eval", "supermemory", "FILE", ".", "--encoder", "colours", "--out", "new"),
        ("export", "--out", "new", "--coco"),
        ("export", "--out", "new", "--refcoco"),
        ("read-answer",),
        ("eval", "vq2d", "FILE", ".", "--encoder", "colours", "--out", "new"),
    ],
)
def test_files_that_never_end_or_are_too_deep_fail(
    run: Run, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], thing: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    for name, target in (("zero", "/dev/zero"), ("loop", "loop")):
        os.symlink(target, name)
    os.mkdir("folder")
    for name, content in (
        ("deep.json", "[" * 100_000),
        ("huge.json", "9" * 5000),
        ("cells.csv", '"' + "x" * 200_000 + '",walk.mp4,1-2'),
        ("bytes", "\udcff\udcfe\0"),
    ):
        Path(name).write_bytes(content.encode("utf-8", "surrogateescape"))
    memory = () if command[0] in ("read-answer", "eval") else ("-m", copy)
    words = [thing if word == "FILE" else word for word in (*command, "FILE")][: len(command) + ("FILE" not in command)]
    result = run(*words, *memory)
    assert result.exit_code in ((1, 2, 3, 4) if command[0] == "read-answer" else (2, 4)), (command, result.stderr)
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 1500


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "vspw", "x" * 300, "--encoder", "colours", "--out", "new"),
        ("parse", "walk.mp4", "--labels", "x" * 300),
        ("where", "red", "--image", "x" * 300),
        ("index", "x" * 300 + ".mp4"),
    ],
)
def test_names_that_no_file_can_have_fail(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*command)
    assert result.exit_code in (2, 4), result.stderr
    assert "a bug" not in result.stderr


@pytest.mark.parametrize("score", ["1e308", "-1e308", "nan", "inf", "9" * 400])
def test_absurd_thresholds_fail(run: Run, indexed: Path, score: str) -> None:
    result = run("where", "red", f"--threshold={score}", "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--threshold is a score" in result.stderr
