"""What a program of ours sets for itself."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, os, threading
from vidmem.process import settle
settle()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
turn = threading.Barrier(8)
def work():
    turn.wait()
    libc.free(libc.malloc(1000))
    turn.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
libc.malloc_stats()
print(os.environ["OPENBLAS_NUM_THREADS"])
"""


def run(**more: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX")}
    return subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, text=True, check=True, env=env | more)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="wants glibc")
def test_threads_share_two_heaps() -> None:
    done = run()
    assert done.stderr.count("Arena ") == 2
    assert done.stdout.strip() == "1"


def test_what_the_user_has_set_stays() -> None:
    done = run(OPENBLAS_NUM_THREADS="3", MALLOC_ARENA_MAX="5")
    assert done.stdout.strip() == "3"
    assert done.stderr.count("Arena ") != 2
