"""Threads and processes that ask while others write a memory; every answer must be of one committed state.

`rehearse` runs a script of writes once and takes the right answers after each commit. `attack` runs it again while
others ask. An answer is right if it is, to the last bit, that of a state that was current at some moment between the
start and the end of the question. Anything else is a mix of states, or a state that was over.
"""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from encoders import fake

from vidmem import Memory
from vidmem.encoders import registry
from vidmem.errors import StoreError, VidmemError

from .world import Question, Step, World

TESTS = Path(__file__).resolve().parents[1]


def told(ask: Question, memory: Memory) -> str:
    """An answer, or an error that says why there is none, as text in which every bit counts."""
    try:
        return _text(ask(memory))
    except VidmemError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # a bug, which no state has
        return f"crashed with {error!r}"


def _text(value: object) -> str:
    """All fields in full: the `repr` of an answer is for people. The album is left out, since it names the folder."""
    if isinstance(value, float | np.floating):
        return float(value).hex()
    if is_dataclass(value):
        held = [f"{one.name}={_text(getattr(value, one.name))}" for one in fields(value) if one.name != "album"]
        return f"{type(value).__name__}({', '.join(held)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value)


class _Watched(sqlite3.Connection):
    """A connection that tells of its commits: `on_commit(ns before, ns after)`."""

    on_commit: Callable[[int, int], None] | None = None

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql != "COMMIT" or _Watched.on_commit is None:
            return super().execute(sql, *parameters)
        before = time.monotonic_ns()
        cursor = super().execute(sql, *parameters)
        _Watched.on_commit(before, time.monotonic_ns())
        return cursor


