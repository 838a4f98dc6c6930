"""Speed of the whole command: `python -m benchmarks.speed --out FILE.json [--only index,clip,cold]`.

index  throughput on a 720p30 lostfound video at 5 sampled frames a second, and where the time goes
clip   the same through an image tower of ViT-B/32's size, random weights (needs the extra `clip`)
cold   `vidmem where umbrella --json` as a process of its own, wall time; and that it imports no torch

Targets: index >= 8 x real time on 2 cores; cold <= 0.4 s. Run it on an idle machine: `load_before` in the JSON tells
whether it was. peers.py has answers in one process, growth.py peak memory and bytes.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import OUT, machine, memory_place, model, parser_for, replaced, say, table, write_json
from benchmarks.query_memories import tracks_alone
from benchmarks.speed_clip import bench_clip
from benchmarks.worlds import ensure
from vidmem import Memory
from vidmem.cli.app import limit_blas_threads
from vidmem.config import preset
from vidmem.encoders import Encoder, find

ROOT = Path(__file__).resolve().parents[1]
SEED = 8900
PARTS = ("index", "clip", "cold")
TARGETS = {
    "times_real_time": 8.0,
    "clip_times_real_time": 2.0,
    "cold_s": 0.4,
    "bytes_per_hour": 60e6,
}


REGIONS = "regions (side by side)"


class Stopwatch:
    """Wall time by name; the decoding thread writes a name of its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

        return timed

    def iterate(self, name: str, frames: Iterator[Any]) -> Iterator[Any]:
        step = self.wrap(name, lambda: next(frames, None))
        while (frame := step()) is not None:
            yield frame


