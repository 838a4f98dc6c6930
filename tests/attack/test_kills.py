"""A few kills of every command that writes. The long run, with faults and signals, is `make attack`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from .killing import Baseline, Run, difference, rows, sound
from .kills import table

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_killed_command_leaves_a_sound_memory_and_the_next_run_completes(tmp_path: Path) -> None:
    out = tmp_path / "kills.json"
    command = [sys.executable, "-m", "tests.attack.kills", "--out", str(out), "--kills", "41", "--short"]
    done = subprocess.run([*command, "--seed", "1"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(out.read_text())
    assert result["wrong"] == 0
    assert result["kills"] >= 38
    assert len(result["commands"]) >= 40
    assert "| all |" in out.with_suffix(".md").read_text()


@pytest.mark.slow
def test_a_fault_or_signal_ends_with_a_message_and_nothing_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    command = [sys.executable, "-m", "tests.attack.kills", "--out", str(out), "--kills", "1", "--only", "index photos"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    (row,) = json.loads(out.read_text())["commands"].values()
    assert (row["faults"], row["signals"], row["wrong"]) == (10, 2, [])


def test_a_torn_file_a_lost_row_and_a_file_left_behind_are_noticed(tmp_path: Path) -> None:
    run = Run(tmp_path, tmp_path / "run")
    nothing = SimpleNamespace(memory="", stdin=None, call=None, args=(), equal=True, name="nothing", journal="")
    run.fresh(nothing)
    (run.out / "a.png").write_bytes(b"half")
    base = Baseline(0, {}, {"a.png": "another checksum"}, [], 0.1, 1, True)
    with pytest.raises(AssertionError, match=r"a\.png is torn"):
        sound(run, nothing, base)
    assert difference({"tracks": [(1,)]}, {"tracks": [(1,), (2,)]}) == "tracks: 1 rows, not 2"
    assert difference({"tracks": [(1,)]}, {"tracks": [(2,)]}) == "tracks 1: [(1, 2)]"
    assert difference({"tracks": [(1,)]}, {"tracks": [(1,)]}) is None
    assert rows(run.memory) == {}
    run.memory.mkdir()
    (run.memory / "memory.sqlite").write_bytes(b"no database, but long enough to be one" * 100)
    with pytest.raises(Exception, match="not a database"):
        rows(run.memory)


def test_the_table_has_a_row_for_each_command() -> None:
    row = {"calls": 9, "kills": 3, "faults": 2, "signals": 1, "wrong": ["x"]}
    result = {"kills": 3, "faults": 2, "signals": 1, "wrong": 1, "commands": {"rm": row}}
    assert "| rm | 9 | 3 | 2 | 1 | 1 |" in table(result)
