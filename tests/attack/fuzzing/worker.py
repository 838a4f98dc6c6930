"""Runs inputs of targets in this process, under limits, and writes down what came of each.

The process may die at any input: what it is reading lies in files that the parent looks at (see hunt.py).
"""

from __future__ import annotations

import base64
import contextlib
import faulthandler
import json
import os
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from .target import Broken, Ready, Target

STATE = struct.Struct("<qqd")
"""Number of the target, number of the input, and when it was begun (monotonic seconds)."""
KEPT = 300
"""Inputs with an outcome that no other had are mutated further, at most this many per target."""
HEADROOM = 256 << 20
"""Address space beside twice the memory of a target: libraries reserve more than they use."""
SHRINK_S, SHRINK_TRIES = 10.0, 300


class Hang(BaseException):
    """One input takes too much CPU time. Not an Exception, so that no reader takes it for a damaged file."""


def seeds_of(target: Target, ready: Ready, found: Path | None) -> list[bytes]:
    """The valid inputs of a target, and those that once were findings."""
    kept = sorted((found / target.name).glob("*.bin")) if found is not None else []
    return [*ready.seeds, *(path.read_bytes() for path in kept)]


class Worker:
    """Runs targets one after another. folder: where it writes; see hunt.py for the files."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        folder.mkdir(parents=True, exist_ok=True)
        self._state = os.open(folder / "state", os.O_RDWR | os.O_CREAT)
        self._input = os.open(folder / "input", os.O_RDWR | os.O_CREAT)
        self._outcomes = os.open(folder / "outcomes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._known: dict[str, int] = {}
        signal.signal(signal.SIGPROF, _hang)

    def run(self, number: int, target: Target, seed: str, first: int, count: int, found: Path | None) -> None:
        """Run the inputs `first` to `count` of a target: its corpus first, then mutations. See `hunt.hunt`."""
        place = self.scratch / target.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self._begin(number, -1, b"")
        ready = target.prepare(place)
        seeds = seeds_of(target, ready, found)
        if count < 0:
            count = len(seeds) - count
        pool, outcomes = list(seeds), set[str]()
        for data in ready.seeds[:2]:  # what is imported and cached now is not what an input takes
            with contextlib.suppress(Exception):
                ready.run(data)
        _limit_memory(target)
        for index in range(first, count):
            rng = Random(f"{seed}/{target.name}/{index}")
            data = seeds[index] if index < len(seeds) else target.mutate(rng, pool)
            outcome = self.one(number, index, target, ready, data)
            if outcome not in outcomes:
                outcomes.add(outcome)
                if len(pool) < len(seeds) + KEPT and len(data) < 1 << 18:
                    pool.append(data)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        shutil.rmtree(place, ignore_errors=True)

    def one(self, number: int, index: int, target: Target, ready: Ready, data: bytes) -> str:
        """Run one input, write its outcome, and return what tells it from others."""
        self._begin(number, index, data)
        before = _resident(reset=True)
        begun = time.process_time()
        fault, outcome, detail = attempt(target, ready, data)
        seconds = time.process_time() - begun
        grown = _resident() - before
        if fault is None and grown > target.megabytes << 20:
            fault = {"kind": "memory", "error": f"{grown >> 20} MB more", "at": "", "trace": ""}
        if fault is not None:
            outcome = "finding"
            self._record(target, ready, index, data, fault)
        row = [number, index, outcome, round(seconds * 1000, 2), grown >> 10, len(data)]
        os.write(self._outcomes, (json.dumps(row) + "\n").encode())
        return f"{outcome} {detail}"

    def _begin(self, number: int, index: int, data: bytes) -> None:
        os.ftruncate(self._input, 0)
        os.pwrite(self._input, data, 0)
        os.pwrite(self._state, STATE.pack(number, index, time.monotonic()), 0)

    def _record(self, target: Target, ready: Ready, index: int, data: bytes, fault: dict[str, str]) -> None:
        key = f"{target.name} {fault['kind']} {fault['at'] or fault['error'][:60]}"
        self._known[key] = self._known.get(key, 0) + 1
        if self._known[key] > 1:
            return
        small = data if fault["kind"] in ("hang", "memory") else shrunk(target, ready, data, fault)
        row = {"target": target.name, "index": index, **fault, "input": base64.b64encode(small).decode()}
        with open(self.folder / "findings", "a") as file:
            file.write(json.dumps(row) + "\n")


def attempt(target: Target, ready: Ready, data: bytes) -> tuple[dict[str, str] | None, str, str]:
    """Run one input: the fault or None, the outcome's name, and where it was decided."""
    from vidmem.errors import VidmemError

    signal.setitimer(signal.ITIMER_PROF, target.seconds)
    try:
        ready.run(data)
        return None, "accepted", ""
    except VidmemError as error:
        return None, type(error).__name__, _place(error)
    except Hang as error:
        return _fault("hang", error), "finding", ""
    except Exception as error:
        kind = "fault" if isinstance(error, Broken) else "memory" if isinstance(error, MemoryError) else "exception"
        return _fault(kind, error), "finding", ""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _fault(kind: str, error: BaseException) -> dict[str, str]:
    told = " ".join(repr(error).split())[:300]
    trace = "".join(traceback.format_exception(error))[-3000:]
    at = _place(error) if kind != "fault" else "-".join(str(error).split()[:6])
    return {"kind": kind, "error": told, "at": at, "trace": trace}