def bench_index(video: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Index `rounds` times from scratch and take the median; then once with a stopwatch on every stage."""
    from vidmem.indexer import pipeline, step
    from vidmem.indexer.merge import merge
    from vidmem.indexer.track import Tracker
    from vidmem.indexer.views import Views
    from vidmem.media import open_source

    shutil.rmtree(folder, ignore_errors=True)
    runs = []
    config = preset(find("tiny").preset)
    for number in range(rounds + 1):  # the first one warms up
        place = folder / f"round-{number}"
        with Memory.open(place) as memory:
            _ = memory.encoder
            if number == 0:
                with open_source(video) as source:
                    frame = next(iter(source.frames(0, shape=memory.encoder.working_size)))
                    memory.encoder.encode([frame.image] * 4, source.info.width, source.info.height)
                continue
            (report,) = memory.index(video, config=config)
            runs.append((report.media_s / report.seconds, report))
        say(f"index {number}/{rounds}: {runs[-1][0]:.1f} x real time")
    watch = Stopwatch()
    with Memory.open(folder / "split") as memory, open_source(video) as source:
        memory.store.set_model(memory.model_record(config.as_dict()))
        # Decoding runs in a thread of its own: its time is not on the path unless the others wait for it.
        frames = source.frames
        source.frames = lambda *a, **k: watch.iterate("decode (its own thread)", frames(*a, **k))  # type: ignore[method-assign]
        with replaced(
            (Encoder, "encode_frames", watch.wrap(REGIONS, Encoder.encode_frames)),
            (step, "merge", watch.wrap("merge", merge)),
            (Tracker, "update", watch.wrap("track", Tracker.update)),
            (Views, "offer", watch.wrap("views: cut", Views.offer)),
            (Views, "settle", watch.wrap("views: look", Views.settle)),
            (memory.store, "checkpoint", watch.wrap("store", memory.store.checkpoint)),
        ):
            report = pipeline.index_source(source, memory.encoder, memory.store, config)
        memory.store.settle()
        memory.cache()  # its file belongs to what a memory costs
        stats = memory.stats()
    seconds = dict(watch.seconds)
    on_path = sum(value for name, value in seconds.items() if not name.startswith("decode") and name != REGIONS)
    seconds["wait for both, rest"] = report.seconds - on_path
    speeds = [speed for speed, _ in runs]
    return {
        "video": str(video),
        "media_s": report.media_s,
        "frames": report.frames,
        "sampled_fps": config.fps,
        "times_real_time": statistics.median(speeds),
        "all_rounds": speeds,
        "frames_per_second": statistics.median([r.new_frames / r.seconds for _, r in runs]),
        "split_ms_per_frame": {name: 1e3 * value / report.frames for name, value in seconds.items()},
        "split_seconds": report.seconds,
        "tracks": stats.tracks,
        "regions_per_frame": stats.regions / stats.frames,
        "bytes_per_hour": stats.bytes_per_hour,
    }


def command_line() -> list[str]:
    """The console script of this environment, or the module."""
    script = Path(sys.executable).with_name("vidmem")
    return [str(script)] if script.exists() else [sys.executable, "-m", "vidmem.cli"]


def bench_cold(folder: Path, rounds: int) -> dict[str, Any]:
    """`where` by text as a new process, with the files in the page cache."""
    asked = ["where", "umbrella", "--json", "--memory", str(folder)]
    times, spent, code, said = [], [], 0, ""
    for _ in range(rounds + 1):  # the first one fills the caches
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*command_line(), *asked], capture_output=True, text=True)
        times.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
        code, said = done.returncode, done.stdout
        if code not in (0, 1):  # 1: not found, an answer too
            raise RuntimeError(f"{' '.join([*command_line(), *asked])} failed ({code}): {done.stderr[-1000:]}")
    found = json.loads(said)["found"]
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vidmem.cli", *asked], capture_output=True, text=True
    )
    imports = [line.split("|")[-1].strip() for line in traced.stderr.splitlines() if line.startswith("import time:")]
    heavy = sorted({name.split(".")[0] for name in imports} & {"torch", "av", "rich", "sqlite_utils", "PIL", "faiss"})
    bare = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import numpy, faiss"], check=True)
        bare.append(time.perf_counter() - began)
    return {
        "command": "vidmem where umbrella --json",
        "median_s": statistics.median(times[1:]),
        "all_s": times,
        "cpu_s": statistics.median(spent[1:]),
        "exit_code": code,
        "found": found,
        "torch_imported": "torch" in heavy,
        "modules": len(imports),
        "heavy_imports": heavy,
        "python_numpy_faiss_alone_s": statistics.median(bare),
    }


def plot(path: Path, result: dict[str, Any]) -> None:
    """Where indexing spends its time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    split = result["index"]["split_ms_per_frame"]
    axes.barh(list(split), list(split.values()), color="#3d6a9e")
    axes.invert_yaxis()
    axes.set_xlabel("ms per sampled frame")
    axes.set_title(f"indexing 720p30 at 5 fps: {result['index']['times_real_time']:.1f} x real time", fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    limit_blas_threads()  # as `vidmem` does
    parser = parser_for(__doc__, "the plot lies beside it")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (index,clip,cold)")
    parser.add_argument("--video", type=Path, help="use this video instead of making a world")
    parser.add_argument("--seconds", type=float, default=120, help="length of the made world (120)")
    parser.add_argument("--rounds", type=int, default=3, help="of indexing; the median counts (3)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for what is made (benchmarks/out)")
    args = parser.parse_args()
    parts = args.only.split(",")
    if wrong := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(wrong)}; there are: {', '.join(PARTS)}")
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    folder = memory_place(args.cache, "speed")
    video = args.video
    if video is None:
        video = ensure(args.cache, None, SEED, args.seconds).video
    lines: list[list[object]] = []
    if "index" in parts:
        result["index"] = part = bench_index(video, folder / "index", args.rounds)
        lines.append(["indexing, x real time", part["times_real_time"], ">= 8"])
        lines += [[f"  {name}, ms a frame", value, None] for name, value in part["split_ms_per_frame"].items()]
        lines.append(["  MB an hour", part["bytes_per_hour"] / 1e6, "<= 60"])
    if "clip" in parts:
        result["clip"] = part = bench_clip(video, folder / "clip", args.rounds)
        lines.append(["indexing with clip, x real time", part["times_real_time"], ">= 2"])
    if "cold" in parts:
        small, large = folder / "cold", memory_place(args.cache, "synthetic", "100000")
        with Memory.open(small) as memory:
            memory.index(video)
        tracks_alone(large, 100_000)
        result["cold"] = []
        for name, place in (("the video", small), ("100,000 tracks", large)):
            result["cold"].append(part := {"memory": name, **bench_cold(place, 7)})
            lines.append([f"cold where, {name}, s", part["median_s"], "<= 0.4"])
            lines.append(["  of it processor time, s", part["cpu_s"], None])
            lines.append(["  imports torch", "yes" if part["torch_imported"] else "no", "no"])
    result["load_after"] = os.getloadavg()
    write_json(args.out, result)
    if "index" in result:
        plot(args.out.with_suffix(".png"), result)
    print(table(["", "measured", "wanted"], lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
