"""What commands share: width of tables, --quiet and --verbose, --open, completion, and hints for mistyped names."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vidmem.cli import messages, sources
from vidmem.cli.commands import SYNONYMS
from vidmem.cli.output import terminal_width

from .conftest import Run

LONG = "a_rather_long_name_of_a_walk_through_the_house.mp4"


@pytest.fixture
def long(walk: Path, tmp_path: Path, run: Run) -> Path:
    """A memory of a video with a long path."""
    folder = tmp_path / "videos" / "of" / "the" / "house"
    folder.mkdir(parents=True)
    shutil.copy(walk, folder / LONG)
    assert run("index", folder, "--encoder", "colours", "-m", tmp_path / "m").exit_code == 0
    return tmp_path / "m"


def test_tables_fit_the_terminal(run: Run, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("ls", "-m", long).stdout
    assert f"/house/{LONG}" in whole
    for columns in ("120", "80", "60"):
        monkeypatch.setenv("COLUMNS", columns)
        for command in (("ls",), ("where", "red", "--all"), ("info",), ("info", LONG), ("models",), ("doctor",)):
            more = () if command == ("models",) else ("-m", long)
            lines = run(*command, *more).stdout.splitlines()
            assert max(map(len, lines)) <= int(columns), command
        assert run("ls", "--wide", "-m", long).stdout == whole
    (row,) = csv.DictReader(io.StringIO(run("where", "red", "--csv", "-m", long).stdout))
    (told,) = json.loads(run("where", "red", "--json", "-m", long).stdout)["sightings"]
    assert row["source"] == told["source"]
    assert row["source"].endswith(f"/house/{LONG}")


def test_a_name_that_a_table_has_shortened_will_do(
    run: Run, long: Path, walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walk.mp4").write_bytes(walk.read_bytes() + b"\0")  # other content
    run("index", tmp_path / "walk.mp4", "-m", long)
    for columns in ("65", "70", "75"):
        monkeypatch.setenv("COLUMNS", columns)
        shown = [line.split()[0] for line in run("ls", "-m", long).stdout.splitlines() if ".mp4" in line]
        assert "…" in "".join(shown), columns
        uris = [json.loads(run("info", name, "--json", "-m", long).stdout)["source"] for name in shown]
        assert [Path(uri).name for uri in uris] == [LONG, "walk.mp4"]
    result = run("info", "x…walk.mp4", "-m", long)
    assert (result.exit_code, "no source is called" in result.stderr) == (2, True)
    result = run("info", "…", "-m", long)
    assert (result.exit_code, "2 sources are called" in result.stderr) == (2, True)


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() is None  # a pipe
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((97, 20)))
    assert terminal_width() == 97
    monkeypatch.setenv("COLUMNS", "66")
    assert terminal_width() == 66


@pytest.mark.parametrize("place", ["before", "behind"])
def test_quiet_and_verbose(run: Run, indexed: Path, tmp_path: Path, place: str) -> None:
    def told(option: str, *command: object) -> str:
        return str((run(option, *command) if place == "before" else run(*command, option)).stderr)

    missed = ("where", "cyan", "-m", indexed)
    assert "not found" in run(*missed).stderr
    assert "it took" not in run(*missed).stderr
    assert told("-q", *missed) == told("--quiet", *missed) == ""
    for option in ("-v", "--verbose"):
        text = told(option, *missed)
        assert f"memory, opened for reading: {indexed}" in text
        assert "text side of `colours` loaded in 0." in text
        assert "vectors of 4 tracks" in text
        assert "not found" in text
        assert text.splitlines()[-1].startswith("it took ")
    assert "not found" in run(*missed).stderr  # nothing is left of it
    both = run("-q", *missed, "-v")
    assert (both.exit_code, both.stderr) == (2, "vidmem: --quiet and --verbose exclude each other; give one of them\n")
    assert told("-q", "ls", "-m", tmp_path / "none").startswith("vidmem: there is no memory here")


def test_quiet_keeps_what_changes_the_meaning(run: Run, copy: Path, walk: Path, tmp_path: Path) -> None:
    result = run("-q", "index", tmp_path / "gone.mp4", walk, "-m", copy)
    assert result.exit_code == 3
    assert result.stderr.startswith("vidmem: no such file")
    assert result.stderr.count("\n") == 1
    assert run("recorded", walk, "none", "-m", copy).exit_code == 0
    undated = run("where", "red", "-q", "-m", copy, "--after", "2d")
    assert (undated.exit_code, undated.stderr.count("\n")) == (2, 1)


def test_what_the_library_logs_is_said(run: Run, indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger, open_store = logging.getLogger("vidmem.store"), sources.open_store

    def warning(*args: Any, **more: Any) -> Any:
        logger.warning("a reader is in the way of %s", "the scrub")
        logger.info("by the way")
        return open_store(*args, **more)

    monkeypatch.setattr("vidmem.cli.ls.open_store", warning)
    way = "a reader is in the way of the scrub"
    for options, wanted in (((), [way]), (("-q",), [way]), (("-v",), [way, "by the way"])):
        lines = run("ls", *options, "-m", indexed).stderr.splitlines()
        assert [line for line in lines if "way" in line] == wanted


def test_quiet_has_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert messages.shows_progress()
    messages.set_loudness(quiet=True)
    try:
        assert not messages.shows_progress()
    finally:
        messages.set_loudness()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("search", "where"),
        ("find", "where"),
        ("query", "where"),
        ("ask", "where"),
        ("locate", "where"),
        ("Search", "where"),
        ("serch", "where"),
        ("wehre", "where"),
        ("list", "ls"),
        ("add", "index"),
        ("import", "index"),
        ("delete", "rm"),
        ("remove", "rm"),
        ("status", "info"),
        ("timelin", "timeline"),
        ("help", "--help"),
    ],
)
def test_other_names_of_commands(run: Run, said: str, meant: str) -> None:
    result = run(said, "my", "keys")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"vidmem: there is no command {said!r}; did you mean `vidmem {meant}`?\n"


def test_a_name_that_nothing_is_called(run: Run) -> None:
    result = run("xyzzy")
    assert (result.exit_code, result.stderr) == (2, "vidmem: there is no command 'xyzzy'; `vidmem --help` lists them\n")


def test_no_other_name_hides_a_command() -> None:
    others = [name for names in SYNONYMS.values() for name in names.split()]
    assert len(others) == len(set(others))
    assert not {"where", "index", "ls", "rm", "info", "watch", "parse"} & set(others)


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which a fake viewer writes the paths that it opens."""
    folder, opened = tmp_path / "bin", tmp_path / "opened"
    folder.mkdir()
    for name in ("xdg-open", "open"):
        path = folder / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{opened}"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return opened


