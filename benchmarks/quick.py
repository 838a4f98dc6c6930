"""A few ratios in a few minutes: `make bench-quick`, or `python -m benchmarks.quick [--record] [--only top,words]`.

Each ratio sets something of vidmem against a plain way to do the same work, in turns in one run, so that a busy or a
slower machine moves both. Higher is worse. The run compares each with benchmarks/recorded.json and fails (exit code 1)
if one is more than 15 % higher. `--record` replaces the record.

top        the ten best of 200,000 tracks / a numpy product of the same vectors in float32 and a partial sort
all        every track above a threshold / the same product and a comparison
likely     a whole answer to a picture, by probability / the same product and a partial sort
words      a whole answer to a word, by probability / the same
open       opening a memory of 200,000 tracks to the first answer / reading its vectors with numpy and one product
cold       `vidmem where` as a whole command / `python -c "import numpy, faiss"`
index      indexing a film of 20 s / decoding it at the same rate and running the network of `tiny`'s views once a frame
bytes      bytes on disk of that film / one fp16 vector a frame. No time, so it does not vary
asking     peak RAM of a process that asks the 200,000 tracks / that of one with numpy and their vectors in float32

`top` to `open` are of wall time, without the time in which another process had the core. `cold` and `index`, which have
several threads or processes, are of processor time. A ratio above the record is measured again up to `AGAIN` times and
the lowest counts: what slows vidmem down for good slows every try. A search has one thread here. CI does not run it:
its machines differ too much.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

# One thread a search, as the docstring says; before NumPy is there.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np

from benchmarks.common import CLIPS, OUT, ROOT, machine, markdown, memory_place, say, write_json
from benchmarks.growth import SEED, child, film, looped
from benchmarks.query_memories import tracks_alone
from benchmarks.truth import write_vectors
from benchmarks.worlds import ensure
from vidmem import Memory
from vidmem.query.question import Question
from vidmem.query.where import where
from vidmem.store import scan

RECORD = Path(__file__).with_name("recorded.json")
MOST_LOSS = 0.15
"""A ratio that is higher than the recorded one by more than this share is a loss."""
AGAIN = 3
TRACKS = 200_000
K, THRESHOLD = 10, 0.6
FILM_S = 20.0


class Bench:
    """What the ratios are measured on, made when first needed. cache: folder for it."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.rng = np.random.default_rng(5)
        """Draws the questions; begun anew for each ratio, so that every run asks the same."""

    @cached_property
    def place(self) -> Path:
        """The folder of the synthetic memory and its vectors."""
        place = memory_place(self.cache, "quick")
        tracks_alone(place / "memory", TRACKS)
        if not (place / "vectors.npy").exists():
            write_vectors(place / "memory", place / "vectors.npy")
            np.save(place / "float.npy", np.load(place / "vectors.npy").astype(np.float32))
        with Memory.open(place / "memory", read_only=True) as memory:
            memory.cache()
        return place

    @cached_property
    def memory(self) -> Memory:
        return Memory.open(self.place / "memory", read_only=True)

    @cached_property
    def matrix(self) -> Any:
        return np.load(self.place / "float.npy")

    @cached_property
    def video(self) -> Path:
        """A film of FILM_S seconds."""
        clips = sorted(CLIPS.glob("*.mp4")) if CLIPS.is_dir() else []
        base = film(clips, self.cache / "growth-film.mp4") if clips else ensure(self.cache, None, SEED, 120).video
        return looped(base, self.cache / f"quick-{FILM_S:g}-{'clips' if clips else 'walk'}.mp4", FILM_S)

    def question(self) -> Any:
        """The token of a track."""
        return self.matrix[self.rng.integers(0, TRACKS)]


