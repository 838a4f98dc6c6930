"""Starts workers, watches them, and counts what came of all inputs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .target import Target
from .worker import STATE

FOUND = Path(__file__).parent / "found"
"""Inputs that once were findings, a folder for each target. They belong to the corpus."""
STUCK_S = 60.0
"""An input that takes longer on the wall clock hangs where no signal is heard. Readers that loop in Python are stopped
earlier, by their CPU time."""
BLOCKED_S = 10.0
"""An input during which a worker takes no CPU time for so long waits for something that never comes."""
_POLL_S = 0.1
Step = tuple[int, str, int, int]
"""Number of a target, its name, the first input and the one after the last."""


@dataclass(slots=True)
class Tally:
    """What came of the inputs of one target. refused: by class of error. findings: by kind."""

    inputs: int = 0
    seconds: float = 0.0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    most_mb: float = 0.0


def counts(targets: Sequence[Target], inputs: int) -> dict[str, int]:
    """How many of `inputs` each target gets, by its share; at least one."""
    whole = sum(target.share for target in targets)
    return {target.name: max(1, round(inputs * target.share / whole)) for target in targets}


def hunt(
    targets: Sequence[Target],
    wanted: dict[str, int],
    seed: str,
    *,
    found: Path | None = FOUND,
    tell: Callable[[str], None] = lambda line: None,
    stuck_s: float = STUCK_S,
    blocked_s: float = BLOCKED_S,
) -> tuple[dict[str, Tally], list[dict[str, Any]]]:
    """Run the targets one after another in worker processes.

    Args:
        targets: What to run.
        wanted: How many inputs each gets, the corpus included; -n for n inputs beside the corpus.
        seed: Of all random choices.
        found: Folder with inputs that belong to the corpus, too.
        tell: Is told of progress.
        stuck_s: Wall time after which an input counts as hanging.
        blocked_s: Time without any CPU time after which it does.

    Returns:
        A tally for each target, and the different findings.
    """
    plan: list[Step] = [(i, t.name, 0, wanted[t.name]) for i, t in enumerate(targets)]
    outcomes: list[list[Any]] = []
    findings: list[dict[str, Any]] = []
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=base) as temporary:
        rounds = 0
        while plan:
            folder = Path(temporary) / f"worker-{rounds}"
            rounds += 1
            worker = _start(folder, Path(temporary) / "scratch", plan, seed, found)
            ended = _watch(worker, folder, (stuck_s, blocked_s), tell)
            outcomes += _lines(folder / "outcomes")
            findings += _lines(folder / "findings")
            if ended is None:
                break
            number, index, kind = ended
            if index >= 0:
                outcomes.append([number, index, "finding", 0.0, 0, 0])
            findings.append(_death(folder, targets[number].name, index, kind))
            tell(f"{targets[number].name}: {kind} at input {index}")
            plan = [(i, name, index + 1 if i == number else first, n) for i, name, first, n in plan if i >= number]
            if index < 0:  # it does not even start
                plan = plan[1:]
    return _tallied(targets, outcomes, findings), findings


def _start(folder: Path, scratch: Path, plan: Sequence[Step], seed: str, found: Path | None) -> subprocess.Popen[bytes]:
    folder.mkdir()
    given = {"folder": str(folder), "scratch": str(scratch), "plan": plan, "seed": seed, "found": str(found or "")}
    module = __package__ + ".worker"
    top = Path(__file__).parents[len(__package__.split("."))]
    path = os.pathsep.join([str(top), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": ""}
    return subprocess.Popen([sys.executable, "-m", module, json.dumps(given)], env=environment, cwd=folder)


def _watch(
    worker: subprocess.Popen[bytes], folder: Path, limits: tuple[float, float], tell: Callable[[str], None]
) -> tuple[int, int, str] | None:
    """Wait for a worker. None if it did all its work, else the target, the input and how it died."""
    said, seen, used, since = -1, (-1, -1), -1.0, time.monotonic()
    while worker.poll() is None:
        time.sleep(_POLL_S)
        state = _state(folder)
        if state is None:
            continue
        number, index, begun = state
        if number != said:
            said = number
            tell(f"target {number}")
        if (number, index) != seen or _cpu_s(worker.pid) - used > 0.05:
            seen, used, since = (number, index), _cpu_s(worker.pid), time.monotonic()
        now = time.monotonic()
        if index >= 0 and (now - begun > limits[0] or now - since > limits[1]):
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            return number, index, "hang"
    if worker.returncode == 0:
        return None
    state = _state(folder)
    if state is None or state[1] < 0 or worker.returncode == 70:
        number = 0 if state is None else state[0]
        return number, -1, f"crash (exit {worker.returncode}, of the fuzzer itself)"
    return state[0], state[1], "crash"


def _cpu_s(pid: int) -> float:
    """CPU time of a process in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _state(folder: Path) -> tuple[int, int, float] | None:
    try:
        data = (folder / "state").read_bytes()
    except OSError:
        return None
    return STATE.unpack(data) if len(data) == STATE.size else None


