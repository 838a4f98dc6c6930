"""`vidmem things` on ten hours: `python -m benchmarks.ten_hours --out FILE.json [--tracks 60000] [--times 5]`.

A synthetic memory (query_memories.py): ten films of an hour, 5 frames a second, 8 things in view on average. Measured
is the whole command in a process of its own, from its start to its last line, with a warm file cache. Beside it:

kept     of 12,000 tracks of 600 things, whose tokens have a cosine of .6 on average, tied from .5 on: the share that
         the ties in cells connect to the same thing as do all ties, compared pair by pair
t_ren    joining the same number of tracks with tokens as long as T-REN's, 1024, in this process; no names, no boxes
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

# As the command itself does, before NumPy is there.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.common import OUT, machine, model, parser_for, say, table, write_json
from benchmarks.query_memories import make
from vidmem.geometry import unit
from vidmem.query import similar
from vidmem.query.reid import numbers
from vidmem.records import Float32
from vidmem.store import Columns

FILMS, FRAMES, IN_VIEW = 10, 18_000, 8.0
WANTED_S = 2.0
T_REN, T_REN_LIKE = 1024, 0.8
PART = 12_000


def command(folder: Path, *options: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    before = os.times()
    started = time.perf_counter()
    code = "from vidmem.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", code, "things", "-m", str(folder), *options],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def kept(like: float = 0.5) -> float:
    """The share of tracks that cells leave in their group, grouped without regard to time; see above."""
    rng = np.random.default_rng(0)
    clumps = unit(rng.standard_normal((600, 128), dtype=np.float32))
    noise = np.float32(0.07) * rng.standard_normal((PART, 128), dtype=np.float32)
    vectors = unit(clumps[rng.integers(0, 600, PART)] + noise)
    every, cells = (_components(vectors, like, limit) for limit in (len(vectors), 0))
    right = sum(Counter(cells[every == group].tolist()).most_common(1)[0][1] for group in np.unique(every))
    return float(right / len(vectors))


def _components(vectors: Float32, like: float, exact: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    old, similar.EXACT = similar.EXACT, exact
    try:
        a, b = similar.similar_pairs(vectors, like)
    finally:
        similar.EXACT = old
    label = np.arange(len(vectors))
    while True:
        low = np.minimum(label[a], label[b])
        new = label.copy()
        np.minimum.at(new, a, low)
        np.minimum.at(new, b, low)
        new = new[new]
        if (new == label).all():
            return label
        label = new


def t_ren(tracks: int) -> float:
    """Seconds with tokens of the width of T-REN."""
    rng = np.random.default_rng(3)
    clumps = unit(rng.standard_normal((3000, T_REN), dtype=np.float32))
    vectors = unit(
        clumps[rng.integers(0, 3000, tracks)]
        + np.float32(0.4 / T_REN**0.5) * rng.standard_normal((tracks, T_REN), dtype=np.float32)
    )
    started = time.perf_counter()
    numbers(None, Columns(*np.zeros((6, tracks), np.int64)), vectors, T_REN_LIKE)
    return time.perf_counter() - started


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--tracks", type=int, default=60_000, help="in all ten hours (60000)")
    parser.add_argument("--times", type=int, default=5, help="runs of the command (5)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the memory (benchmarks/out)")
    args = parser.parse_args()
    folder = args.cache / f"ten-hours-{args.tracks}"
    make(folder, 7, [(FRAMES, args.tracks // FILMS, IN_VIEW)] * FILMS)
    command(folder)  # the files are in memory from here on
    ways = {"longest in view": (), "newest": ("--newest",), "all, as JSON": ("--all", "--json")}
    rows = []
    for way, options in ways.items():
        runs = [command(folder, *options) for _ in range(args.times)]
        wall, cpu = (float(np.median(one)) for one in zip(*runs, strict=True))
        rows.append({"way": way, "wall_s": wall, "cpu_s": cpu, "wanted_s": WANTED_S if way != "all, as JSON" else None})
        say(f"{way}: {wall:.2f} s")
    share = kept()
    joined = t_ren(args.tracks)
    write_json(
        args.out,
        {
            "machine": machine(),
            "model": model(),
            "tracks": args.tracks,
            "ways": rows,
            "kept": share,
            "t_ren_join_s": joined,
        },
    )
    print(table(["", "wall s", "CPU s", "wanted"], [[r["way"], r["wall_s"], r["cpu_s"], r["wanted_s"]] for r in rows]))
    print(f"kept {share:.3f}; joining tokens of T-REN's length {joined:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