def processor() -> float:
    """Seconds of all threads of this process and of the processes that it waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def unhindered() -> float:
    """Wall time without that in which this thread could run and another had the core; where Linux tells it."""
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except OSError:
        waited = 0
    return time.perf_counter() - waited / 1e9


def in_turns(
    ours: Callable[[], object],
    plain: Callable[[], object],
    rounds: int,
    clock: Callable[[], float] = unhindered,
) -> float:
    """The ratio of the median times of both, which take turns in changing order."""

    def timed(call: Callable[[], object]) -> float:
        began = clock()
        call()
        return clock() - began

    ours()
    plain()
    mine: list[float] = []
    theirs: list[float] = []
    for number in range(rounds):
        for call, held in ((plain, theirs), (ours, mine)) if number % 2 else ((ours, mine), (plain, theirs)):
            held.append(timed(call))
    return statistics.median(mine) / statistics.median(theirs)


def search(bench: Bench, what: str) -> float:
    """The ratios `top`, `all`, `likely` and `words`."""
    memory, matrix = bench.memory, bench.matrix
    cache, calibration = memory.cache(), memory.calibration
    words = list(memory.text_encoder.names())

    def product() -> Any:
        scores = matrix @ bench.question()
        return np.flatnonzero(scores >= THRESHOLD) if what == "all" else np.argpartition(scores, -K)[-K:]

    ours: dict[str, Callable[[], object]] = {
        "top": lambda: cache.top("visual", bench.question(), K),
        "all": lambda: cache.range_search("visual", bench.question(), THRESHOLD),
        "likely": lambda: where(memory.store, cache, calibration, Question(visual=bench.question())),
        "words": lambda: memory.where(words[bench.rng.integers(0, len(words))]),
    }
    return in_turns(ours[what], product, 201)


def index(bench: Bench) -> float:
    """Indexing against decoding and one run of the view network a frame, both with the workers of the pipeline."""
    from benchmarks.ways import Backbone

    backbone = Backbone()
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(1000))
        with Memory.open(Path(folder) / "warm") as loaded:
            encoder = loaded.encoder
            _ = encoder.views

        def ours() -> None:
            with Memory.open(Path(folder) / str(next(numbers))) as memory:
                memory.query.use(encoder)
                memory.index(bench.video)

        return in_turns(ours, lambda: backbone.index(bench.video, Path(folder) / "frames.npz", False), 3, processor)


def cold(bench: Bench) -> float:
    """The whole command against a process that only imports what it must."""
    asked = [sys.executable, "-m", "vidmem.cli", "where", "umbrella", "--json", "--memory", str(bench.place / "memory")]
    bare = [sys.executable, "-c", "import numpy, faiss"]

    def run(command: list[str]) -> None:
        done = subprocess.run(command, cwd=ROOT, capture_output=True)
        if done.returncode not in (0, 1):  # 1: not found
            raise RuntimeError(done.stderr.decode()[-1000:])

    return in_turns(lambda: run(asked), lambda: run(bare), 11, processor)


def opened(bench: Bench) -> float:
    """Opening a memory to its first answer against reading all vectors and one product."""
    question = bench.question()

    def ours() -> None:
        with Memory.open(bench.place / "memory", read_only=True) as memory:
            where(memory.store, memory.cache(), memory.calibration, Question(visual=question, threshold=THRESHOLD))

    return in_turns(ours, lambda: np.load(bench.place / "float.npy") @ question, 41)


def bytes_kept(bench: Bench) -> float:
    """Bytes on disk of the film against one fp16 vector and a time for each sampled frame."""
    with tempfile.TemporaryDirectory() as folder, Memory.open(Path(folder) / "memory") as memory:
        (report,) = memory.index(bench.video)
        memory.store.settle()
        width = memory.cache().dim("visual")
        stats = memory.stats()
        return (stats.database_bytes + stats.cache_bytes) / (report.frames * (2 * width + 8))


def asking(bench: Bench) -> float:
    """Peak RAM of a process that asks against that of one that holds the vectors in float32."""
    code = (
        "import sys, re, numpy; v = numpy.load(sys.argv[1]); v @ v[0];"
        "print(re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[0])"
    )
    command = [sys.executable, "-c", code, str(bench.place / "float.npy")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(child("ask", bench.place / "memory")["peak_rss"] / (1024 * int(done.stdout)))


RATIOS: dict[str, Callable[[Bench], float]] = {
    "top": lambda bench: search(bench, "top"),
    "all": lambda bench: search(bench, "all"),
    "likely": lambda bench: search(bench, "likely"),
    "words": lambda bench: search(bench, "words"),
    "open": opened,
    "cold": cold,
    "asking": asking,
    "bytes": bytes_kept,
    "index": index,
}


def losses(found: Mapping[str, float], recorded: Mapping[str, float], most: float = MOST_LOSS) -> list[str]:
    """One line for each ratio that is worse than the recorded one by more than `most`, or that has no record."""
    out = []
    for name, value in found.items():
        if name not in recorded:
            out.append(f"{name}: no record; run it with --record")
        elif value > recorded[name] * (1 + most):
            out.append(f"{name}: {value:.3g}, recorded {recorded[name]:.3g}: {value / recorded[name] - 1:+.0%}")
    return out


def measured(
    ratios: Mapping[str, Callable[[Bench], float]], bench: Bench, recorded: Mapping[str, float], again: int = AGAIN
) -> dict[str, list[float]]:
    """All tries of each ratio: one, and more while it is a loss."""
    out: dict[str, list[float]] = {}
    for name, ratio in ratios.items():
        out[name] = []
        while not out[name] or (
            name in recorded and losses({name: min(out[name])}, recorded) and len(out[name]) < again
        ):
            bench.rng = np.random.default_rng(5)
            out[name].append(ratio(bench))
        say(f"{name}: {', '.join(f'{value:.3g}' for value in out[name])}")
    return out


def commit() -> str:
    """What is checked out, with a mark if something was changed since."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "not a git checkout"


