"""The first pass of the search against flat scans, in turns: `python -m benchmarks.first_pass --out FILE.json`.

flat fp32     faiss IndexFlatIP, `search` for the ten best; `range_search` for all above a threshold
flat fp16     the scan of vidmem without a first pass
first pass    the search of vidmem with one: the same answers to the last bit, which is checked in every question
PQ, RaBitQ    FAISS's fast-scan indexes of about the same size, whose best 100 are refined by the true vectors: their
              answers may lack something, so the share of the true ten best is given

Two kinds of vectors: `clumps`, 2,000 random directions with noise, as bad for codes as vectors in clumps can be; and
`steep`, with a spectrum that falls as 1/rank, as encoders give. A question is a row with noise of half its length.
`passing` is the share of rows that the codes leave; `all scanned` is the share of questions for which they leave so
many that all rows are scanned: those take as long as the flat fp16 scan.

Seconds to build are those of this process's processor time. Bytes a vector are codes, and the 8 bytes that FAISS keeps
of each row's number. Writes FILE.json and FILE.png.

With --cells it simulates instead what cells would spare (benchmarks/first_cells.py) and writes FILE.json.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import CLIPS, machine, parser_for, quantile, say, slope, write_json
from benchmarks.first_cells import CELL_SIZES, cells_for, real_tokens, repeated, simulated, visited
from vidmem.geometry import unit
from vidmem.records import Float32
from vidmem.store import scan
from vidmem.store.first_codes import Tables, columns_for
from vidmem.store.first_pass import FirstPass, build

SIZES, WIDE_SIZES = "1e4,1e5,1e6", "1e5,3e5"
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
K, REFINED, ROUNDS = 10, 100, 5
NONE = np.empty(0, np.int64)
KINDS = ("clumps", "steep")
Half = NDArray[np.float16]


def vectors(kind: str, n: int, dim: int, seed: int = 0) -> Half:
    """Unit vectors `(n, dim)`."""
    rng = np.random.default_rng(seed)
    scale = (np.arange(1, dim + 1) ** -0.5 if kind == "steep" else np.ones(dim)).astype(np.float32)
    scale /= np.linalg.norm(scale)
    centres = unit(rng.standard_normal((2000, dim), dtype=np.float32) * scale)
    middle = 0.3 * scale if kind == "steep" else 0 * scale
    out = np.empty((n, dim), np.float16)
    for start in range(0, n, 1 << 16):
        count = min(1 << 16, n - start)
        noise = rng.standard_normal((count, dim), dtype=np.float32) * scale
        out[start : start + count] = unit(centres[rng.integers(0, 2000, count)] + np.float32(0.7) * noise + middle)
    return out


def questions(half: Half, count: int) -> Float32:
    rng = np.random.default_rng(1)
    rows = half[np.sort(rng.integers(0, len(half), count))].astype(np.float32)
    return unit(rows + 0.5 * unit(rng.standard_normal(rows.shape, dtype=np.float32)))


class Ways:
    """The ways to search, each ready: a name, and a function of a question and a threshold (None: the ten best)."""

    def __init__(self, half: Half, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self.half, self.dim = half, half.shape[1]
        began = time.process_time()
        stored = build(half)
        assert stored is not None
        self.build_s = time.process_time() - began
        self.first = FirstPass.of(stored)
        self.tables = Tables(stored.codes)
        wide = half.astype(np.float32)
        self.flat = faiss.IndexFlatIP(self.dim)
        self.flat.add(wide)
        del wide

    def fp32(self, q: Float32, threshold: float | None) -> Any:
        return self.flat.search(q[None], K) if threshold is None else self.flat.range_search(q[None], threshold)

    def fp16(self, q: Float32, threshold: float | None) -> Any:
        return scan.best(self.half, q, K) if threshold is None else scan.at_least(self.half, q, threshold)

    def coded(self, q: Float32, threshold: float | None) -> Any:
        """What VectorCache does."""
        if threshold is None:
            rows, bound = self.first.nearest(q, 2 * K + 16, NONE)
            rows, dots = scan.at_least_of(self.half, rows, q, -np.inf)
            best = np.lexsort((rows, -dots))[:K]
            if bound < dots[best[-1]]:
                return rows[best], dots[best]
            threshold = float(np.nextafter(dots[best[-1]], np.float32(-2)))
            rows, dots = self.coded(q, threshold)
            best = np.lexsort((rows, -dots))[:K]
            return rows[best], dots[best]
        found = self.first.at_least(self.half, q, threshold, NONE)
        return scan.at_least(self.half, q, threshold) if found is None else found

    def passing(self, q: Float32, threshold: float) -> float | None:
        """The share of rows that the codes leave; None if all are scanned."""
        rows = self.first._passing(self.tables.of(q), threshold, len(self.half))
        return None if rows is None else len(rows) / len(self.half)


def check(ways: Ways, q: Float32, threshold: float | None) -> None:
    """Raises AssertionError unless the first pass finds what the scan of all finds, to the last bit."""
    found, expected = ways.coded(q, threshold), ways.fp16(q, threshold)
    same_rows = threshold is None or np.array_equal(found[0], expected[0])
    if not same_rows or found[1].tobytes() != expected[1].tobytes():
        raise AssertionError(f"another answer at {threshold}")


def in_turns(ways: Sequence[Callable[..., Any]], asked: Float32, threshold: float | None) -> list[list[float]]:
    """Milliseconds of each way for each question."""
    times: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way(asked[0], threshold)
    for number, q in enumerate(asked):
        for shift in range(len(ways)):
            which = (number + shift) % len(ways)
            began = time.perf_counter()
            ways[which](q, threshold)
            times[which].append(1e3 * (time.perf_counter() - began))
    return times


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Their median over ours: of all questions, and the least and the most of five parts."""
    step = max(1, len(ours) // ROUNDS)
    cuts = range(0, step * ROUNDS, step)
    each = [quantile(theirs[at : at + step], 0.5) / quantile(ours[at : at + step], 0.5) for at in cuts]
    return {"median": quantile(theirs, 0.5) / quantile(ours, 0.5), "least": min(each), "most": max(each)}


def measured(kind: str, n: int, dim: int, count: int, threads: int) -> list[dict[str, Any]]:
    say(f"{kind}, {n:,} x {dim}")
    half = vectors(kind, n, dim)
    ways, asked = Ways(half, threads), questions(half, count)
    rows = []
    for threshold in (None, *THRESHOLDS):
        for q in asked:
            check(ways, q, threshold)
        coded, fp16, fp32 = in_turns((ways.coded, ways.fp16, ways.fp32), asked, threshold)
        row: dict[str, Any] = {"vectors": kind, "tracks": n, "dim": dim, "threshold": threshold}
        row |= {"first_ms": quantile(coded, 0.5), "first_p95_ms": quantile(coded, 0.95)}
        row |= {"fp16_ms": quantile(fp16, 0.5), "fp32_ms": quantile(fp32, 0.5)}
        row |= {"to_fp32": ratio(coded, fp32), "to_fp16": ratio(coded, fp16)}
        if threshold is not None:
            left = [ways.passing(q, threshold) for q in asked]
            some = [share for share in left if share is not None]
            row |= {"passing": float(np.mean(some)) if some else None, "all_scanned": 1 - len(some) / len(left)}
            row["found"] = float(np.mean([len(ways.fp16(q, threshold)[0]) for q in asked[:5]])) / n
        row |= {"build_s": ways.build_s, "bytes_a_vector": columns_for(dim) / 2 + 8}
        rows.append(row)
        say(
            f"  {threshold}: first pass {row['first_ms']:.2f}, fp16 {row['fp16_ms']:.2f}, "
            f"fp32 {row['fp32_ms']:.2f} ms, "
            f"passing {row.get('passing')}, all scanned {row.get('all_scanned')}"
        )
    return rows


def others(kind: str, n: int, dim: int, count: int, threads: int) -> list[dict[str, Any]]:
    """FAISS's own fast-scan indexes of about as many bytes, with the best 100 refined, on the same questions."""
    import faiss

    faiss.omp_set_num_threads(threads)
    half = vectors(kind, n, dim)
    wide, asked = half.astype(np.float32), questions(half, count)
    truth = [set(scan.best(half, q, K)[0].tolist()) for q in asked]
    made: dict[str, Any] = {"PQ fast-scan": faiss.IndexPQFastScan(dim, dim // 4, 4, faiss.METRIC_INNER_PRODUCT)}
    if hasattr(faiss, "IndexRaBitQFastScan"):
        made["RaBitQ fast-scan"] = faiss.IndexRaBitQFastScan(dim, faiss.METRIC_INNER_PRODUCT)
    rows = []
    for name, index in made.items():
        began = time.process_time()
        index.train(wide[: 1 << 16])
        index.add(wide)
        built = time.process_time() - began

        def ask(q: Float32, _: float | None, index: Any = index) -> NDArray[np.int64]:
            near = np.sort(index.search(q[None], REFINED)[1][0])
            found, dots = scan.at_least_of(half, near[near >= 0], q, -np.inf)
            return found[np.lexsort((found, -dots))[:K]]

        (times,) = in_turns((ask,), asked, None)
        right = sum(len(set(ask(q, None).tolist()) & best) for q, best in zip(asked, truth, strict=True))
        rows.append(
            {"way": name, "vectors": kind, "tracks": n, "dim": dim, "ms": quantile(times, 0.5), "build_s": built}
            | {"recall": right / sum(map(len, truth)), "bytes_a_vector": index.code_size}
        )
        say(f"  {name}: {rows[-1]['ms']:.2f} ms, recall {rows[-1]['recall']:.3f}")
    return rows


def plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Time and bytes over the number of tracks, with lines on to 1e8."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    colours = {"first": "#c8553d", "fp16": "#3d6a9e", "fp32": "#555555"}
    labels = {"first": "first pass", "fp16": "flat fp16", "fp32": "flat fp32 (faiss)"}
    held = [r for r in rows if r["dim"] == 256 and r["vectors"] == "clumps" and r["threshold"] == 0.7]
    for way, colour in colours.items():
        points = [(r["tracks"], r[f"{way}_ms"]) for r in held]
        left.plot(*zip(*points, strict=True), "o-", color=colour, label=labels[way])
        n, ms = points[-1]
        left.plot([n, 1e8], [ms, ms * 1e8 / n], ":", color=colour)
    sizes = [r["tracks"] for r in held] + [1e8]
    right.plot(sizes, [n * 48 for n in sizes], "o-", color=colours["first"], label="codes, 48 bytes")
    right.plot(sizes, [n * 512 for n in sizes], "o-", color=colours["fp16"], label="fp16, 512 bytes")
    right.plot(sizes, [n * 1024 for n in sizes], "o-", color=colours["fp32"], label="fp32, 1,024 bytes")
    left.set(xscale="log", yscale="log", xlabel="tracks", ylabel="ms, all above .7 (dotted: by proportion)")
    right.set(xscale="log", yscale="log", xlabel="tracks", ylabel="bytes, 256 numbers")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def cells(out: Path, sizes: Sequence[int], clips: Path, count: int) -> None:
    """Write what an exact search by cells would read."""
    made: dict[str, Callable[[int], Half]] = {kind: partial(vectors, kind, dim=256) for kind in KINDS}
    result: dict[str, Any] = {"machine": machine()}
    if clips.is_dir():
        tokens = real_tokens(clips)
        once = tokens.astype(np.float16)
        result |= {"tokens": len(tokens), "tokens once": visited(once, questions(once, count), cells_for(len(tokens)))}
        made["tokens"] = partial(repeated, tokens)
    write_json(out, result | simulated(made, sizes, questions, count))


def main() -> int:
    parser = parser_for(__doc__, "a plot is written beside it")
    parser.add_argument("--sizes", default=SIZES, help=f"tracks of 256 numbers; default: {SIZES}")
    parser.add_argument("--wide", default=WIDE_SIZES, help=f"tracks of 512 numbers, or nothing; default: {WIDE_SIZES}")
    parser.add_argument("--questions", type=int, default=40, help="questions for each figure; default: 40")
    parser.add_argument("--threads", type=int, default=2, help="threads of FAISS; default: 2")
    parser.add_argument("--cells", nargs="?", const=CELL_SIZES, help=f"only simulate cells; default: {CELL_SIZES}")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    args = parser.parse_args()
    if args.cells:
        cells(args.out, [int(float(size)) for size in args.cells.split(",")], args.clips, args.questions)
        return 0
    result: dict[str, Any] = {"machine": machine(), "threads": args.threads, "rows": [], "others": []}
    result["load_before"] = os.getloadavg()
    for dim, sizes in ((256, args.sizes), (512, args.wide)):
        for n in [int(float(size)) for size in sizes.split(",") if size]:
            for kind in KINDS:
                result["rows"] += measured(kind, n, dim, args.questions, args.threads)
                write_json(args.out, result)  # what is there, should a later size be interrupted
    largest = max(int(float(size)) for size in args.sizes.split(","))
    for kind in KINDS:
        result["others"] += others(kind, min(largest, 1_000_000), 256, args.questions, args.threads)
    held = [r for r in result["rows"] if r["dim"] == 256 and r["vectors"] == "clumps" and r["threshold"] == 0.7]
    if len(held) > 1:
        result["slope"] = slope([(r["tracks"], r["first_ms"]) for r in held])
    last = [r for r in held if r["tracks"] >= 1e6]
    result["met"] = {
        "five times flat fp32 at a million": bool(last) and last[-1]["to_fp32"]["median"] >= 5,
        "48 bytes": columns_for(256) / 2 + 8 <= 48,
    }
    result["load_after"] = os.getloadavg()
    write_json(args.out, result)
    plot(args.out.with_suffix(".png"), result["rows"])
    print(result["met"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
