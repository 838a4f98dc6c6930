"""A camera in real time: `python -m benchmarks.live --out FILE.json [--minutes 10]`.

One process plays a 720p video at 30 frames a second by the clock, over and over, into `Memory.session`; another asks
the same memory 5 questions a second, each timed from the moment at which it was due. This one watches both: memory of
the camera's process every second, its queue, what it dropped. Wanted: the queue never above its depth, p95 of a
question at most 50 ms, and memory that does not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.common import OUT, machine, memory_place, model, parser_for, quantile, say, table, write_json
from benchmarks.speed import SEED
from benchmarks.worlds import ensure

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"query_p95_ms": 50.0, "rss_mb_per_minute": 2.0}
"""What memory may grow by: 2 MB a minute is a gigabyte in eight hours, and less cannot be told from noise in 10."""
FPS = 30
DEPTH = 8
SETTLED = 0.3
"""Share of the run after which memory is fitted: before, libraries still take what they keep."""


def camera(video: Path, folder: Path, minutes: float) -> None:
    """The process of the camera. Prints "ready", then the counts of the session each second, and all of them at the
    end.
    """
    from vidmem import Memory
    from vidmem.media import open_source

    waits: list[float] = []  # of append, in ms
    late = 0.0  # s, by which a picture came too late at worst: the player, not the session
    with Memory.open(folder) as memory, memory.session("camera", depth=DEPTH) as session:
        _ = memory.encoder
        began, number, told, most = time.monotonic(), 0, 0.0, 0
        while (now := time.monotonic() - began) < minutes * 60:
            with open_source(video) as source:
                for frame in source.frames(0):
                    due = number / FPS
                    now = time.monotonic() - began
                    if now < due:
                        time.sleep(due - now)
                    late = max(late, now - due)
                    at = time.perf_counter()
                    session.append(frame.image, round(due * 1e9))
                    waits.append(1e3 * (time.perf_counter() - at))
                    number += 1
                    stats = session.stats
                    most = max(most, stats.waiting)
                    if number == 1:
                        print("ready", flush=True)
                    if now - told >= 1:
                        told = now
                        print(
                            json.dumps(
                                {
                                    "t_s": round(now, 2),
                                    "waiting": stats.waiting,
                                    "dropped": stats.dropped,
                                    "committed": stats.committed,
                                }
                            ),
                            flush=True,
                        )
                    if due >= minutes * 60:
                        break
    stats = session.stats
    said = {
        "pictures": stats.appended,
        "wanted": stats.appended - stats.unsampled,
        "dropped": stats.dropped,
        "late": stats.late,
        "encoded": stats.encoded,
        "still": stats.still,
        "committed": stats.committed,
        "most_waiting": most,
        "append_p50_ms": quantile(waits, 0.5),
        "append_p99_ms": quantile(waits, 0.99),
        "append_max_ms": max(waits),
        "player_late_s": round(late, 3),
    }
    print(json.dumps({"end": said}), flush=True)


def asker(folder: Path, words: list[str], rate: float) -> None:
    """The process that asks until its stdin is closed; one line of JSON for each answer."""
    from vidmem import Memory

    closed = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait, daemon=True).start()
    with Memory.open(folder, read_only=True) as memory:
        began, number = time.monotonic(), 0
        while not closed.is_set():
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            at = time.monotonic()
            answer = memory.where(words[number % len(words)])
            now = time.monotonic()
            print(json.dumps({"ms": 1e3 * (now - due), "own_ms": 1e3 * (now - at), "found": answer.found}), flush=True)
            number += 1


class Child:
    """A process of this module whose output lines are collected."""

    def __init__(self, *args: object) -> None:
        command = [sys.executable, "-m", "benchmarks.live", *map(str, args)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[Any] = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
            self.ready.set()
        self.ready.set()

    def rss(self) -> int | None:
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024
        return None

    def finish(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.reader.join()
        if self.process.wait():
            raise RuntimeError(f"{self.process.args!r} failed ({self.process.returncode})")


def slope(points: list[tuple[float, float]]) -> float:
    """Slope of the least-squares line through the points: y per x."""
    n = len(points)
    x0, y0 = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / spread if spread else 0.0


def run(video: Path, folder: Path, words: list[str], minutes: float, rate: float) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    seen = Child("--role", "camera", "--video", video, "--folder", folder, "--minutes", minutes, "--out", "-")
    seen.ready.wait()
    while seen.process.poll() is None and not any(line.get("committed") for line in seen.lines):
        time.sleep(0.1)  # a reader needs a first checkpoint
    asked = Child("--role", "asker", "--folder", folder, "--words", ",".join(words), "--rate", rate, "--out", "-")
    rss: list[tuple[float, float]] = []
    began, told = time.monotonic(), 0.0
    while seen.process.poll() is None:
        now = time.monotonic() - began
        if (held := seen.rss()) is not None:
            rss.append((now / 60, held / 1e6))
        if now - told >= 30 and seen.lines:
            told = now
            say(f"{now:.0f} s: {held and held / 1e6:.0f} MB, {seen.lines[-1]}, {len(asked.lines)} answers")
        time.sleep(1)
    asked.finish()
    seen.finish()
    answers = asked.lines
    times = [row["ms"] for row in answers]
    settled = [point for point in rss if point[0] >= SETTLED * rss[-1][0]]
    return {
        **seen.lines[-1]["end"],
        "depth": DEPTH,
        "minutes": minutes,
        "queries": len(answers),
        "queries_per_s": len(answers) / (minutes * 60),
        "found": sum(row["found"] for row in answers),
        "query_p50_ms": quantile(times, 0.5),
        "query_p95_ms": quantile(times, 0.95),
        "query_max_ms": max(times),
        "query_own_p95_ms": quantile([row["own_ms"] for row in answers], 0.95),
        "rss_mb": [round(y, 1) for _, y in rss[:: max(1, len(rss) // 60)]],
        "rss_peak_mb": max(y for _, y in rss),
        "rss_mb_per_minute": slope(settled),
        "timeline": seen.lines[:-1][:: max(1, len(seen.lines) // 60)],
    }


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="length of the run (10)")
    parser.add_argument("--rate", type=float, default=5, help="questions a second (5)")
    parser.add_argument("--video", type=Path, help="use this video instead of making a world")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the video and the memory (benchmarks/out)")
    parser.add_argument("--role", choices=("camera", "asker"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--words", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.minutes > 0 or not args.rate > 0:
        parser.error("--minutes and --rate are above 0")
    if args.role == "camera":
        camera(args.video, args.folder, args.minutes)
        return 0
    if args.role == "asker":
        asker(args.folder, args.words.split(","), args.rate)
        return 0
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    words = ["umbrella", "clock", "teapot", "guitar", "key"]
    video = args.video
    if video is None:
        world = ensure(args.cache, None, SEED, 120)
        words, video = sorted({q.text for q in world.queries if q.text and "," not in q.text}), world.video
    result["live"] = live = run(video, memory_place(args.cache, "live"), words, args.minutes, args.rate)
    result["met"] = {
        "queue_bounded": live["most_waiting"] <= DEPTH,
        **{name: live[name] <= wanted for name, wanted in TARGETS.items()},
    }
    result["load_after"] = os.getloadavg()
    write_json(args.out, result)
    print(
        table(
            ["", "measured", "wanted"],
            [
                ["pictures given", live["pictures"], None],
                ["needed at the memory's rate", live["wanted"], None],
                ["dropped", live["dropped"], None],
                ["still, not encoded", live["still"], None],
                ["most waiting", live["most_waiting"], f"<= {DEPTH}"],
                ["append, p99 ms", live["append_p99_ms"], None],
                ["questions", live["queries"], None],
                ["p50 ms", live["query_p50_ms"], None],
                ["p95 ms", live["query_p95_ms"], "<= 50"],
                ["peak RSS, MB", live["rss_peak_mb"], None],
                ["RSS, MB a minute", live["rss_mb_per_minute"], "<= 2"],
            ],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
