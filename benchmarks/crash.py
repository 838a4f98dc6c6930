"""Killing and resuming the indexer: `python -m benchmarks.crash --out FILE.json [--kills 30]`.

A process indexes a short video and is killed (SIGKILL) at a random moment, uniform over the time that indexing takes; a
new process opens the memory and continues. Each time, every row of sources, tracks and regions must equal those of an
uninterrupted run (vectors and masks byte for byte; only the times of day may differ), and so must all answers. Every
third trial is killed twice. At the end the vector cache is cut, garbled and deleted in turn, with the same answers.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import OUT, machine, model, parser_for, quantile, say, write_json
from benchmarks.worlds import ensure
from vidmem import Memory

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = 8
TABLES = {
    "sources": "id, uri, kind, width, height, duration_ns, start_ns, fingerprint, state, frames, damaged, next_t_ns, "
    "tracker_state, stale, recorded_by",
    "tracks": "id, source_id, ordinal, start_ns, end_ns, frames, best_ns, x0, y0, x1, y1, visual, text, confidence, "
    "text_confidence",
    "regions": "source_id, seq, start_ns, end_ns, frames, regions, blob",
    "views": "track_id, t_ns, x0, y0, x1, y1, quality, image, hint, confidence",
    "cuts": "source_id, t_ns",
}
"""What must be equal. Left out: added_at and finished_at (times of day), and `generation`, which counts changes."""


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that must be equal, by table."""
    conn = sqlite3.connect(f"file:{folder / 'memory.sqlite'}?mode=ro", uri=True)
    try:
        (check,) = conn.execute("PRAGMA integrity_check").fetchone()
        if check != "ok":
            raise AssertionError(f"SQLite says: {check}")
        return {
            table: conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table, columns in TABLES.items()
        }
    finally:
        conn.close()


def difference(a: dict[str, list[tuple[Any, ...]]], b: dict[str, list[tuple[Any, ...]]]) -> str | None:
    """Describe the first difference of two memories; None if they are equal."""
    for table in TABLES:
        if len(a[table]) != len(b[table]):
            return f"{table}: {len(a[table])} rows, not {len(b[table])}"
        names = TABLES[table].split(", ")
        for mine, theirs in zip(a[table], b[table], strict=True):
            for name, x, y in zip(names, mine, theirs, strict=False):
                if x != y:
                    return f"{table} {mine[:3]}: {name} differs"
    return None


def answers(folder: Path, words: Sequence[str]) -> list[Any]:
    """All answers to these words with their scores: calibrated, and with a low threshold."""
    out: list[Any] = []
    with Memory.open(folder, read_only=True) as memory:
        for word in words:
            for threshold in (None, 0.3):
                answer = memory.where(word, top=None, threshold=threshold)
                out.append(
                    [
                        [s.start_ns, s.end_ns, s.score, s.frame_ns, s.box, s.tracks]
                        for s in (*answer.sightings, *answer.near_misses)
                    ]
                )
    return out


