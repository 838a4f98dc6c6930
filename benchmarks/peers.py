"""Search against other libraries, on the same vectors: `python -m benchmarks.peers --out FILE.json [--sizes 1e3,1e7]`.

vidmem        `top`: the ten best tracks; `all`: every track above a threshold, which is what `where` needs; `where`,
              `likely`: whole answers of `Memory.where` to a picture, by a threshold and by probability; `words`: to a
              word; `both`: to a word and a picture
faiss         `flat`: IndexFlatIP in float32; `SQfp16`: the same in half the memory
usearch       `exact`, in fp16; `HNSW`, which may miss some: see its recall. Above --graph tracks it is left out,
              because building it takes longer than all else
numpy         a matrix product and a partial sort, in float32 and fp16

The vectors are the visual tokens of a synthetic memory (query_memories.py), 128 numbers in 2,000 clumps; a question is
a track's token with noise, as another view of the thing would give. Each way runs in a process of its own. vidmem and
the other are asked in turns, a question each, so that whatever else the machine does slows both. A ratio is the other's
median over vidmem's for the same operation, in `ROUNDS` parts of the run; beside it are the least and the largest.

Where the real clips are there, a second table has what a user would otherwise keep of them: one vector a frame, or one
a patch (ways.py).

Slopes are of a line through log time over log tracks; 1 is linear. Writes FILE.json, FILE.md and FILE.png.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._peer import THRESHOLD, WAYS, K
from benchmarks.common import (
    CLIPS,
    OUT,
    ROOT,
    machine,
    markdown,
    measured_on,
    memory_place,
    model,
    parser_for,
    put_into,
    quantile,
    say,
    slope,
    write_json,
)
from benchmarks.query_memories import tracks_alone
from benchmarks.truth import brute, check, cosines, top_cosines, write_vectors
from vidmem import Memory
from vidmem.geometry import unit
from vidmem.query.question import Question
from vidmem.query.where import where
from vidmem.records import Float32

OURS = "vidmem"
SIZES = "1e3,1e4,1e5,1e6"
ROUNDS, QUESTIONS, CHECKS, CLIP_ROUNDS = 5, 100, 10, 3
SECONDS = 8.0
"""For the questions of one pair, about: slow ways are asked less often, but at least twice a round."""
LARGE = 100_000
"""From so many tracks on the scan is most of the time."""
CLOSE = 5e-4
"""A row counts as one of the best ten if its cosine is within this of the tenth: fp16 moves norms by as much."""
CHECKED = 1_000_000
"""Up to so many tracks whole answers are checked against brute force."""
MOST_SLOPE = 1.05
COLOURS = ("#c8553d", "#3d6a9e", "#7fa8d1", "#4c9f70", "#a3cfb4", "#555555", "#aaaaaa")


class Child:
    """A process that answers questions in one way."""

    def __init__(self, way: str, folder: Path, threads: int) -> None:
        # numpy takes its threads from the environment, the others from `threads`; vidmem allows BLAS one, as its
        # command line does.
        env = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self._command = [sys.executable, "-m", "benchmarks._peer"]
        self._rest = [way, str(folder), str(threads)]
        self._env = env | ({"OPENBLAS_NUM_THREADS": "1"} if way == OURS else {})
        self._process: subprocess.Popen[str] | None = None

    def build(self) -> dict[str, Any]:
        """What it costs to make the index."""
        command = [*self._command, "build", *self._rest]
        done = subprocess.run(command, cwd=ROOT, env=self._env, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout))

    def start(self) -> dict[str, Any]:
        """What it costs to load it."""
        self._process = subprocess.Popen(
            [*self._command, "serve", *self._rest],
            cwd=ROOT,
            env=self._env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self._said()

    def ask(self, operation: str, number: int) -> tuple[float, list[int] | None]:
        """Milliseconds, and the rows found."""
        pipe = self._running().stdin
        assert pipe is not None
        pipe.write(f"{operation} {number}\n")
        pipe.flush()
        said = self._said()
        return said["ms"], said["rows"]

    def _said(self) -> dict[str, Any]:
        pipe = self._running().stdout
        assert pipe is not None
        line = pipe.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._rest)} ended ({self._running().wait()})")
        return dict(json.loads(line))

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start it first"
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


def prepare(place: Path, tracks: int) -> Float32:
    """The memory, its vectors and the questions in `place`; return the questions."""
    tracks_alone(place / "memory", tracks)
    if not (place / "vectors.npy").exists():
        write_vectors(place / "memory", place / "vectors.npy")
    half = np.load(place / "vectors.npy", mmap_mode="r")
    rng = np.random.default_rng(1)
    token = np.asarray(half[np.sort(rng.integers(0, len(half), QUESTIONS))], np.float32)
    noise = rng.standard_normal(token.shape, dtype=np.float32) * np.float32(0.5 / token.shape[1] ** 0.5)
    questions = unit(token + noise)
    np.save(place / "questions.npy", questions)
    return questions


def in_turns(one: Child, other: Child, pairs: Sequence[tuple[str, str]]) -> list[list[tuple[float, float]]]:
    """Ask both in turns; for each pair of operations the times of both for each question."""
    first = [(one.ask(a, 0)[0], other.ask(b, 0)[0]) for a, b in pairs]
    cost = sum(map(sum, first)) / 1e3
    many = max(2 * ROUNDS, min(QUESTIONS, int(SECONDS / max(cost, 1e-6)))) // ROUNDS * ROUNDS
    times: list[list[tuple[float, float]]] = [[] for _ in pairs]
    for number in range(many):
        for held, (a, b) in zip(times, pairs, strict=True):
            if number % 2:
                late = other.ask(b, number)[0]
                held.append((one.ask(a, number)[0], late))
            else:
                held.append((one.ask(a, number)[0], other.ask(b, number)[0]))
    return times


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median and 95 % quantile in ms, and the least and largest median of a round."""
    parts = [quantile(part, 0.5) for part in rounds(values)]
    return {
        "p50_ms": quantile(values, 0.5),
        "p95_ms": quantile(values, 0.95),
        "p50_least_ms": min(parts),
        "p50_most_ms": max(parts),
        "questions": len(values),
    }


