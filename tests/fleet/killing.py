"""Kill a process at its n-th step: the n-th file that it opens, renames, deletes, makes or lists."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

STEPS = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.scandir",
    "sqlite3.connect",
    "shutil.rmtree",
    "os.utime",
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    ["fleet.killing", "vidmem.fleet.sealing", "vidmem.fleet.storage", "vidmem.fleet.shards", "s3fs"]
)


def _child(act: Callable[..., None], args: tuple[Any, ...], last: int, count: Any, environment: dict[str, str]) -> None:
    import vidmem.fleet.bounds
    import vidmem.fleet.sealing  # noqa: F401  what is imported later would count as steps

    os.environ.update(environment)  # the server that forks may be older than that
    seen = 0

    def hook(event: str, details: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in STEPS:
            seen += 1
            count.value = seen
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    act(*args)


def killed_at(last: int, act: Callable[..., None], *args: Any) -> bool:
    """Run `act` in a process that is killed at its step `last`; False if it ended before."""
    return _run(last, act, *args)[0]


def steps(act: Callable[..., None], *args: Any, most: int = 20) -> list[int]:
    """Run `act` to its end; return up to `most` of its steps, spread over it, and the last ones."""
    killed, n = _run(0, act, *args)
    assert not killed
    assert n > 5
    spread = [1 + i * n // (most - 4) for i in range(most - 4)]
    return sorted({step for step in (*spread, *range(n - 3, n + 1)) if 0 < step <= n})


def _run(last: int, act: Callable[..., None], *args: Any) -> tuple[bool, int]:
    count = _server.Value("q", 0)
    process = _server.Process(target=_child, args=(act, args, last, count, dict(os.environ)))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0, int(count.value)
