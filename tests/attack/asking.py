"""Threads that ask one `Memory` while another thread or process writes it; every answer must be of one committed state.

`rehearse` runs a script of writes once and takes the right answers after each commit. `attack` runs it again while
threads ask. An answer is right if it is, to the last bit, that of a state that was current at some moment between the
start and the end of the question. Anything else is a mix of states, or a state that was over.
"""

from __future__ import annotations

import contextlib
import gc
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from encoders import fake

from vidmem import Memory
from vidmem.config import preset
from vidmem.encoders import registry
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.errors import VidmemError
from vidmem.timecode import NS

TESTS = Path(__file__).resolve().parents[1]
CONFIG = replace(preset("default"), checkpoint_frames=4)
CURVE = Probabilities(text=Curve(-4.0, 8.0, 1.0, 9, 9, 9))

Step = Callable[[Memory], object]
Question = Callable[[Memory], object]


@dataclass(frozen=True)
class World:
    """The files that are indexed."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> World:
        """Make four short videos and a folder of photos, unless they are there."""
        folder.mkdir(parents=True, exist_ok=True)
        clips = {
            "a": fake.walk(24),
            "b": [{"green": (60, 30), "blue": (i, 60)} for i in range(18)],
            "c": [{"red": (120 - 2 * i, 40)} if i < 12 else {"yellow": (10, 10)} for i in range(24)],
            "d": [{"magenta": (30, 20), "green": (100, 50 - i)} for i in range(18)],
        }
        for name, frames in clips.items():
            if not (folder / f"{name}.mp4").exists():
                fake.video(folder / f"{name}.mp4", frames)
        (folder / "photos").mkdir(exist_ok=True)
        for i, places in enumerate(({"red": (8, 8)}, {"green": (90, 40), "blue": (20, 20)}, {"cyan": (60, 30)})):
            if not (folder / "photos" / f"{i}.png").exists():
                fake.save(folder / "photos" / f"{i}.png", places)
        (folder / "names.txt").write_text("\n".join(fake.NAMES) + "\n")
        return cls(folder)

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def before(self) -> list[Step]:
        """What is done before anybody asks."""
        return [self._index("a.mp4"), self._index("b.mp4"), self._index("photos")]

    @property
    def script(self) -> list[Step]:
        """All kinds of writes; it ends where it began, so that it can go on."""

        def calibrate(m: Memory) -> None:
            m.store.set_fitted(m.text_encoder.info.weights, CURVE.as_dict())

        return [
            self._index("c.mp4"),
            calibrate,
            lambda m: m.remove(self["a.mp4"]),
            lambda m: m.set_recorded(self["b.mp4"], "2024-05-01T10:00"),
            lambda m: m.reembed("fake:look2"),
            self._index("d.mp4"),
            lambda m: m.forget(thing="green", dry_run=False),
            lambda m: m.compact(),
            lambda m: m.forget(before="2s", sources=self["c.mp4"], dry_run=False),
            self._index("a.mp4"),
            lambda m: m.uncalibrate(),
            lambda m: m.reembed("fake:look"),
            lambda m: m.remove(self["b.mp4"], self["photos"]),
            self._index("b.mp4"),
            lambda m: m.remove(self["c.mp4"], self["d.mp4"]),
            self._index("photos"),
            lambda m: m.set_recorded(self["b.mp4"], "none"),
        ]

    def _index(self, name: str) -> Step:
        return lambda m: m.index(self[name], config=CONFIG)

    @property
    def questions(self) -> dict[str, Question]:
        """By words and by picture, with all kinds of filters."""
        red = fake.picture({"red": (60, 30)})
        first, second, names = self["a.mp4"], self["b.mp4"], self["names.txt"]
        return {
            "where red": lambda m: m.where("red", top=None),
            "where green": lambda m: m.where("green", top=None, min_probability=None),
            "where blue low": lambda m: m.where("blue", threshold=0.05, top=None),
            "where magenta": lambda m: m.where("magenta"),
            "red by probability": lambda m: m.where("red", min_probability=0.3, top=None),
            "red picture": lambda m: m.where(image=red, top=None),
            "red picture and word": lambda m: m.where("red", image=red, top=None),
            "green near blue": lambda m: m.where("green", near="blue", within="4s", apart=3.0, top=None),
            "red in a": lambda m: m.where("red", sources=first, top=None),
            "green in b after 1s": lambda m: m.where("green", sources=second, after="1s", before="3s", top=None),
            "green in May": lambda m: m.where("green", after="2024-04-30", before="2024-05-02", top=None),
            "green by crop": lambda m: m.where(crop=(second, NS, (60.0, 30.0, 92.0, 62.0)), top=None),
            "timeline red": lambda m: m.timeline("red", alike=True),
            "timeline blue": lambda m: m.timeline("blue", threshold=0.05),
            "things": lambda m: m.things(labels=names),
            "newest things": lambda m: m.things(labels=names, newest=True, top=3),
            "things of b": lambda m: m.things(second, labels=names),
            "watch": lambda m: m.watch(["red", "green", "cyan"]),
            "haystack": lambda m: m.haystack("green", "blue"),
            "names": lambda m: m.name_tracks(first, ["red", "blue"]),
        }


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


def rehearse(world: World, folder: Path, script: Sequence[Step]) -> list[dict[str, str]]:
    """The right answers to all questions, at first and after each commit of the script."""
    states: list[dict[str, str]] = []

    def take(_before: int = 0, _after: int = 0) -> None:
        with Memory.open(folder, read_only=True) as m:
            states.append({name: told(ask, m) for name, ask in world.questions.items()})

    with registry.registered(fake.SPEC):
        with _memory(folder, encoder="fake:look") as m:
            for step in world.before:
                step(m)
        take()
        with commits(take), Memory.open(folder) as m:
            for step in script:
                step(m)
    return states


@dataclass
class Result:
    """questions: how many were asked. wrong: those with an answer of no state that was current. commits: how many."""

    questions: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    errors: int = 0
    commits: int = 0
    seconds: float = 0.0


Asked = tuple[str, int, int, str]
"""Name, ns at the start and at the end, answer."""


def attack(
    world: World,
    folder: Path,
    script: Sequence[Step],
    states: Sequence[dict[str, str]],
    *,
    threads: int = 6,
    another_process: bool = False,
    seed: int = 0,
) -> Result:
    """Run the script while `threads` threads ask, and judge every answer.

    With `another_process` the writer is a process of its own and the threads share a Memory for reading; without, they
    share the writer's Memory.
    """
    began = time.perf_counter()
    with _memory(folder, encoder="fake:look") as m:
        for step in world.before:
            step(m)
    moments: list[tuple[int, int]] = []
    asked: list[list[Asked]] = [[] for _ in range(threads)]
    stop = threading.Event()

    def ask(number: int, memory: Memory) -> None:
        rng, names = random.Random(seed * 100 + number), list(world.questions.items())
        while not stop.is_set():
            name, question = rng.choice(names)
            start = time.monotonic_ns()
            answer = told(question, memory)
            asked[number].append((name, start, time.monotonic_ns(), answer))

    failures: list[BaseException] = []

    def run(number: int, memory: Memory) -> None:
        try:
            ask(number, memory)
        except BaseException as error:
            failures.append(error)

    with registry.registered(fake.SPEC), contextlib.ExitStack() as stack:
        if not another_process:
            stack.enter_context(commits(lambda before, after: moments.append((before, after))))
        memory = stack.enter_context(Memory.open(folder, read_only=another_process))
        pool = [threading.Thread(target=run, args=(i, memory)) for i in range(threads)]
        for thread in pool:
            thread.start()
        try:
            if another_process:
                moments += _write_elsewhere(world, folder, len(script))
            else:
                for step in script:
                    step(memory)
        finally:
            stop.set()
            for thread in pool:
                thread.join()
    if failures:
        raise failures[0]
    assert len(moments) + 1 == len(states), f"{len(moments)} commits, {len(states) - 1} in the rehearsal"
    result = judge([one for mine in asked for one in mine], moments, states)
    result.seconds = time.perf_counter() - began
    gc.collect()
    return result


def judge(asked: Sequence[Asked], moments: Sequence[tuple[int, int]], states: Sequence[dict[str, str]]) -> Result:
    """Compare every answer with those of the states that were current meanwhile."""
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


def _write_elsewhere(world: World, folder: Path, steps: int) -> list[tuple[int, int]]:
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from attack.asking import write; write(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(world.folder), str(folder), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the writer failed: {done.stderr[-2000:]}")
    moments: list[tuple[int, int]] = [tuple(pair) for pair in json.loads(done.stdout)]
    return moments


def write(world: str, folder: str, steps: str) -> None:
    """The writer's process: run the script and print the moments of its commits, in ns."""
    moments: list[tuple[int, int]] = []
    with commits(lambda before, after: moments.append((before, after))), _memory(Path(folder)) as m:
        for step in World(Path(world)).script[: int(steps)]:
            step(m)
    print(json.dumps(moments))
