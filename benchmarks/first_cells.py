"""Whether cells (IVF) would spare an exact search anything: `python -m benchmarks.first_pass --cells --out FILE.json`.

An inverted file shares vectors out to cells, each with a centre c. Let no member of a cell be further from c than the
angle r. By the triangle inequality of angles a question q at an angle a from c is at least a - r from every member.
So a search of all vectors above a cosine t has to visit the cells with a - r <= arccos t, and no other. For vectors of
unit length that is the best that a centre and a radius can prove: the ball around c cut with the sphere is that cap.

No inverted file is built. Cells are made by spherical k-means, the vectors are shared out to them, and it is counted
what a search would have to visit. `kept aside`: the 5 % of a cell that are furthest from its centre are kept in a list
that is always read, so that single strays do not make cells large. The better of the two is what counts.

`tokens` are region tokens of real clips, none linked to tracks, repeated with noise of a fifth of their length until
they are enough. So they lie closer together than as many real ones would, which favours cells.

Two shares are given for 1e7 and 1e8 vectors: that of the largest size, if more vectors change nothing; and that on the
straight line through log share over log n, by least squares, at least what a question finds and at most 1. The line
flatters where made vectors have fewer clumps than there are cells. The bytes that a search reads are cells x 2 D for
centres in half precision, and for each vector in a visited cell its code.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import say
from benchmarks.sweeps import settings
from vidmem import Memory
from vidmem.geometry import unit
from vidmem.records import Float32
from vidmem.store import Store, VectorCache, scan
from vidmem.store.first_codes import columns_for

CELL_SIZES = "1e5,3e5,1e6"
BEYOND = (10**7, 10**8)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
STRAYS = 0.05
"""Share of each cell that is kept aside."""
CLIPS_USED = ("sam2_04_coffee.mp4", "torchcodec_nasa_13013.mp4")
NOISE = 0.2
_SAMPLE, _ROUNDS, _CHUNK = 1 << 16, 5, 1 << 14
Half = NDArray[np.float16]


def cells_for(n: int) -> int:
    """Cells of n vectors: 4 sqrt(n), as FAISS advises for up to a million; more cost more centres to compare."""
    return round(4 * math.sqrt(n))


def real_tokens(clips: Path) -> Float32:
    """Visual region tokens `(m, D)` of two short clips, in a memory that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        with Memory.open(folder) as memory:
            memory.index([clips / name for name in CLIPS_USED], config=settings("preset", None))
        with Store.open(Path(folder)) as store:
            cache = VectorCache(store)
            return cache.reconstruct("visual", np.arange(len(cache)))


def repeated(tokens: Float32, n: int) -> Half:
    """`n` vectors: the tokens in turn, with noise."""
    rng = np.random.default_rng(0)
    out = np.empty((n, tokens.shape[1]), np.float16)
    for start in range(0, n, _CHUNK):
        some = tokens[np.arange(start, min(start + _CHUNK, n)) % len(tokens)]
        out[start : start + len(some)] = unit(some + NOISE * unit(rng.standard_normal(some.shape, dtype=np.float32)))
    return out


def shared_out(half: Half, count: int) -> tuple[Float32, NDArray[np.int64], Float32]:
    """Share vectors out: centres `(count, D)` of cells, and of each vector its cell and the cosine to its centre."""
    import faiss

    rng = np.random.default_rng(0)
    sample = half[np.sort(rng.choice(len(half), min(len(half), _SAMPLE), replace=False))].astype(np.float32)
    means = faiss.Kmeans(half.shape[1], count, niter=_ROUNDS, spherical=True, seed=1, min_points_per_centroid=1)
    means.train(sample)
    centres = unit(np.asarray(means.centroids, np.float32))
    index = faiss.IndexFlatIP(half.shape[1])
    index.add(centres)
    cell, near = np.empty(len(half), np.int64), np.empty(len(half), np.float32)
    for start in range(0, len(half), _CHUNK):
        dots, which = index.search(half[start : start + _CHUNK].astype(np.float32), 1)
        cell[start : start + len(dots)], near[start : start + len(dots)] = which[:, 0], dots[:, 0]
    return centres, cell, near


