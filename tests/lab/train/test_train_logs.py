"""The log of any training, and what an interruption says."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from lab.train import checkpoint
from lab.train.commanding import resumable
from lab.train.logs import FILE, Log, read
from vidmem.errors import MediaError, ModelError

ROWS = b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'


@pytest.mark.parametrize("tail", [b"", b'{"step": 3, "lo', b"\xff\xfe", b"\0\0\0"])
def test_a_tail_that_a_crash_cut_short_is_left_out(tmp_path: Path, tail: bytes) -> None:
    (tmp_path / FILE).write_bytes(ROWS + tail)
    assert [row["step"] for row in read(tmp_path / FILE)] == [1, 2]
    with Log(tmp_path, 2, tensorboard=False) as log:
        log.write(3, {"loss": 0.5})
    assert [row["step"] for row in read(tmp_path / FILE)] == [1, 2, 3]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[1]", b'{"loss": 1}', b'{"step": "1"}', b"{", b""])
def test_a_damaged_line_is_named_and_nothing_is_lost(tmp_path: Path, line: bytes) -> None:
    held = ROWS + line + b"\n" + ROWS
    (tmp_path / FILE).write_bytes(held)
    with pytest.raises(ModelError, match=r"the log is damaged in line 3; mend it, or remove it .*log\.jsonl$"):
        Log(tmp_path, 2, tensorboard=False)
    assert (tmp_path / FILE).read_bytes() == held


def test_a_folder_in_the_place_of_the_log(tmp_path: Path) -> None:
    assert read(tmp_path / FILE) == []
    (tmp_path / FILE).mkdir()
    with pytest.raises(ModelError, match="the log cannot be read"):
        Log(tmp_path, 1, tensorboard=False)
    with pytest.raises(MediaError, match="the log cannot be written"):
        Log(tmp_path, 0, tensorboard=False)


def test_an_interruption_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for said in ("before the first checkpoint; to start again choose another folder", "with --resume"):
        with pytest.raises(typer.Exit) as stopped, resumable(tmp_path):
            raise KeyboardInterrupt
        assert stopped.value.exit_code == 130
        assert said in capsys.readouterr().err
        (tmp_path / checkpoint.FILE).write_bytes(b"")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match=r"the training cannot be written \(Read-only file system\)"),
        resumable(tmp_path),
    ):
        raise OSError(30, "Read-only file system")