def recording(tries: Mapping[str, list[float]]) -> dict[str, Any]:
    """What --record writes: the median of the tries."""
    here = machine()
    return {
        "date": here["date"],
        "commit": commit(),
        "machine": f"{here['cores']} cores of {here['cpu']}, {round(here['memory_bytes'] / 2**30)} GB of RAM",
        "load_before": here["load_before"],
        "versions": here["versions"],
        "ratios": {name: statistics.median(values) for name, values in tries.items()},
        "tries": dict(tries),
    }


def known(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {"ratios": {}}


def chosen(names: str) -> Iterable[str]:
    wanted = list(RATIOS) if not names else names.split(",")
    if wrong := set(wanted) - set(RATIOS):
        raise argparse.ArgumentTypeError(f"no ratio {', '.join(wrong)}; there are: {', '.join(RATIOS)}")
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="measure each ratio three times and write the record")
    parser.add_argument("--only", type=chosen, default=chosen(""), help="these ratios, separated by commas (all)")
    parser.add_argument("--recorded", type=Path, default=RECORD, help="the record (benchmarks/recorded.json)")
    parser.add_argument("--out", type=Path, help="write this run as JSON too")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for memories and films (benchmarks/out)")
    parser.add_argument("--fresh", action="store_true", help="make them again")
    args = parser.parse_args()
    scan.ONE_THREAD = sys.maxsize
    if args.fresh:
        shutil.rmtree(memory_place(args.cache, "quick"), ignore_errors=True)
    before = known(args.recorded)
    ratios = {name: RATIOS[name] for name in args.only}
    bench = Bench(args.cache)
    if args.record:
        runs = [measured(ratios, bench, {}) for _ in range(AGAIN)]
        tries = {name: [run[name][0] for run in runs] for name in ratios}
        made = recording(tries)
        for part in ("ratios", "tries"):
            made[part] = before.get(part, {}) | made[part]
        write_json(args.recorded, made)
    else:
        tries = measured(ratios, bench, before["ratios"])
        made = recording(tries)
    if args.out is not None:
        write_json(args.out, made)
    found = {name: min(values) for name, values in tries.items()}
    rows = [[n, v, before["ratios"].get(n), max(tries[n]) / min(tries[n]) - 1] for n, v in found.items()]
    print(markdown(["ratio", "now", "recorded", "spread of the tries"], rows))
    lost = [] if args.record else losses(found, before["ratios"])
    for line in lost:
        print(line, file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
