"""Generate synthetic worlds on disk: `python -m benchmarks.worlds --seeds 9100:9120 [--drawings FOLDER]`.

A world of 60 seconds takes about 40 seconds of one core. It is generated in a temporary folder and moved when complete,
so an interrupted run leaves nothing behind, and the next one makes only what is missing.

Seeds: 9000 and above are held out for lostfound.py, 5000..8999 are for calibrate.py; training uses seeds below 5000.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import OUT, parse_range, say
from lab.synthetic.lostfound import World, load, make
from vidmem.errors import MediaError

SIZE = (1280, 720, 30)
"""Width, height, frames per second."""


def vendor(drawings: Path | None) -> str:
    """The name of the drawings: "noto" for those of this checkout, else the name of the folder."""
    return "noto" if drawings is None else drawings.resolve().name


def place(cache: Path, drawings: Path | None, seed: int, seconds: float, size: tuple[int, int, int] = SIZE) -> Path:
    """The folder of one world."""
    name = f"{seed}-{seconds:g}" + ("" if size == SIZE else "-{}x{}@{}".format(*size))
    return cache / "worlds" / vendor(drawings) / name


def kept(folder: Path) -> World | None:
    """The world in the folder; None if it is missing or incomplete. truth.json is written last."""
    try:
        world = load(folder)
    except MediaError:
        return None
    return world if world.video.exists() else None


def ensure(cache: Path, drawings: Path | None, seed: int, seconds: float, size: tuple[int, int, int] = SIZE) -> World:
    """Return the world; generate it if it is missing."""
    folder = place(cache, drawings, seed, seconds, size)
    if world := kept(folder):
        return world
    from lab.synthetic.drawings import load_drawings, load_folder

    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    for left in folder.parent.glob(f".{folder.name}.*"):  # left by killed processes
        if not Path("/proc", left.suffix[1:]).exists() or left == part:
            shutil.rmtree(left, ignore_errors=True)
    began = time.perf_counter()
    try:
        width, height, fps = size
        make(
            part,
            seed,
            seconds,
            load_folder(drawings) if drawings else load_drawings(),
            width=width,
            height=height,
            fps=fps,
        )
        if kept(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    say(f"generated {folder} in {time.perf_counter() - began:.0f} s")
    return load(folder)


def _ensure(job: tuple[Path, Path | None, int, float]) -> int:
    ensure(*job)
    return job[2]


def ensure_all(cache: Path, drawings: Path | None, seeds: Sequence[int], seconds: float, processes: int) -> list[World]:
    """Return all worlds in order; `processes` processes generate the missing ones."""
    missing = [s for s in seeds if kept(place(cache, drawings, s, seconds)) is None]
    if missing:
        say(f"generating {len(missing)} of {len(seeds)} worlds ({vendor(drawings)}, {seconds:g} s each)")
        jobs = [(cache, drawings, seed, seconds) for seed in missing]
        if processes <= 1 or len(jobs) == 1:
            for job in jobs:
                _ensure(job)
        else:
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # inherited by the children: one core each
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                for _ in pool.imap_unordered(_ensure, jobs):
                    pass
    return [load(place(cache, drawings, s, seconds)) for s in seeds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=parse_range, default=range(9100, 9120), help="A:B, B excluded (9100:9120)")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--drawings", type=Path, help="folder of another vendor's drawings (second_vendor.py)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder of the generated worlds (benchmarks/out)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    ensure_all(args.cache, args.drawings, args.seeds, args.seconds, args.processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