def _death(folder: Path, name: str, index: int, kind: str) -> dict[str, Any]:
    data = (folder / "input").read_bytes() if (folder / "input").exists() else b""
    stack = (folder / "stack").read_text("utf-8", "replace")[-3000:] if (folder / "stack").exists() else ""
    word = kind.split()[0]
    row = {"target": name, "index": index, "kind": word, "error": kind, "at": "", "trace": stack}
    return {**row, "input": base64.b64encode(data).decode()}


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _tallied(
    targets: Sequence[Target], outcomes: Sequence[Sequence[Any]], findings: Sequence[dict[str, Any]]
) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {target.name: Tally() for target in targets}
    kinds: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        kinds[finding["target"]].append(finding["kind"])
    for number, _, outcome, ms, kilobytes, _ in outcomes:
        tally = tallies[targets[number].name]
        tally.inputs += 1
        tally.seconds += ms / 1000
        tally.slowest_ms = max(tally.slowest_ms, ms)
        tally.most_mb = max(tally.most_mb, kilobytes / 1024)
        if outcome == "accepted":
            tally.accepted += 1
        elif outcome != "finding":
            tally.refused[outcome] += 1
    for name, found in kinds.items():
        tallies[name].findings.update(found)
    return tallies


def save(findings: Sequence[dict[str, Any]], folder: Path, seed: str) -> None:
    """Write each finding as an input and a JSON file beside it, under the name of its target."""
    for finding in findings:
        data = base64.b64decode(finding["input"])
        place = folder / finding["target"]
        place.mkdir(parents=True, exist_ok=True)
        name = f"{finding['kind']}-{hashlib.sha256(data).hexdigest()[:10]}"
        (place / f"{name}.bin").write_bytes(data)
        told = {key: value for key, value in finding.items() if key != "input"} | {"seed": seed}
        (place / f"{name}.json").write_text(json.dumps(told, indent=1))


def summary(tallies: dict[str, Tally]) -> dict[str, Any]:
    """The sums over all targets."""
    every = tallies.values()
    kinds: Counter[str] = sum((t.findings for t in every), Counter())
    return {
        "targets": len(tallies),
        "inputs": sum(t.inputs for t in every),
        "seconds": round(sum(t.seconds for t in every), 1),
        "accepted": sum(t.accepted for t in every),
        "refused": sum(t.refused.total() for t in every),
        "crashes": kinds["crash"],
        "hangs": kinds["hang"],
        "over_budget": kinds["memory"],
        "other_errors": kinds["exception"],
        "faults": kinds["fault"],
    }


def rows(tallies: dict[str, Tally]) -> list[dict[str, Any]]:
    """One row for each target."""
    return [
        {
            "target": name,
            "inputs": t.inputs,
            "seconds": round(t.seconds, 1),
            "accepted": t.accepted,
            "refused": dict(t.refused),
            "crashes": t.findings["crash"],
            "hangs": t.findings["hang"],
            "over_budget": t.findings["memory"],
            "other_errors": t.findings["exception"],
            "faults": t.findings["fault"],
            "slowest_ms": round(t.slowest_ms, 1),
            "most_mb": round(t.most_mb, 1),
        }
        for name, t in tallies.items()
    ]


def table(tallies: dict[str, Tally]) -> str:
    """The rows as a Markdown table, with the sums at the end."""
    lines = [
        "| target | inputs | accepted | refused | crashes | hangs | over budget | other errors | slowest ms | MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows(tallies):
        refused = sum(row["refused"].values())
        other = row["other_errors"] + row["faults"]
        lines.append(
            f"| {row['target']} | {row['inputs']:,} | {row['accepted']:,} | {refused:,} | {row['crashes']} | "
            f"{row['hangs']} | {row['over_budget']} | {other} | {row['slowest_ms']:,.0f} | {row['most_mb']:,.0f} |"
        )
    whole = summary(tallies)
    lines.append(
        f"| **{whole['targets']} targets** | {whole['inputs']:,} | {whole['accepted']:,} | {whole['refused']:,} | "
        f"{whole['crashes']} | {whole['hangs']} | {whole['over_budget']} | "
        f"{whole['other_errors'] + whole['faults']} | | |"
    )
    return "\n".join(lines)
