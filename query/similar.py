"""Which tracks look alike: pairs with a cosine of at least so much, best first.

Of up to EXACT tracks all pairs are compared. Of more, tracks are sorted into cells about some of them, each into the
cells of its nearest few, and only pairs of one cell are compared: their cosines are exact, but a pair that shares no
cell is missed. What is much alike shares a cell, and of a thing that is seen often each track has many such neighbours,
so that hardly a tie between things is lost (benchmarks/ten_hours.py counts it).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..records import Float32

EXACT = 6144
"""Tracks of which all pairs are compared."""
NEIGHBOURS, FEWER = 32, 8
"""Ties per track at the most, and per track and cell where there are cells: a thousand views of one sofa need not all
be compared with each other."""
CELL, CELLS_EACH = 64, 3
"""Tracks that a cell is made for, and cells that each track is in."""
SKETCH = 128
"""Numbers of a vector that tell which cells it is near."""
_BLOCK = 1024

Ties = tuple[NDArray[np.intp], NDArray[np.intp]]


def ties(vectors: Float32, like: float) -> Ties:
    """Pairs of rows of unit vectors `(n, D)` with a cosine of at least `like`, best first, the lower row first."""
    found = list(_within_cells(vectors, like) if len(vectors) > EXACT else _all(vectors, like))
    a, b, cosine = (np.concatenate(part) for part in zip(*found, strict=True))
    low, high = np.minimum(a, b), np.maximum(a, b)
    _, once = np.unique(low * np.int64(len(vectors)) + high, return_index=True)
    # Rounded, so that it does not hang on who was multiplied together with whom.
    order = once[np.lexsort((high[once], low[once], -np.round(cosine[once], 5)))]
    return low[order], high[order]


Found = tuple[NDArray[np.intp], NDArray[np.intp], Float32]


def _all(vectors: Float32, like: float) -> Iterator[Found]:
    for start in range(0, len(vectors), _BLOCK):
        near = vectors[start : start + _BLOCK] @ vectors.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -2
        i, j, cosine = _best(near, like, NEIGHBOURS)
        yield i + start, j, cosine


def _within_cells(vectors: Float32, like: float) -> Iterator[Found]:
    from concurrent.futures import ThreadPoolExecutor

    n = len(vectors)
    # Which cells are near, a part of each vector tells well enough.
    sketch = np.ascontiguousarray(vectors[:, :: max(1, vectors.shape[1] // SKETCH)])
    centres = sketch[np.linspace(0, n - 1, -(-n // CELL)).astype(np.intp)]
    homes = np.empty((n, CELLS_EACH), np.intp)

    def settle(start: int) -> None:
        near = sketch[start : start + _BLOCK] @ centres.T
        for place in range(CELLS_EACH):
            homes[start : start + _BLOCK, place] = best = near.argmax(1)
            near[np.arange(len(near)), best] = -2

    def compare(part: tuple[int, int, int]) -> Found:
        low, high, start = part
        mine, all_here = rows[start : min(start + _BLOCK, high)], rows[low:high]
        near = vectors[mine] @ vectors[all_here].T
        near[np.arange(len(mine)), np.arange(start - low, start - low + len(mine))] = -2
        i, j, cosine = _best(near, like, FEWER)
        return mine[i], all_here[j], cosine

    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(settle, range(0, n, _BLOCK)))
        rows = np.argsort(homes.ravel(), kind="stable") // CELLS_EACH
        bounds = np.searchsorted(np.sort(homes.ravel()), np.arange(len(centres) + 1)).tolist()
        # A crowded cell is worked on in parts.
        parts = [(low, high, start) for low, high in pairwise(bounds) for start in range(low, high, _BLOCK)]
        yield from pool.map(compare, parts)


def _cores() -> int:
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _best(near: Float32, like: float, most: int) -> Found:
    """Of cosines `(m, n)`, which is written over, the places and values of those of at least `like`, the best `most` of
    each row."""
    crowded = np.flatnonzero((near >= like).sum(1) > most)
    if len(crowded):
        part = near[crowded]
        weak = np.argpartition(part, -most, axis=1)[:, :-most]
        np.put_along_axis(part, weak, -2, axis=1)
        near[crowded] = part
    i, j = np.nonzero(near >= like)
    return i, j, near[i, j]