def _place(error: BaseException) -> str:
    """File and line in the package where an error was raised, or the last one anywhere."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if any(part in f.filename for part in ("/vidmem/", "/query/", "/indexer/"))]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}:{type(error).__name__}"


def shrunk(target: Target, ready: Ready, data: bytes, fault: dict[str, str]) -> bytes:
    """A smaller input with the same fault: pieces are left out while it stays."""
    end, tries, piece = time.monotonic() + SHRINK_S, 0, max(1, len(data) // 2)
    while piece:
        place = 0
        while place < len(data):
            tries += 1
            if tries > SHRINK_TRIES or time.monotonic() > end:
                return data
            shorter = data[:place] + data[place + piece :]
            again = attempt(target, ready, shorter)[0]
            if again is not None and (again["kind"], again["at"]) == (fault["kind"], fault["at"]):
                data = shorter
            else:
                place += piece
        piece //= 2
    return data


def _hang(*_: Any) -> None:
    raise Hang("too much CPU time for one input")


def _limit_memory(target: Target) -> None:
    """Let the address space grow by no more than twice the memory of a target."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2 * (target.megabytes << 20) + HEADROOM, resource.RLIM_INFINITY))


def _resident(reset: bool = False) -> int:
    """The highest resident memory in bytes since the last reset; with `reset`, the present one."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    return 0


@contextlib.contextmanager
def silenced(fault_log: Path) -> Iterator[None]:
    """Send what libraries print to nowhere, and the stack of a crash to a file."""
    log = open(fault_log, "w")  # noqa: SIM115
    faulthandler.enable(log)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    yield


def main(argv: Sequence[str]) -> None:
    """The arguments are one JSON object; see `hunt.start`."""
    given = json.loads(argv[0])
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from .targets import broken, every

    known = {target.name: target for target in [*every(), *broken.TARGETS]}
    worker = Worker(Path(given["folder"]), Path(given["scratch"]))
    found = Path(given["found"]) if given["found"] else None
    with silenced(worker.folder / "stack"):
        try:
            for number, name, first, count in given["plan"]:
                worker.run(number, known[name], given["seed"], first, count, found)
        except BaseException:
            (worker.folder / "stack").write_text(traceback.format_exc())  # a fault of the fuzzer itself
            os._exit(70)
    os._exit(0)  # libraries that the inputs confused need not clean up


if __name__ == "__main__":
    main(sys.argv[1:])
