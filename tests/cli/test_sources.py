from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidmem.memory import Memory

from .conftest import Run


def test_ls(run: Run, indexed: Path, walk: Path) -> None:
    (row,) = json.loads(run("ls", "--json", "-m", indexed).stdout)
    assert (row["source"], row["state"], row["frames"], row["duration_ns"]) == (str(walk), "done", 60, "12000000000")
    header, line = run("ls", "-m", indexed).stdout.splitlines()
    assert header.split()[0] == "source"
    assert line.startswith(f"{walk}  done   0:12.0  160x96")
    assert run("ls", "--csv", "-m", indexed).stdout.startswith("source,kind,state,")


def test_ls_of_an_empty_memory(run: Run, tmp_path: Path) -> None:
    Memory.open(tmp_path / "m").close()
    result = run("ls", "--json", "-m", tmp_path / "m")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "holds no video yet" in result.stderr


@pytest.mark.parametrize("command", [("ls",), ("info",), ("info", "walk.mp4"), ("rm", "walk.mp4", "--yes")])
def test_no_memory_fails(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    result = run(*command)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "index a video first" in result.stderr
    assert not (tmp_path / "memory").exists()


def test_info_of_the_memory(run: Run, indexed: Path) -> None:
    row = json.loads(run("info", "--json", "-m", indexed).stdout)
    assert (row["sources"], row["frames"], row["tracks"], row["encoder"]) == (1, 60, 4, "colours")
    assert row["settings"]["fps"] == 5
    assert row["bytes_per_hour"] == pytest.approx((row["database_bytes"] + row["cache_bytes"]) * 300)
    text = run("info", "-m", indexed).stdout
    assert "encoder " in text
    assert "threshold 0.65" in text


def test_info_of_a_source(run: Run, indexed: Path, walk: Path) -> None:
    row = json.loads(run("info", "walk.mp4", "--json", "-m", indexed).stdout)
    assert (row["source"], row["tracks"], row["at_hand"]) == (str(walk), 4, True)
    assert "file present" in run("info", walk, "-m", indexed).stdout


def test_info_of_an_unknown_source_fails(run: Run, indexed: Path) -> None:
    result = run("info", "wlak.mp4", "-m", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "walk.mp4" in result.stderr


def test_rm(run: Run, copy: Path, walk: Path) -> None:
    result = run("rm", "walk.mp4", "--yes", "-m", copy)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"forgot {walk}\n")
    assert walk.exists()
    assert json.loads(run("ls", "--json", "-m", copy).stdout) == []
    assert run("where", "red", "-m", copy).exit_code == 1


def test_rm_fails_without_a_terminal_to_ask(run: Run, copy: Path) -> None:
    result = run("rm", "walk.mp4", "-m", copy)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert run("where", "red", "-m", copy).exit_code == 0


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_rm_asks(run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr("vidmem.cli.rm._can_ask", lambda: True)
    result = run("rm", "walk.mp4", "-m", copy, input=answer)
    assert result.exit_code == code
    assert "Forget" not in result.stdout
    assert run("where", "red", "-m", copy).exit_code == 1 - code


def test_rm_fails_before_anything_is_removed(run: Run, copy: Path) -> None:
    assert run("rm", "walk.mp4", "other.mp4", "--yes", "-m", copy).exit_code == 2
    assert run("where", "red", "-m", copy).exit_code == 0
