"""Faults that a command is given while it runs: by shim.c, or by limits and clocks of its process."""

from __future__ import annotations

import errno
import os
import random
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .killing import Run

ONCE, ALWAYS = 3, 4
"""Modes of shim.c: one call fails, or it and all that follow."""
FAULTS = {
    "the disk is full": (ALWAYS, errno.ENOSPC),
    "the disk is full for once": (ONCE, errno.ENOSPC),
    "the disk fails": (ALWAYS, errno.EIO),
    "the disk fails once": (ONCE, errno.EIO),
    "read-only": (ALWAYS, errno.EROFS),
}


def _few_files(rng: random.Random) -> None:
    open_now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + rng.randrange(8), open_now + 8))


def _small_files(rng: random.Random) -> None:
    size = rng.randrange(1, 200_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _clock(rng: random.Random) -> None:
    day, now, now_ns = 86_400, time.time, time.time_ns
    jump = [0]

    def later() -> int:
        jump[0] += rng.choice((-day, 0, day))
        return jump[0]

    time.time = lambda: now() + later()
    time.time_ns = lambda: now_ns() + later() * 10**9


def _impatient(_rng: random.Random) -> None:
    from vidmem.store import database

    database.BUSY_SECONDS = 0.1


def _nobody_reads(_rng: random.Random) -> None:
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)


SETUPS: dict[str, Callable[[random.Random], None]] = {
    "too many open files": _few_files,
    "files may not grow": _small_files,
    "the clock jumps": _clock,
    "SQLite is busy": _impatient,
    "nobody reads the output": _nobody_reads,
}


@contextmanager
def held(run: Run, name: str) -> Iterator[None]:
    """Another process that holds the database, for that fault."""
    path = run.memory / "memory.sqlite"
    if name != "SQLite is busy" or not path.exists():
        yield
        return
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")
    finally:
        conn.close()
