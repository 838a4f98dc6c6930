"""Files of weights that are being written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vidmem.encoders.hub import write_atomically
from vidmem.encoders.partial import new_part


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    code = (
        "import os, signal, sys; from pathlib import Path; from vidmem.encoders.partial import new_part; "
        "new_part(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)])
    assert len(list(tmp_path.iterdir())) == 1
    write_atomically(path, b"all")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("weights.bin", b"all")]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    other = tmp_path / f"weights.bin.{os.getppid()}-abc.part"
    own, strange = Path(new_part(path)), tmp_path / "weights.bin.mine.part"
    other.touch()
    strange.touch()
    assert Path(new_part(path)) != own
    assert {other, own, strange} <= set(tmp_path.iterdir())
