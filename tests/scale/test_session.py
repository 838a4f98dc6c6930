from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from vidmem.scale.session import session_folder

_HOLD = """
import sys, time
from pathlib import Path
from vidmem.scale.session import session_folder
with session_folder(Path(sys.argv[1])):
    print("there", flush=True)
    time.sleep(60)
"""


def test_the_folder_ends_with_its_block(tmp_path: Path) -> None:
    with session_folder(tmp_path) as folder:
        (Path(folder) / "session").mkdir()
        assert os.listdir(tmp_path) == [os.path.basename(folder)]
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_deleted_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    (tmp_path / "vidmem-ray-of-something-else").mkdir()
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"there\n"
            (held,) = [name for name in os.listdir(tmp_path) if "else" not in name]
            with session_folder(tmp_path):
                assert held in os.listdir(tmp_path)
        finally:
            os.kill(other.pid, signal.SIGKILL)
    assert held in os.listdir(tmp_path)
    with session_folder(tmp_path) as folder:
        assert sorted(os.listdir(tmp_path)) == sorted(["vidmem-ray-of-something-else", os.path.basename(folder)])
