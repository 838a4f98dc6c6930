"""Commands in processes of their own that can be killed, and what they leave: the parts of kills.py.

A process is forked from one that has imported vidmem, so that a run takes a tenth of a second.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXCLUDED = {
    "meta": {"memory", "generation", "removed"},
    "sources": {"added_at", "finished_at"},
    "tracks": {"generation"},
    "migrations": {"applied_at"},
    "standing": {"added_at"},
}
"""What two runs may differ in: times of day, a random name, and the count of changes. In `meta`: keys."""
SHIM = "VIDMEM_ATTACK_SHIM"
TIMEOUT = 120.0
PIPE_CLOSED, HANGS = 141, 999

BEFORE, AFTER = 1, 2
"""Modes of shim.c: to be killed before a call, or in the middle or just after it."""

State = dict[str, Any]
Arm = tuple[int, int, int]
"""What attack_arm of shim.c takes: a call, a mode, an errno."""


def rows(folder: Path) -> State:
    """Every row of a memory but what EXCLUDED names; {} without a database. Raises AssertionError if it is damaged."""
    path = folder / "memory.sqlite"
    if not path.exists() or not path.stat().st_size:
        return {}
    conn = sqlite3.connect(path)  # may write, to undo what was cut short
    try:
        for check in ("integrity_check", "quick_check"):
            (found,) = conn.execute(f"PRAGMA {check}").fetchone()
            assert found == "ok", f"{check}: {found}"
        out: State = {}
        for (table,) in conn.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ):
            left_out = EXCLUDED.get(table, set())
            columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})") if row[1] not in left_out]
            held = conn.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(columns)}").fetchall()
            out[table] = [row for row in held if table != "meta" or row[0] not in left_out]
        return out
    finally:
        conn.close()


def files(folder: Path) -> dict[str, str]:
    """The checksum of each file under a folder."""
    if not folder.exists():
        return {}
    held = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".sqlite", ".lock")))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in held}


def difference(got: State, want: State) -> str | None:
    """Describe the first difference of two memories; None if they are equal."""
    for table in sorted(got.keys() | want.keys()):
        a, b = got.get(table), want.get(table)
        if a is None or b is None or len(a) != len(b):
            return f"{table}: {None if a is None else len(a)} rows, not {None if b is None else len(b)}"
        for mine, theirs in zip(a, b, strict=True):
            if mine != theirs:
                odd = [(x, y) for x, y in zip(mine, theirs, strict=True) if x != y]
                return f"{table} {str(mine[0])[:40]}: {str(odd)[:300]}"
    return None


def listing(folder: Path) -> list[str]:
    """Names of the files of a memory, without SQLite's side files and the cache of vectors, which may be there."""
    if not folder.exists():
        return []
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    optional = ("memory.sqlite-wal", "memory.sqlite-shm", "cache/vectors.bin", "cache/texts.sqlite", "lock")
    return sorted(name for name in names if name not in (*optional, "cache.lock"))


@dataclass
class Ended:
    """How a process ended. code: minus the signal, if one ended it. calls: that change files."""

    code: int
    seconds: float
    calls: int
    text: str


