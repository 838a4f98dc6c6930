"""A camera for hours: `python -m tests.attack.soak --out FILE.json [--hours 4] [--encoder colours]`.

One process indexes hours of footage live and asks the same memory, which keeps the last hour: every ten minutes of
footage it asks and measures, every half an hour it forgets what is older, every hour it compacts the memory and opens
it again. A second Memory stays open for reading from the first minute to the last.

Footage, not time: pictures come as fast as the encoder takes them, each with the time at which a camera would have
taken it. With the encoder `colours`, which is for tests and takes a millisecond, four hours pass in minutes; so it says
something about the tracker, the store and the questions, and nothing about the memory that a network takes.
`--encoder tiny` indexes the same footage with the shipped networks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fakes
import numpy as np
from numpy.typing import NDArray

from vidmem import Memory

NS = 1_000_000_000
BEGAN = 1_700_000_000 * NS
HOUR, EVERY, FORGET, COMPACT, KEEP = 3600, 600, 1800, 3600, 3600
"""Seconds of footage: an hour; between measures; between removals; between compactions; that are kept."""
FPS = 2
QUESTIONS = ("red", "green", "blue", "yellow", "cyan", "magenta")
LIMITS = {"rss_mb_per_hour": 4.0, "fds": 2, "threads": 1}
"""What may grow, once the memory has held as much as it keeps for half an hour: RSS by hour of footage; open files and
threads in all."""


@dataclass(frozen=True)
class Sample:
    """Measures at one moment. hour: of footage. held_h: hours that the memory holds. tracks: in it."""

    hour: float
    held_h: float
    rss_mb: float
    fds: int
    threads: int
    disk_mb: float
    where_ms: float
    timeline_ms: float
    things_ms: float
    tracks: int
    wall_s: float


def footage(hours: float) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Pictures of squares that come, move, and go, and their times in ns: new ones every 20 seconds."""
    scene: list[tuple[str, int, float]] = []
    for number in range(round(hours * HOUR * FPS)):
        if number % (20 * FPS) == 0:
            rng = np.random.default_rng(number)
            names = rng.choice(list(fakes.COLOURS), 3, replace=False)
            scene = [(str(name), 4 + 52 * i, float(rng.uniform(-0.3, 0.3))) for i, name in enumerate(names)]
        image = np.full((fakes.HEIGHT, fakes.WIDTH, 3), fakes.GROUND, np.uint8)
        for colour, x, speed in scene:
            left = int(np.clip(x + speed * (number % (20 * FPS)), 0, fakes.WIDTH - 40))
            image[32:64, left : left + 32] = fakes.COLOURS[colour]
        yield image, BEGAN + number * NS // FPS


def soak(folder: Path, hours: float, encoder: str) -> list[Sample]:
    """Index `hours` of footage in `folder`, and measure."""
    began, samples = time.perf_counter(), []
    pictures, seconds = footage(hours), 0
    memory = Memory.open(folder, encoder=encoder)
    reader: Memory | None = None
    try:
        while seconds < hours * HOUR:
            with memory.session("camera") as session:
                for image, t_ns in _first(pictures, EVERY * FPS):
                    while session.stats.waiting >= 7:
                        time.sleep(0.0005)
                    session.append(image, t_ns)
            assert session.stats.dropped == 0
            seconds += EVERY
            now = BEGAN + seconds * NS
            if seconds % FORGET == 0 and seconds > KEEP:
                memory.forget(before=datetime.fromtimestamp((now - KEEP * NS) / NS, UTC), dry_run=False)
            if seconds % COMPACT == 0:
                memory.compact()
                memory.close()
                memory = Memory.open(folder)
            reader = reader or Memory.open(folder, read_only=True)
            samples.append(_measured(memory, reader, seconds, began))
            print(json.dumps(asdict(samples[-1])), file=sys.stderr, flush=True)
    finally:
        memory.close()
        if reader is not None:
            reader.close()
    return samples


def _first(items: Iterator[Any], count: int) -> Iterator[Any]:
    for _, item in zip(range(count), items, strict=False):
        yield item