class Run:
    """One indexing process. A thread reads the lines of its stdout."""

    def __init__(self, video: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks._child", str(video), str(folder), str(CHECKPOINT)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = threading.Event()
        self.frames = 0
        self.last: dict[str, Any] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready"):
                self.ready.set()
            elif line.startswith("frames"):
                self.frames = int(line.split()[1])
            elif line.startswith("{"):
                self.last = json.loads(line)
        self.ready.set()  # ended, whatever way

    def finish(self) -> dict[str, Any]:
        """Wait for the end of the process. Raises if it failed."""
        self._reader.join()
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        if self.process.wait() or self.last is None:
            raise RuntimeError(f"indexing failed ({self.process.returncode}): {errors[-2000:]}")
        return self.last

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL this long after it is ready; return True if it was still at work."""
        self.ready.wait()
        time.sleep(seconds)
        if self.last is not None or self.process.poll() is not None:
            self.finish()
            return False
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        return self.process.returncode == -signal.SIGKILL


def state(folder: Path) -> tuple[str, int]:
    """What a kill left: the state of the source, and the frames of its last checkpoint."""
    conn = sqlite3.connect(f"file:{folder / 'memory.sqlite'}?mode=ro", uri=True)
    try:
        row = conn.execute("SELECT state, frames FROM sources").fetchone()
        return ("none", 0) if row is None else (str(row[0]), int(row[1]))
    finally:
        conn.close()


def damage_cache(folder: Path, words: Sequence[str], want: list[Any]) -> list[dict[str, Any]]:
    """Truncate, corrupt and delete the files of the vector cache; the answers must stay the same."""
    out = []
    for what in ("cut", "garbled", "deleted"):
        files = sorted(p for p in (folder / "cache").rglob("*") if p.is_file())
        for path in files:
            data = bytearray(path.read_bytes())
            if what == "cut":
                path.write_bytes(data[: len(data) // 2])
            elif what == "garbled":
                for i in range(0, len(data), 97):
                    data[i] ^= 0x5A
                path.write_bytes(data)
        if what == "deleted":
            shutil.rmtree(folder / "cache", ignore_errors=True)
        out.append({"cache": what, "files": len(files), "equal": answers(folder, words) == want})
    return out


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--kills", type=int, default=30, help="trials (30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--seconds", type=float, default=12, help="length of the video (12)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the video (benchmarks/out)")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "model": model()}
    began = time.perf_counter()
    world = ensure(args.cache, None, 8000, args.seconds, (320, 180, 15))
    words = sorted({query.text for query in world.queries if query.text})[:12]
    rng = random.Random(args.seed)
    trials: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="vidmem-crash-") as temporary:
        whole = Path(temporary) / "whole"
        durations = []
        for again in (
            whole,
            Path(temporary) / "again",
        ):  # twice: indexing is the same every time, and how long it takes
            durations.append(Run(world.video, again).finish())
        want, want_answers = rows(whole), answers(whole, words)
        result["deterministic"] = difference(rows(Path(temporary) / "again"), want) is None
        lasts = max(d["seconds"] for d in durations)
        result["uninterrupted"] = {**durations[-1], "rows": {t: len(r) for t, r in want.items()}}
        while len(trials) < args.kills:
            number = len(trials)
            folder = Path(temporary) / f"trial-{number}"
            trial: dict[str, Any] = {"kills": []}
            for _ in range(2 if number % 3 == 2 else 1):
                moment = rng.random() * lasts
                run = Run(world.video, folder)
                if run.kill_after(moment):
                    kept = state(folder)
                    trial["kills"].append(
                        {
                            "after_s": round(moment, 3),
                            "frames_seen": run.frames,
                            "frames_kept": kept[1],
                            "state": kept[0],
                        }
                    )
            if not trial["kills"]:  # it was done before: no trial
                lasts *= 0.97
                shutil.rmtree(folder)
                continue
            resumed = Run(world.video, folder).finish()
            trial["resumed_frames"] = resumed["new_frames"]
            trial["difference"] = difference(rows(folder), want)
            trial["rows_equal"] = trial["difference"] is None
            trial["answers_equal"] = answers(folder, words) == want_answers
            trials.append(trial)
            equal = trial["rows_equal"] and trial["answers_equal"]
            kills = ", ".join(
                f"{k['after_s']:.2f} s ({k['frames_seen']} frames seen, {k['frames_kept']} kept)"
                for k in trial["kills"]
            )
            verdict = "equal" if equal else f"DIFFERS {trial['difference']}"
            say(f"{number + 1}/{args.kills}: killed at {kills}: {verdict}")
            if equal:
                shutil.rmtree(folder)
            else:  # to be looked at
                kept_at = args.out.resolve().parent / f"crash-differs-{number}"
                shutil.copytree(folder, kept_at, dirs_exist_ok=True)
        result["cache"] = damage_cache(whole, words, want_answers)
        result["answers"] = {
            "words": len(words),
            "sightings": sum(map(len, want_answers)),
            "sha256": hashlib.sha256(repr(want_answers).encode()).hexdigest(),
        }
    moments = [kill["after_s"] / lasts for trial in trials for kill in trial["kills"]]
    result["summary"] = {
        "trials": len(trials),
        "kills": len(moments),
        "equal": sum(t["rows_equal"] and t["answers_equal"] for t in trials),
        "moments_share_of_run": [round(quantile(moments, q), 2) for q in (0, 0.25, 0.5, 0.75, 1)],
        "cache_rebuilt": all(row["equal"] for row in result["cache"]),
        "deterministic": result["deterministic"],
    }
    result |= {"trials": trials, "seconds": round(time.perf_counter() - began, 1)}
    write_json(args.out, result)
    print(json.dumps(result["summary"]))
    return 0 if result["summary"]["equal"] == len(trials) and result["summary"]["cache_rebuilt"] else 1


if __name__ == "__main__":
    sys.exit(main())