@contextlib.contextmanager
def commits(on_commit: Callable[[int, int], None]) -> Iterator[None]:
    """Call `on_commit` around every transaction of writers that are opened in the block."""
    connect = sqlite3.connect

    def watched(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        if "mode=rwc" in str(database):
            options["factory"] = _Watched
        return connect(database, *args, **options)

    with mock.patch("vidmem.store.database.sqlite3.connect", watched):
        _Watched.on_commit = on_commit
        try:
            yield
        finally:
            _Watched.on_commit = None


@contextlib.contextmanager
def _memory(folder: Path, **options: Any) -> Iterator[Memory]:
    with registry.registered(fake.SPEC), Memory.open(folder, **options) as m:
        yield m


def rehearse(world: World, folder: Path, *, short: bool = False) -> list[dict[str, str]]:
    """The right answers to all questions, at first and after each commit of the script."""
    states: list[dict[str, str]] = []

    def take(_before: int = 0, _after: int = 0) -> None:
        with Memory.open(folder, read_only=True) as m:
            states.append({name: told(ask, m) for name, ask in world.questions.items()})

    _begin(world, folder)
    with registry.registered(fake.SPEC):
        take()
        with commits(take), Memory.open(folder) as m:
            for step in world.script(short):
                step(m)
    return states


def _begin(world: World, folder: Path) -> None:
    with _memory(folder, encoder="fake:look") as m:
        for step in world.before:
            step(m)


@dataclass
class Result:
    """questions: how many were asked. wrong: those with an answer of no state that was current, and the answer. errors:
    those of them that are errors. commits: how many there were."""

    questions: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    errors: int = 0
    commits: int = 0
    seconds: float = 0.0


Asked = tuple[str, int, int, str]
"""Name, ns at the start and at the end, answer."""


def ask_on(world: World, memory: Memory, seed: int, stop: Callable[[], bool]) -> list[Asked]:
    """Ask questions at random until `stop` says so."""
    rng, questions, asked = random.Random(seed), list(world.questions.items()), []
    while not stop():
        name, question = rng.choice(questions)
        start = time.monotonic_ns()
        answer = told(question, memory)
        asked.append((name, start, time.monotonic_ns(), answer))
    return asked


def attack(
    world: World,
    folder: Path,
    states: Sequence[dict[str, str]],
    *,
    short: bool = False,
    threads: int = 6,
    processes: int = 0,
    writer_elsewhere: bool = False,
    seed: int = 0,
) -> Result:
    """Run the script while others ask, and judge every answer.

    Args:
        world: What is indexed and asked.
        folder: The memory, which is made.
        states: What `rehearse` gave.
        short: As in `rehearse`.
        threads: Threads that ask one Memory.
        processes: Processes that ask besides.
        writer_elsewhere: The writer is another process, and the threads share a Memory for reading; else they share
            that of the writer.
        seed: Of what is asked.
    """
    began = time.perf_counter()
    _begin(world, folder)
    ended = folder.with_name(f"{folder.name}-ended")
    moments: list[tuple[int, int]] = []
    asked: list[list[Asked]] = []
    stop = threading.Event()
    others = [_start("ask", world.folder, folder, ended, seed + 1000 + i) for i in range(processes)]
    with registry.registered(fake.SPEC), contextlib.ExitStack() as stack:
        if not writer_elsewhere:
            stack.enter_context(commits(lambda before, after: moments.append((before, after))))
        memory = stack.enter_context(Memory.open(folder, read_only=writer_elsewhere))
        pool = [
            threading.Thread(target=lambda i=i: asked.append(ask_on(world, memory, seed + i, stop.is_set)))
            for i in range(threads)
        ]
        for thread in pool:
            thread.start()
        try:
            if writer_elsewhere:
                moments += [tuple(pair) for pair in _read(_start("write", world.folder, folder, "short" * short))]
            else:
                for step in world.script(short):
                    _do(step, memory)
        finally:
            stop.set()
            ended.touch()
            for thread in pool:
                thread.join()
    asked += [[tuple(one) for one in _read(other)] for other in others]
    assert len(asked) == threads + processes
    assert len(moments) + 1 == len(states), f"{len(moments)} commits, {len(states) - 1} in the rehearsal"
    result = judge([one for mine in asked for one in mine], moments, states)
    result.seconds = time.perf_counter() - began
    return result


def _do(step: Step, memory: Memory) -> None:
    """Do one write. That readers keep old bytes in the log for more than five seconds is no failure of it."""
    try:
        step(memory)
    except StoreError as error:
        if "another process is reading" not in str(error):
            raise


def judge(asked: Sequence[Asked], moments: Sequence[tuple[int, int]], states: Sequence[dict[str, str]]) -> Result:
    """Compare every answer with those of the states that were current meanwhile.

    moments: ns before and after each commit, which are those between two states.
    """
    since = [0, *(before for before, _ in moments)]
    until = [*(after for _, after in moments), 1 << 62]
    result = Result(len(asked), commits=len(moments))
    for name, start, end, answer in asked:
        current = [k for k in range(len(states)) if since[k] <= end and until[k] >= start]
        if any(states[k][name] == answer for k in current):
            continue
        other = [k for k, state in enumerate(states) if state[name] == answer]
        kind = f"of state {other[0]}, in {current}" if other else f"of no state, in {current}"
        result.wrong.append((name, f"{kind}: {answer[:400]}"))
        result.errors += answer.split(":")[0].endswith("Error") or answer.startswith("crashed")
    return result


def _start(what: str, *args: object) -> subprocess.Popen[str]:
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from attack import asking; asking.{what}(*sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, args)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, cwd=TESTS.parent, **streams)


def _read(process: subprocess.Popen[str]) -> Any:
    out, errors = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"a process failed: {errors[-2000:]}")
    return json.loads(out)


def write(world: str, folder: str, length: str) -> None:
    """The process of the writer: run the script and print the moments of its commits, in ns."""
    moments: list[tuple[int, int]] = []
    with commits(lambda before, after: moments.append((before, after))), _memory(Path(folder)) as m:
        for step in World(Path(world)).script(length == "short"):
            _do(step, m)
    print(json.dumps(moments))


def ask(world: str, folder: str, ended: str, seed: str) -> None:
    """A process that asks until there is a file `ended`, and prints what it was told."""
    with _memory(Path(folder), read_only=True) as m:
        print(json.dumps(ask_on(World(Path(world)), m, int(seed), Path(ended).exists)))