@dataclass
class Run:
    """A place to run one command in: a memory, a folder for outputs, and the files that are indexed."""

    base: Path
    place: Path

    @property
    def memory(self) -> Path:
        return self.place / "memory"

    @property
    def out(self) -> Path:
        return self.place / "out"

    def fresh(self, command: Any) -> None:
        """Put the folders into the state before the command."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.out.mkdir(parents=True)
        if command.memory:
            shutil.copytree(self.base / "memories" / command.memory, self.memory)

    def start(
        self, command: Any, arm: tuple[int, int, int] | None = None, setup: Callable[[], None] | None = None
    ) -> int:
        """Start the command in a new process and return its number."""
        pid = os.fork()
        if pid:
            return pid
        try:
            self._child(command, arm, setup)
        finally:
            os._exit(71)

    def _child(self, command: Any, arm: Arm | None, setup: Callable[[], None] | None) -> None:
        told = os.open(self.place / "told.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        given = os.open(self.base / "world" / command.stdin if command.stdin else os.devnull, os.O_RDONLY)
        for fd, to in ((given, 0), (told, 1), (told, 2)):
            os.dup2(fd, to)
        os.chdir(self.out)
        os.environ["VIDMEM_MEMORY"] = str(self.memory)
        os.environ.pop("LD_PRELOAD", None)
        for stream in ("stdout", "stderr"):
            setattr(sys, stream, open(1 if stream == "stdout" else 2, "w", closefd=False))  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `vidmem.cli.main` has it
        calls_of = shim()
        if setup:
            setup()
        if calls_of is not None:
            calls_of.attack_arm(*(arm or (-1, BEFORE, 0)))
        code = 0
        try:
            if command.call is not None:
                command.call(self.out)
            else:
                places = {"world": self.base / "world", "out": self.out, "memory": self.memory}
                code = _invoke([text.format(**places) for text in command.args])
        except KeyboardInterrupt:  # before the command has begun
            code = 130
        except BaseException as error:
            print(f"raised {error!r}", file=sys.stderr)
            code = 72
        calls = calls_of.attack_count() if calls_of is not None else 0
        if calls_of is not None:
            calls_of.attack_arm(0, 0, 0)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            code = PIPE_CLOSED
        (self.place / "calls.txt").write_text(str(calls))
        os._exit(code)

    def wait(self, pid: int, began: float) -> Ended:
        """Wait for the end of a process. Kills it and raises AssertionError after TIMEOUT."""
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.perf_counter() - began > TIMEOUT:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return Ended(HANGS, TIMEOUT, 0, f"it hangs: {self.told()}")
            time.sleep(0.001)
        seconds = time.perf_counter() - began
        calls = self.place / "calls.txt"
        count = int(calls.read_text() or 0) if calls.exists() else 0
        calls.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), seconds, count, self.told())

    def told(self) -> str:
        """What the command has printed."""
        path = self.place / "told.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def to_end(self, command: Any, **options: Any) -> Ended:
        """Run the command to its end."""
        began = time.perf_counter()
        return self.wait(self.start(command, **options), began)


def shim() -> Any:
    path = os.environ.get(SHIM)
    if not path:
        return None
    library = ctypes.CDLL(path)
    library.attack_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
    library.attack_count.restype = ctypes.c_long
    return library


def _invoke(args: list[str]) -> int:
    from vidmem.cli import app

    try:
        app(args, prog_name="vidmem")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


@dataclass
class Baseline:
    """What an uninterrupted run of a command leaves."""

    code: int
    memory: State
    outputs: dict[str, str]
    names: list[str]
    seconds: float
    calls: int
    same: bool


def baseline(run: Run, command: Any, times: int = 2) -> Baseline:
    """Run it to its end `times` times, each time from the start."""
    taken = []
    for _ in range(times):
        run.fresh(command)
        ended = run.to_end(command)
        taken.append((rows(run.memory), files(run.out), listing(run.memory)))
    assert ended.code in (0, 1), f"{command.name} ended with {ended.code}: {ended.text[-800:]}"
    same = taken[0] == taken[-1]
    assert same or not command.equal, f"{command.name} is not the same twice: {difference(taken[0][0], taken[-1][0])}"
    return Baseline(ended.code, *taken[-1], ended.seconds, ended.calls, same)


def sound(run: Run, command: Any, base: Baseline) -> None:
    """The memory is sound, and each output is whole or not there."""
    rows(run.memory)
    if not command.equal:
        return
    for name, digest in files(run.out).items():
        if name in base.outputs and not (command.journal and name.endswith(command.journal)):
            assert digest == base.outputs[name], f"{name} is torn"


def completes(run: Run, command: Any, base: Baseline) -> None:
    """The same command completes and leaves what an uninterrupted run leaves, and no other file."""
    ended = run.to_end(command)
    if ended.code != base.code:  # all was done before the kill; it says so, as it does now
        assert ended.code == run.to_end(command).code < 70, f"the next run ended with {ended.code}: {ended.text[-600:]}"
    got = rows(run.memory)
    outputs = files(run.out)
    assert sorted(outputs) == sorted(base.outputs), f"files {sorted(outputs)}, not {sorted(base.outputs)}"
    if command.equal:
        assert (what := difference(got, base.memory)) is None, what
        assert outputs == base.outputs, [name for name in outputs if outputs[name] != base.outputs[name]]
    assert listing(run.memory) == base.names, f"in the memory {listing(run.memory)}, not {base.names}"