def radii(cell: NDArray[np.int64], near: Float32, count: int, share: float) -> tuple[Float32, NDArray[np.int64]]:
    """The radius of each cell, in radians, of all its members but a share of the furthest, and how many it then has.

    An empty cell has no members and the radius -pi, so that it is not visited.
    """
    order = np.lexsort((near, cell))  # the furthest first
    sizes = np.bincount(cell, minlength=count)
    aside = np.floor(sizes * share).astype(np.int64)
    first = np.cumsum(sizes) - sizes + aside
    out = np.full(count, -np.pi, np.float32)
    some = sizes > 0
    out[some] = np.arccos(np.clip(near[order[first[some]]], -1, 1))
    return out, sizes - aside


def visited(half: Half, asked: Float32, count: int) -> list[dict[str, Any]]:
    """For each threshold the share of cells that exact searches visit, and of vectors that they read."""
    centres, cell, near = shared_out(half, count)
    angles = np.arccos(np.clip(asked @ centres.T, -1, 1))
    ways = [radii(cell, near, count, share) for share in (0.0, STRAYS)]
    rows = []
    for threshold in THRESHOLDS:
        found = np.mean([len(scan.at_least(half, q, threshold)[0]) for q in asked]) / len(half)
        row: dict[str, Any] = {"threshold": threshold, "cells": count, "found": float(found)}
        for name, (radius, sizes) in zip(("all", "kept aside"), ways, strict=True):
            visit = angles - radius <= np.arccos(threshold)
            always = 1 - sizes.sum() / len(half)
            row[f"visited, {name}"] = float(visit.mean())
            row[f"read, {name}"] = float(always + (visit @ sizes).mean() / len(half))
        row["read"] = min(row["read, all"], row["read, kept aside"])
        row["radius, degrees"] = float(np.degrees(np.median(ways[0][0][ways[0][0] >= 0])))
        rows.append(row)
    return rows


def cost(n: int, cells: int, dim: int, read: float) -> dict[str, float]:
    """Bytes that a search reads with cells and without, and how many times more it is without."""
    code = columns_for(dim) / 2
    with_cells = cells * 2 * dim + read * n * code
    return {"MB with cells": with_cells / 1e6, "MB without": n * code / 1e6, "times less": n * code / with_cells}


def beyond(rows: Sequence[dict[str, Any]], dim: int) -> list[dict[str, Any]]:
    """Shares and bytes for more vectors than were shared out. rows: those of one kind and threshold, by size."""
    sizes, read = np.log10([row["vectors"] for row in rows]), np.log10([row["read"] for row in rows])
    slope, at_one = np.polyfit(sizes, read, 1)
    last = rows[-1]
    out = []
    for n in BEYOND:
        cells = cells_for(n)
        line = float(np.clip(10 ** (at_one + slope * np.log10(n)), last["found"], 1))
        row = {
            "kind": last["kind"],
            "threshold": last["threshold"],
            "vectors": n,
            "cells": cells,
            "slope": float(slope),
        }
        stays = {"read": last["read"]} | cost(n, cells, dim, last["read"])
        out.append(row | {"if it stays": stays, "on the line": {"read": line} | cost(n, cells, dim, line)})
    return out


def simulated(
    made: dict[str, Callable[[int], Half]], sizes: Sequence[int], ask: Callable[[Half, int], Float32], count: int
) -> dict[str, Any]:
    """Shares for each kind of vectors and number of them, and what follows for more.

    Args:
        made: Of each kind, n unit vectors.
        sizes: Numbers of vectors.
        ask: Questions `(count, D)` to vectors.
        count: How many questions.
    """
    rows: list[dict[str, Any]] = []
    more: list[dict[str, Any]] = []
    for kind, make in made.items():
        held: list[dict[str, Any]] = []
        for n in sizes:
            half = make(n)
            for row in visited(half, ask(half, count), cells_for(n)):
                about = {"kind": kind, "vectors": n, "dim": half.shape[1]}
                held.append(about | row | cost(n, cells_for(n), half.shape[1], row["read"]))
                say(f"{kind}, {n:,}, above {row['threshold']}: read {row['read']:.3f}")
        rows += held
        for threshold in THRESHOLDS if len(sizes) > 1 else ():
            more += beyond([row for row in held if row["threshold"] == threshold], held[0]["dim"])
    return {"measured": rows, "beyond": more}