def rounds(values: Sequence[float]) -> list[Sequence[float]]:
    step = max(1, len(values) // ROUNDS)
    return [values[start : start + step] for start in range(0, step * ROUNDS, step)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Their median over ours, round by round: the median ratio, the least and the largest."""
    each = [quantile(b, 0.5) / quantile(a, 0.5) for a, b in zip(rounds(ours), rounds(theirs), strict=True)]
    return {"median": quantile(each, 0.5), "least": min(each), "most": max(each)}


def recall(child: Child, best: list[set[int]]) -> float:
    """The share of the ten rows found that are among the best ten."""
    return sum(len(set(child.ask("top", i)[1] or ()) & rows) for i, rows in enumerate(best)) / (
        sum(min(K, len(rows)) for rows in best)
    )


def compare(place: Path, tracks: int, threads: int, ways: Iterable[str]) -> list[dict[str, Any]]:
    """A row for each way and operation."""
    questions = prepare(place, tracks)
    best = top_cosines(place / "vectors.npy", questions[:CHECKS], K, CLOSE)
    ours = Child(OURS, place, threads)
    cost = ours.build() | ours.start()
    cost["memory_bytes"] = sum(p.stat().st_size for p in (place / "memory").rglob("*") if p.is_file())
    times: dict[str, list[float]] = {operation: [] for operation in cost["operations"]}
    rows: list[dict[str, Any]] = []
    try:
        for way in ways:
            say(f"{tracks:,} tracks: {way}")
            child = Child(way, place, threads)
            theirs = child.build()
            theirs |= child.start()
            try:
                pairs = [(op, op) for op in theirs["operations"]]
                for (operation, _), held in zip(pairs, in_turns(ours, child, pairs), strict=True):
                    mine, its = [a for a, _ in held], [b for _, b in held]
                    times[operation] += mine
                    row: dict[str, Any] = {"way": way, "operation": operation, **spread(its), "ratio": ratio(mine, its)}
                    if operation == "top":
                        row |= {"recall": recall(child, best)} | _cost(theirs, tracks)
                    rows.append(row)
            finally:
                child.stop()
                if WAYS[way].file not in ("", "vectors.npy"):
                    (place / WAYS[way].file).unlink()
        alone = [(op, op) for op in times if not times[op]]
        for (operation, _), held in zip(alone, in_turns(ours, ours, alone), strict=True):
            times[operation] += [t for pair in held for t in pair]
        first = [{"way": OURS, "operation": operation, **spread(taken)} for operation, taken in times.items()]
        first[0] |= {"recall": recall(ours, best), "memory_bytes": cost["memory_bytes"] / tracks} | _cost(cost, tracks)
    finally:
        ours.stop()
    if tracks <= CHECKED:
        check_answers(place, questions)
    return [{"tracks": tracks, **row} for row in [*first, *rows]]


def check_answers(place: Path, questions: Float32) -> None:
    """Raises AssertionError unless whole answers of vidmem are those of brute force: the same tracks, the same newest
    sighting."""
    truth = brute(place / "memory")
    with Memory.open(place / "memory", read_only=True) as memory:
        cache, calibration = memory.cache(), memory.calibration
        for question in questions[:CHECKS]:
            answer = where(memory.store, cache, calibration, Question(visual=question, threshold=THRESHOLD), top=None)
            check(answer, truth, cosines(truth["visual"], question), THRESHOLD)
        for word in list(memory.text_encoder.names())[:CHECKS]:
            (text,) = memory.text_encoder.encode_text([word])
            answer = memory.where(word, threshold=THRESHOLD, top=None)
            check(answer, truth, cosines(truth["text"], text), THRESHOLD)


def _cost(said: dict[str, Any], tracks: int) -> dict[str, float]:
    return {
        "build_s": said["build_s"],
        "load_s": said["load_s"],
        "disk_bytes_a_track": said["disk_bytes"] / tracks,
        "rss_bytes_a_track": said["rss_bytes"] / tracks,
    }


def slopes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slope of each way and operation, over all sizes and over the large ones."""
    out = []
    for way, operation in dict.fromkeys((row["way"], row["operation"]) for row in rows):
        points = [(r["tracks"], r["p50_ms"]) for r in rows if (r["way"], r["operation"]) == (way, operation)]
        large = [point for point in points if point[0] >= LARGE]
        if len(points) > 1:
            some = slope(large) if len(large) > 1 else None
            out.append({"way": way, "operation": operation, "all": slope(points), "large": some})
    return out


def clips(place: Path) -> dict[str, Any] | None:
    """What three ways keep of the real clips; None where there are none."""
    from benchmarks.ways import compared

    if not CLIPS.is_dir():
        return None
    say("the real clips, three ways")
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return compared(sorted(CLIPS.glob("*.mp4")), Path(folder), CLIP_ROUNDS)


def tables(result: dict[str, Any]) -> str:
    """The tables of the documentation."""
    rows = result["rows"]
    sizes = list(dict.fromkeys(row["tracks"] for row in rows))
    steep = {(s["way"], s["operation"]): s["large"] or s["all"] for s in result["slopes"]}
    at = {(row["way"], row["operation"], row["tracks"]): row for row in rows}
    kinds = list(dict.fromkeys((row["way"], row["operation"]) for row in rows))
    lines: list[list[object]] = [
        [f"{way}: {operation}", *(_time(at.get((way, operation, n))) for n in sizes), steep.get((way, operation))]
        for way, operation in kinds
    ]
    parts = [markdown(["ms (median)", *(f"{n:,} tracks" for n in sizes), "slope"], lines)]
    lines = []
    for way in dict.fromkeys(way for way, _ in kinds):
        row = at[way, "top", max(n for n in sizes if (way, "top", n) in at)]
        lines.append([way, f"{row['tracks']:,}", row["p95_ms"], *(row[key] for key in _COSTS)])
    parts.append(markdown(["", "tracks", "top: p95 ms", *_COSTS.values()], lines))
    if result["clips"]:
        found = result["clips"]
        lines = [
            [
                way,
                row["index_s_a_minute"],
                row["vectors_an_hour"],
                row["bytes_an_hour"] / 1e6,
                f"{row['right']} of {found['questions']}",
                row["tells"],
            ]
            for way, row in found["ways"].items()
        ]
        head = ["kept of the clips", "processor s to index a minute", "vectors an hour", "MB an hour", "right", "tells"]
        parts.append(markdown(head, lines))
    return "\n\n".join(parts) + "\n"


_COSTS = {
    "recall": "recall@10",
    "build_s": "build s",
    "load_s": "load s",
    "disk_bytes_a_track": "disk, bytes a track",
    "rss_bytes_a_track": "RAM, bytes a track",
}


def _time(row: dict[str, Any] | None) -> str | None:
    """The median, and in brackets how often vidmem's time that is: bold where vidmem is behind."""
    if row is None:
        return None
    if "ratio" not in row:
        return f"{row['p50_ms']:.3g}"
    times = f"x {row['ratio']['median']:.2g}"
    return f"{row['p50_ms']:.3g} ({f'**{times}**' if row['ratio']['median'] < 1 else times})"


def plot(path: Path, result: dict[str, Any]) -> None:
    """Time over tracks, and what three ways keep of an hour of video."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = result["clips"]
    figure, axes = plt.subplots(
        1, 2 if found else 1, figsize=(10 if found else 6, 3.6), width_ratios=[3, 2] if found else [1],
        layout="constrained", squeeze=False,
    )  # fmt: skip
    left = axes[0][0]
    colours = dict(
        zip(WAYS, ("#c8553d", "#3d6a9e", "#7fa8d1", "#4c9f70", "#a3cfb4", "#555555", "#aaaaaa"), strict=True)
    )
    for way, colour in colours.items():
        points = [(r["tracks"], r["p50_ms"]) for r in result["rows"] if (r["way"], r["operation"]) == (way, "top")]
        if points:
            label = way + (" (may miss some)" if "HNSW" in way else "")
            left.loglog(
                *zip(*points, strict=True), "o-", color=colour, label=label, linewidth=2.4 if way == OURS else 1.2
            )
    left.set_xlabel("tracks")
    left.set_ylabel("ms for the ten best (median)")
    left.set_title("one question, two cores", fontsize=10)
    left.legend(fontsize=8)
    left.grid(alpha=0.25)
    if found:
        right = axes[0][1]
        ways = list(found["ways"])
        sizes = [found["ways"][way]["bytes_an_hour"] / 1e6 for way in ways]
        bars = right.barh(ways, sizes, color=["#c8553d", "#3d6a9e", "#4c9f70"])
        right.bar_label(bars, [_caption(found, way) for way in ways], padding=3, fontsize=8)
        right.set_xlim(0, max(sizes) * 1.9)
        right.invert_yaxis()
        right.set_xlabel("MB an hour of video")
        right.set_title("kept by the same network", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _caption(found: dict[str, Any], way: str) -> str:
    row = found["ways"][way]
    return f"{row['bytes_an_hour'] / 1e6:.0f} MB, {row['right']} of {found['questions']} right"


def main() -> int:
    parser = parser_for(__doc__, "tables and a plot lie beside it")
    parser.add_argument("--sizes", default=SIZES, help=f"numbers of tracks ({SIZES}); 1e7 needs 20 GB of RAM and disk")
    parser.add_argument("--ways", default=",".join(w for w in WAYS if w != OURS), help="what to compare with (all)")
    parser.add_argument("--graph", type=float, default=1e5, help="most tracks for HNSW (1e5)")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1), help="of each search (the cores)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for memories (benchmarks/out)")
    parser.add_argument("--discard", action="store_true", help="delete the memories of this run")
    parser.add_argument("--docs", type=Path, help="put tables and plot into the documentation in this folder")
    parser.add_argument("--redraw", action="store_true", help="only tables and plot, from the JSON as it is")
    args = parser.parse_args()
    if args.redraw:
        result = {"slopes": [], "clips": None} | json.loads(args.out.read_text("utf-8"))
        result["slopes"] = slopes(result["rows"])
    else:
        ways = args.ways.split(",")
        if wrong := set(ways) - set(WAYS):
            parser.error(f"no way {', '.join(wrong)}; there are: {', '.join(WAYS)}")
        result = {"machine": machine(), "model": model(), "threads": args.threads, "rows": []}
        for tracks in map(int, map(float, args.sizes.split(","))):
            place = memory_place(args.cache, "peers", str(tracks))
            some = [way for way in ways if way != "usearch HNSW" or tracks <= args.graph]
            result["rows"] += compare(place, tracks, args.threads, some)
            write_json(args.out, result)  # what is there, should a later size be interrupted
            if args.discard:
                shutil.rmtree(place)
        result |= {"slopes": slopes(result["rows"]), "clips": clips(args.cache)}
        result["load_after"] = os.getloadavg()
    steep = [s for s in result["slopes"] if s["way"] == OURS and (s["large"] or s["all"]) > MOST_SLOPE]
    result["met"] = {"not above linear": not steep}
    write_json(args.out, result)
    text = f"{measured_on(result['machine'])}\n\n{tables(result)}"
    args.out.with_suffix(".md").write_text(text, "utf-8")
    plot(args.out.with_suffix(".png"), result)
    if args.docs is not None:
        put_into(args.docs / "benchmarks.md", "benchmarks.peers", text)
        shutil.copy(args.out.with_suffix(".png"), args.docs / "speed.png")
    print(tables(result))
    for s in steep:
        print(f"above linear: {s['way']}: {s['operation']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
