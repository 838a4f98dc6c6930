"""Targets with faults of every kind, which tell whether the fuzzer finds them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from vidmem.errors import MediaError

from ..mutate import binary
from ..target import Broken, Ready, Target

KEPT: list[bytes] = []


def _once(seed: bytes, fault: Callable[[], object]) -> Callable[[Path], Ready]:
    """A reader that takes one input and has the fault with another."""

    def prepare(_: Path) -> Ready:
        def run(data: bytes) -> None:
            if data == seed:
                fault()
            if data == b"refused":
                raise MediaError("refused")

        return Ready(run, [b"sound", b"refused", seed])

    return prepare


def _wrong_error() -> None:
    raise KeyError("name")


def _loop() -> None:
    while True:
        pass


def _much_memory() -> None:
    KEPT.append(b"x" * (200 << 20))


def _too_much_memory() -> None:
    KEPT.append(bytes(8 << 30))


def _said_wrong() -> None:
    raise Broken("exit 70")


def _target(name: str, fault: Callable[[], object]) -> Target:
    return Target(f"broken-{name}", _once(b"bad " + name.encode(), fault), binary(), seconds=1, megabytes=64)


TARGETS = [
    _target("exception", _wrong_error),
    _target("loop", _loop),
    _target("wait", lambda: time.sleep(1000)),
    _target("signal", lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    _target("exit", lambda: os._exit(3)),
    _target("memory", _much_memory),
    _target("too-much-memory", _too_much_memory),
    _target("said-wrong", _said_wrong),
]
