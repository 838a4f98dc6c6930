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
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attack.faults import FAULTS, SETUPS, held
from attack.killing import (
    AFTER,
    BEFORE,
    PIPE_CLOSED,
    SHIM,
    Baseline,
    Run,
    baseline,
    completes,
    difference,
    files,
    rows,
    shim,
    sound,
)


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
    with held(run, name):
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
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(path), str(Path(__file__).with_name("shim.c")), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def report(found: dict[str, Tally], seconds: float, seed: int) -> dict[str, Any]:
    """The result as plain data."""
    return {
        "kills": sum(tally.kills for tally in found.values()),
        "faults": sum(tally.faults for tally in found.values()),
        "signals": sum(tally.signals for tally in found.values()),
        "wrong": sum(len(tally.wrong) for tally in found.values()),
        "at_calls": shim() is not None,
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
        if SHIM not in os.environ:
            path = build_shim(Path(temporary))
            preloaded = {"LD_PRELOAD": str(path)} if path else {}
            environment = {**os.environ, SHIM: str(path or ""), "OPENBLAS_NUM_THREADS": "1", **preloaded}
            command = [sys.executable, "-m", "tests.attack.kills", *sys.argv[1:]]
            return subprocess.run(command, env=environment).returncode
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