def opened(viewer: Path, count: int) -> list[Path]:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        lines = viewer.read_text().splitlines() if viewer.exists() else []
        if len(lines) >= count:
            return [Path(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError(f"{count} files should be open by now")


def test_open_what_was_saved(run: Run, indexed: Path, tmp_path: Path, viewer: Path) -> None:
    sheet, clip = tmp_path / "a sheet; rm x.png", tmp_path / "c.mp4"
    assert run("where", "red", "--save", sheet, "--clip", clip, "--open", "-m", indexed).exit_code == 0
    assert sorted(opened(viewer, 2)) == sorted([sheet, clip])


@pytest.mark.parametrize("command", [("where", "red"), ("timeline", "red"), ("parse", "walk.mp4", "--labels", "coco")])
def test_open_without_a_name(run: Run, indexed: Path, tmp_path: Path, viewer: Path, command: tuple[str, ...]) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red\ngreen\n")
    arguments = [str(names) if a == "coco" else a for a in command]
    result = run(*arguments, "--open", "-m", indexed)
    assert result.exit_code == 0
    (path,) = opened(viewer, 1)
    assert path.parent.parent == tmp_path
    assert path.name == f"{command[0]}.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert f"saved {path}" in result.stderr


def test_what_was_not_written_is_not_opened(run: Run, indexed: Path, tmp_path: Path, viewer: Path) -> None:
    old = tmp_path / "old.png"
    old.write_bytes(b"old")
    for options in (("--save", old), ()):
        assert run("where", "cyan", *options, "--open", "-m", indexed).exit_code == 1
    assert run("where", "teapot", "--open", "-m", indexed).exit_code == 2
    assert not viewer.exists()
    assert not list(tmp_path.glob("vidmem-*"))


def test_no_viewer_is_said(run: Run, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sheet = tmp_path / "sheet.png"
    result = run("where", "red", "--save", sheet, "--open", "-m", indexed)
    assert result.exit_code == 0
    assert f"there is no viewer here (xdg-open is missing); open it yourself: {sheet}" in result.stderr
    broken = tmp_path / "xdg-open"
    broken.write_bytes(b"\0")
    broken.chmod(0o755)
    result = run("where", "red", "--save", sheet, "--open", "-m", indexed)
    assert (result.exit_code, "the viewer cannot be started" in result.stderr) == (0, True)


def tab(line: str, shell: str = "bash", **environment: str) -> list[str]:
    """Completions for the last word of `line`; words are separated by spaces."""
    words = line.split(" ")
    asked = {
        "_VIDMEM_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import fakes; fakes.register(); "
        "from vidmem.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | asked | environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


def test_sources_are_completed_from_the_memory_that_is_named(indexed: Path, long: Path, walk: Path) -> None:
    assert tab(f"vidmem info -m {indexed} wa") == ["walk.mp4"]
    assert tab(f"vidmem where red --memory {long} --source ") == [LONG]
    assert tab("vidmem rm ", VIDMEM_MEMORY=str(long)) == [LONG]
    assert tab(f"vidmem info -m {indexed} {walk.parent}") == [str(walk)]
    assert tab(f"vidmem info -m {indexed} x") == []
    assert f'"{LONG}"' in "".join(tab(f"vidmem info -m {long} a_", "zsh"))


def test_names_encoders_and_presets_are_completed(indexed: Path, tmp_path: Path) -> None:
    assert "tiny" in tab("vidmem index --encoder ti")
    assert tab("vidmem index --preset pap") == ["paper"]
    assert tab("vidmem models pu") == ["pull"]
    assert tab("vidmem models pull tr") == ["tren"]
    assert tab(f"vidmem where -m {indexed} ye") == ["yellow"]
    assert tab(f"vidmem where -m {indexed} --near mag") == ["magenta"]
    assert tab(f"vidmem where -m {tmp_path / 'none'} dining t") == ["table"]
    assert "stop\\ sign" in tab(f"vidmem where -m {tmp_path / 'none'} --near stop")
    assert "table" in "".join(tab(f"vidmem timeline -m {tmp_path / 'none'} dining ", "zsh"))


def test_completion_is_silent_about_what_is_wrong(tmp_path: Path, indexed: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "memory.sqlite").write_bytes(b"no database" * 99)
    assert tab(f"vidmem info -m {tmp_path / 'broken'} ") == []
    assert tab(f"vidmem info -m {tmp_path / 'none'} ") == []
    assert tab("vidmem serach zz") == []
    assert tab("vidmem where 'an open quote") == []
    assert not (tmp_path / "none").exists()


def test_no_shell_is_offered_what_it_would_run(run: Run, walk: Path, tmp_path: Path) -> None:
    for name in ("my walk.mp4", "$(touch x).mp4", "`id`.mp4", 'a"b.mp4', "a'b.mp4", "a\\b.mp4", "a;b.mp4", "<(id).mp4"):
        shutil.copy(walk, tmp_path / name)
        assert run("index", tmp_path / name, "--encoder", "colours", "--fps", "1", "-m", tmp_path / "m").exit_code == 0
    assert tab(f"vidmem info -m {tmp_path / 'm'} ") == ["my\\ walk.mp4"]
    assert tab(f"vidmem info -m {tmp_path / 'm'} ", "zsh") == ["_arguments '*: :((\"my walk.mp4\"))'"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_of_the_shells_are_there(run: Run, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    assert "_COMPLETE=complete_" + shell in run("--show-completion").stdout
