"""What a program of ours sets for itself."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FREED = """
import os
from vidmem.process import settle
settle()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
for _ in range(3):
    blocks = [bytearray(10 << 20) for _ in range(20)]
    keep = bytearray(1 << 16)  # on top of them, where they are in the heap
    del blocks
    grown = resident() - before
print(os.environ["OPENBLAS_NUM_THREADS"], grown)
"""


KEPT = """
import resource
from vidmem.process import settle
settle()
def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(5 << 20) for _ in range(6)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touch()
print(sum(touch() for _ in range(5)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="wants glibc")
def test_smaller_ones_are_kept_for_the_next() -> None:
    """30 MB of them, five times over: 38,000 pages of 4 kB where they are given back."""
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2000


def run(**more: str) -> list[str]:
    own = ("OPENBLAS_NUM_THREADS", "MALLOC_MMAP_THRESHOLD_")
    env = {k: v for k, v in os.environ.items() if k not in own} | more
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True, env=env)
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="wants glibc")
def test_large_blocks_are_given_back() -> None:
    threads, grown = run()
    assert threads == "1"
    assert int(grown) < 20 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="wants glibc")
def test_what_the_user_has_set_stays() -> None:
    threads, grown = run(OPENBLAS_NUM_THREADS="3", MALLOC_MMAP_THRESHOLD_="33554432")
    assert threads == "3"
    assert int(grown) > 20 << 20