def _measured(memory: Memory, reader: Memory, seconds: int, began: float) -> Sample:
    def ms(ask: Callable[[], object]) -> float:
        at = time.perf_counter()
        ask()
        return round(1e3 * (time.perf_counter() - at), 2)

    newest = reader.where("red")[0]
    assert newest.recorded_ns is not None
    assert newest.recorded_ns > BEGAN + (seconds - EVERY) * NS, "the newest sighting is not in the last ten minutes"
    where = sorted(ms(lambda name=name: memory.where(name)) for name in QUESTIONS)
    names = Path(reader.store.folder).with_name("names.txt")
    names.write_text("\n".join(QUESTIONS) + "\n")
    stats = memory.stats()
    held = seconds if seconds <= KEEP else KEEP + seconds % FORGET
    return Sample(
        hour=round(seconds / HOUR, 3),
        held_h=round(held / HOUR, 3),
        rss_mb=round(_rss() / 1e6, 1),
        fds=len(os.listdir("/proc/self/fd")),
        threads=threading.active_count(),
        disk_mb=round((stats.database_bytes + stats.cache_bytes) / 1e6, 3),
        where_ms=where[len(where) // 2],
        timeline_ms=ms(lambda: reader.timeline("red")),
        things_ms=ms(lambda: reader.things(labels=names, top=5)),
        tracks=stats.tracks,
        wall_s=round(time.perf_counter() - began, 1),
    )


def _rss() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell how much memory a process has")


def slope(samples: Sequence[Sample], name: str) -> float:
    """How much a measure grows by hour of footage: a line by least squares."""
    if len(samples) < 3:
        return 0.0
    return float(np.polyfit([s.hour for s in samples], [getattr(s, name) for s in samples], 1)[0])


def report(samples: Sequence[Sample], encoder: str, hours: float) -> dict[str, Any]:
    """Slopes by hour, of the time in which the memory holds all that it keeps."""
    full = [s for s in samples if s.hour * HOUR > KEEP + FORGET] or list(samples)
    growing = [s for s in samples if s.hour * HOUR <= KEEP]
    per_hour = [s.disk_mb / s.held_h for s in samples]
    found = {
        "footage_hours": hours,
        "wall_seconds": samples[-1].wall_s,
        "encoder": encoder,
        "tracks_seen_per_hour": round(growing[-1].tracks / growing[-1].hour),
        "rss_mb_per_hour": round(slope(full, "rss_mb"), 2),
        "rss_mb": [samples[0].rss_mb, samples[-1].rss_mb],
        "fds_grown": samples[-1].fds - full[0].fds,
        "threads_grown": samples[-1].threads - full[0].threads,
        "disk_mb_per_hour_held": [round(min(per_hour), 3), round(max(per_hour), 3)],
        "disk_mb_per_hour_while_growing": round(slope(growing, "disk_mb"), 3),
        "disk_mb_per_hour_once_full": round(slope(full, "disk_mb"), 3),
        "where_ms_per_hour_once_full": round(slope(full, "where_ms"), 3),
        "where_ms": [samples[0].where_ms, samples[-1].where_ms],
    }
    found["grows"] = [
        name
        for name, value, limit in (
            ("rss", found["rss_mb_per_hour"], LIMITS["rss_mb_per_hour"]),
            ("open files", found["fds_grown"], LIMITS["fds"]),
            ("threads", found["threads_grown"], LIMITS["threads"]),
        )
        if value > limit
    ]
    return found | {"limits": LIMITS, "samples": [asdict(s) for s in samples]}


def table(samples: Sequence[Sample]) -> str:
    """The samples as a table in Markdown."""
    names = list(asdict(samples[0]))
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(str(value) for value in asdict(s).values())} |" for s in samples]
    return "\n".join(lines) + "\n"


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Memory, disk and questions over the hours."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), constrained_layout=True)
    hours = [s.hour for s in samples]
    shown = (("RSS in MB", ("rss_mb",)), ("disk in MB", ("disk_mb",)), ("ms", ("where_ms", "timeline_ms", "things_ms")))
    for axis, (title, names) in zip(axes, shown, strict=True):
        for name in names:
            axis.plot(hours, [getattr(s, name) for s in samples], label=name)
        axis.set_title(title)
        axis.set_xlabel("hours of footage")
        axis.set_ylim(bottom=0)
        if len(names) > 1:
            axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON file for the result; table and plot are beside it"
    )
    parser.add_argument("--hours", type=float, default=4, help="hours of footage (4)")
    parser.add_argument(
        "--encoder", default="colours", help="colours, which is for tests, or one of vidmem's (colours)"
    )
    args = parser.parse_args()
    fakes.register()
    with tempfile.TemporaryDirectory(prefix="vidmem-soak-") as temporary:
        samples = soak(Path(temporary) / "memory", args.hours, args.encoder)
    result = report(samples, args.encoder, args.hours)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(samples))
    plot(samples, args.out.with_suffix(".png"))
    print(json.dumps({key: value for key, value in result.items() if key != "samples"}, indent=1))
    return 1 if result["grows"] else 0


if __name__ == "__main__":
    sys.exit(main())
