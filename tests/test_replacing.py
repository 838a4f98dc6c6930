"""Files that replace others when they are whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidmem.replacing import replacing

KILLED = """
import os, signal, sys
from vidmem.replacing import replacing
with replacing(sys.argv[1]) as part:
    open(part, "w").write("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.part.png", "a.png"]
    with replacing(path) as part:
        Path(part).write_text("new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.png", "new")]


def test_two_may_write_one_file_and_the_last_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with replacing(path) as first:
        Path(first).write_text("first")
        with replacing(path) as second:
            assert second != first
            Path(second).write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_error_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as part:
            Path(part).write_text("half")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "precious"
    other.write_text("mine")
    (tmp_path / "a.part.txt").symlink_to(other)
    with replacing(path) as part:
        Path(part).write_text("new")
    assert (path.read_text(), other.read_text()) == ("new", "mine")


def test_what_is_no_file_is_written_directly_and_its_errors_are_told(tmp_path: Path) -> None:
    with replacing(os.devnull) as part:
        assert part == os.devnull
    with pytest.raises(OSError, match="closed"), replacing(os.devnull):
        raise OSError("closed")
