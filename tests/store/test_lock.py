from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vidmem.errors import LockedError
from vidmem.store import Store


def test_two_writers_fail_with_the_pid(store: Store, folder: Path) -> None:
    with pytest.raises(LockedError, match=rf"process {os.getpid()} is writing.*{folder}$"):
        Store.open(folder, write=True)


def test_readers_need_no_lock(store: Store, folder: Path) -> None:
    with Store.open(folder) as one, Store.open(folder) as two:
        assert one.sources() == two.sources() == []


def test_lock_ends_with_the_store(store: Store, folder: Path) -> None:
    store.close()
    Store.open(folder, write=True).close()


def test_kernel_releases_the_lock_of_a_killed_writer(folder: Path) -> None:
    code = "import sys; from vidmem.store import Store; s = Store.open(sys.argv[1], create=True); print(1, flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}; sys.stdin.read()", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    with pytest.raises(LockedError, match=f"process {child.pid} is writing"):
        Store.open(folder, write=True)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    Store.open(folder, write=True).close()
