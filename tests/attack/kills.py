"""Kills and faults for every command that writes: `python -m tests.attack.kills --out FILE.json [--kills 500]`.

A command is run to its end twice: that gives what it leaves, and the number of calls by which it changes files. Then it
is run again and again and killed (SIGKILL): before a call, in the middle of a write or just after a call, at numbers
spread over all of its calls, and at moments drawn over its time. After each kill SQLite must find the memory sound, and
each output must be the old or the new one; then the same command must complete, and leave what an uninterrupted run
leaves: every row of the memory, every byte of the outputs, and no other file. Faults are given in the same way: a call
fails (a full disk, an error of the disk, too many open files, a read-only disk), the clock jumps, SQLite is busy.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
SHIM = "VIDMEM_ATTACK_SHIM"
EXCLUDED = {
    "meta": {"memory", "generation", "removed"},
    "sources": {"added_at", "finished_at"},
    "tracks": {"generation"},
    "migrations": {"applied_at"},
}
"""What two runs may differ in: times of day, a random name, and the count of changes. In `meta`: keys."""
BEFORE, AFTER, ONCE, ALWAYS = 1, 2, 3, 4
FAULTS = {
    "the disk is full": (ALWAYS, errno.ENOSPC),
    "the disk is full for once": (ONCE, errno.ENOSPC),
    "the disk fails": (ALWAYS, errno.EIO),
    "the disk fails once": (ONCE, errno.EIO),
    "read-only": (ALWAYS, errno.EROFS),
}
TIMEOUT = 120.0
PIPE_CLOSED, HANGS = 141, 999

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
                return f"{table}: {str(mine)[:200]} is not {str(theirs)[:200]}"
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
        shim = _shim()
        if setup:
            setup()
        if shim is not None:
            shim.attack_arm(*(arm or (-1, BEFORE, 0)))
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
        calls = shim.attack_count() if shim is not None else 0
        if shim is not None:
            shim.attack_arm(0, 0, 0)
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


def _shim() -> Any:
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


@dataclass
class Tally:
    """What happened to one command."""

    kills: int = 0
    done_before: int = 0
    faults: int = 0
    signals: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0


def _check(what: str, tally: Tally, run: Run, check: Callable[[], None]) -> None:
    try:
        check()
    except (AssertionError, sqlite3.Error) as error:
        tally.wrong.append(f"{what}: {error}")


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


def kill(run: Run, command: Any, base: Baseline, rng: random.Random, tally: Tally, number: int, of: int) -> None:
    """Kill it once, at a call or at a moment, and see what is left and what the next run makes of it."""
    run.fresh(command)
    if base.calls and number % 4:
        place = min(base.calls, 1 + int((number + rng.random()) / of * base.calls))
        mode = BEFORE if number % 2 else AFTER
        what = f"killed {'before' if mode == BEFORE else 'in or after'} call {place} of {base.calls}"
        ended = run.to_end(command, arm=(place, mode, 0))
    else:
        moment = rng.random() * base.seconds
        what = f"killed after {moment:.3f} s of {base.seconds:.3f}"
        began = time.perf_counter()
        pid = run.start(command)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        ended = run.wait(pid, began)
    if ended.code != -signal.SIGKILL:
        tally.done_before += 1
        return
    tally.kills += 1
    before = len(tally.wrong)
    _check(f"{what}, then", tally, run, lambda: sound(run, command, base))
    if len(tally.wrong) == before:
        _check(f"{what}, run again", tally, run, lambda: completes(run, command, base))


def interrupt(run: Run, command: Any, base: Baseline, rng: random.Random, tally: Tally, number: int) -> None:
    """End it by Ctrl-C or SIGTERM: with 130, or, if all is done already, as usual."""
    run.fresh(command)
    which = (signal.SIGINT, signal.SIGTERM)[number % 2]
    moment = rng.random() * base.seconds
    began = time.perf_counter()
    pid = run.start(command)
    time.sleep(moment)
    os.kill(pid, which)
    ended = run.wait(pid, began)
    tally.signals += 1
    tally.codes[f"{which.name}: {ended.code}"] += 1
    what = f"{which.name} after {moment:.3f} s of {base.seconds:.3f}"
    if ended.code not in {base.code, 130, -which}:
        tally.wrong.append(f"{what}: ended with {ended.code}: {ended.text[-600:]}")
        return
    _check(f"{what}, then", tally, run, lambda: sound(run, command, base))
    _check(f"{what}, run again", tally, run, lambda: completes(run, command, base))


def fault(run: Run, command: Any, base: Baseline, rng: random.Random, tally: Tally, name: str) -> None:
    """Give it a fault: it ends with a message and no bug, and without the fault the next run completes."""
    run.fresh(command)
    setup, arm = SETUPS.get(name), None
    if name in FAULTS:
        mode, code = FAULTS[name]
        arm = (rng.randint(1, max(1, base.calls)), mode, code)
    what = f"{name}{f' at call {arm[0]} of {base.calls}' if arm else ''}"
    with _held(run, name):
        ended = run.to_end(command, arm=arm, setup=(lambda: setup(rng)) if setup else None)
    tally.faults += 1
    tally.codes[f"{name}: {ended.code}"] += 1
    if ended.code not in {base.code, 1, 2, 3, 4, 130, PIPE_CLOSED} or "Traceback" in ended.text:
        tally.wrong.append(f"{what}: ended with {ended.code}: {ended.text[-800:]}")
        return
    if ended.code == 0 and command.equal:
        _check(f"{what}, said to be done", tally, run, lambda: _as_usual(run, base))
    _check(f"{what}, then", tally, run, lambda: sound(run, command, base))
    _check(f"{what}, run again", tally, run, lambda: completes(run, command, base))


def _as_usual(run: Run, base: Baseline) -> None:
    assert (what := difference(rows(run.memory), base.memory)) is None, f"ended with 0, but {what}"
    assert files(run.out) == base.outputs, "ended with 0, but its outputs differ"


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
def _held(run: Run, name: str) -> Iterator[None]:
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


def attack(base: Path, kills: int, *, seed: int = 0, long: bool = False, only: str = "") -> dict[str, Tally]:
    """Attack every command: kills in all, and in the long run faults and signals as well.

    Args:
        base: A folder for everything.
        kills: How many kills there shall be, shared out evenly.
        seed: Of what is drawn.
        long: Also give faults and signals.
        only: Commands with this in their names alone.
    """
    from attack.commands import commands, introduce, prepare

    introduce()
    made = Run(base, base / "made")
    made.out.mkdir(parents=True)
    ended = made.to_end(SimpleNamespace(stdin=None, call=lambda _: prepare(base)))  # it starts threads
    assert ended.code == 0, ended.text[-2000:]
    wanted = [command for command in commands() if only in command.name and (long or not command.heavy)]
    each = -(-kills // sum(command.most is None for command in wanted))
    out: dict[str, Tally] = {}
    for command in wanted:
        began, tally = time.perf_counter(), Tally()
        out[command.name] = tally
        rng = random.Random(f"{seed} {command.name}")
        run = Run(base, base / "run")
        try:
            usual = baseline(run, command, 2 if long else 1)
        except AssertionError as error:
            tally.wrong.append(str(error))
            print(error, file=sys.stderr, flush=True)
            continue
        tally.calls = usual.calls
        times = each if command.most is None else command.most
        number = 0
        while tally.kills < times and number < 2 * times + 2:
            kill(run, command, usual, rng, tally, number % times, times)
            number += 1
        if long and command.most is None:
            for name in (name for name in (*FAULTS, *SETUPS) if name not in command.not_given):
                fault(run, command, usual, rng, tally, name)
            for which in range(2):
                interrupt(run, command, usual, rng, tally, which)
        tally.seconds = time.perf_counter() - began
        said = f"{command.name}: {tally.kills} kills, {tally.faults} faults, {tally.signals} signals"
        print(f"{said}, {len(tally.wrong)} wrong, {tally.seconds:.0f} s", file=sys.stderr, flush=True)
        for wrong in tally.wrong:
            print(f"  {wrong}", file=sys.stderr, flush=True)
    return out


def build_shim(folder: Path) -> Path | None:
    """Compile shim.c; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    path = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(path), str(HERE / "shim.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def report(found: dict[str, Tally], seconds: float, seed: int) -> dict[str, Any]:
    """The result as plain data."""
    return {
        "kills": sum(tally.kills for tally in found.values()),
        "faults": sum(tally.faults for tally in found.values()),
        "signals": sum(tally.signals for tally in found.values()),
        "wrong": sum(len(tally.wrong) for tally in found.values()),
        "at_calls": _shim() is not None,
        "seed": seed,
        "seconds": round(seconds, 1),
        "commands": {
            name: {
                "kills": tally.kills,
                "done_before": tally.done_before,
                "calls": tally.calls,
                "faults": tally.faults,
                "signals": tally.signals,
                "ends": dict(sorted(tally.codes.items())),
                "wrong": tally.wrong,
                "seconds": round(tally.seconds, 1),
            }
            for name, tally in found.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """The result as a table in Markdown."""
    lines = ["| command | calls that change files | kills | faults | signals | wrong |", "|---|---|---|---|---|---|"]
    for name, row in result["commands"].items():
        cells = (name, row["calls"], row["kills"], row["faults"], row["signals"], len(row["wrong"]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append(f"| all | | {result['kills']} | {result['faults']} | {result['signals']} | {result['wrong']} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result; a table is beside it")
    parser.add_argument("--kills", type=int, default=500, help="how many kills (500)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    parser.add_argument("--short", action="store_true", help="kills alone, without faults and signals")
    parser.add_argument("--only", default="", metavar="TEXT", help="commands with this in their names alone")
    args = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="vidmem-kills-") as temporary:
        if SHIM not in os.environ and (path := build_shim(Path(temporary))) is not None:
            environment = {**os.environ, SHIM: str(path), "LD_PRELOAD": str(path), "OPENBLAS_NUM_THREADS": "1"}
            return subprocess.run(
                [sys.executable, "-m", "tests.attack.kills", *sys.argv[1:]], env=environment
            ).returncode
        _load()
        found = attack(Path(temporary), args.kills, seed=args.seed, long=not args.short, only=args.only)
    result = report(found, time.perf_counter() - began, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(result))
    print(json.dumps({key: value for key, value in result.items() if key != "commands"}))
    return 1 if result["wrong"] else 0


def _load() -> None:
    """Import what the commands need once, before processes are forked. It must start no thread."""
    import faiss  # noqa: F401

    import vidmem.indexer.pictures
    import vidmem.media
    import vidmem.memory  # noqa: F401
    from vidmem.cli import app  # noqa: F401

    tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    assert tasks == 1, f"{tasks} threads before the first fork"


if __name__ == "__main__":
    sys.exit(main())
