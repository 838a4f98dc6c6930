"""Which tracks look alike: pairs with at least a given cosine, best first.

Of up to EXACT tracks all pairs are compared. Of more, tracks are sorted into cells around some of them, each into the
cells of its nearest few, and only pairs of one cell are compared. Their cosines are exact, but a pair that shares no
cell is missed. Very similar tracks share a cell, and a thing that is seen often has many of them, so that hardly a link
between things is lost (benchmarks/ten_hours.py counts it).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..records import Float32

EXACT = 6144
"""Up to this many tracks, all pairs are compared."""
NEIGHBOURS = 32
"""The most pairs per track: a thousand views of one sofa need not all be linked to each other."""
CELL_NEIGHBOURS = 8
"""The most pairs per track and cell, where there are cells."""
CELL = 64
"""One cell is made for this many tracks."""
CELLS_EACH = 3
"""How many cells each track is in."""
SKETCH = 128
"""How many numbers of a vector decide which cells it is near."""
_BLOCK = 1024
"""Rows that are compared at a time."""

Found = tuple[NDArray[np.intp], NDArray[np.intp], Float32]
"""Rows, rows and their cosines, `(p,)` each."""


def similar_pairs(vectors: Float32, min_cosine: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of rows of unit vectors `(n, D)` with a cosine of at least `min_cosine`, best first, the lower row
    first."""
    compare = _within_cells if len(vectors) > EXACT else _all
    found = list(compare(vectors, min_cosine))
    a, b, cosine = (np.concatenate(part) for part in zip(*found, strict=True))
    low, high = np.minimum(a, b), np.maximum(a, b)
    _, once = np.unique(low * np.int64(len(vectors)) + high, return_index=True)
    # Rounded, so that the order does not depend on which rows were multiplied together.
    order = once[np.lexsort((high[once], low[once], -np.round(cosine[once], 5)))]
    return low[order], high[order]


def _all(vectors: Float32, min_cosine: float) -> Iterator[Found]:
    for start in range(0, len(vectors), _BLOCK):
        near = vectors[start : start + _BLOCK] @ vectors.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -2
        i, j, cosine = _best(near, min_cosine, NEIGHBOURS)
        yield i + start, j, cosine


def _within_cells(vectors: Float32, min_cosine: float) -> Iterator[Found]:
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and only large memories need it

    n = len(vectors)
    # A part of each vector is enough to say which cells are near.
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
        own, cell = rows[start : min(start + _BLOCK, high)], rows[low:high]
        near = vectors[own] @ vectors[cell].T
        near[np.arange(len(own)), np.arange(start - low, start - low + len(own))] = -2
        i, j, cosine = _best(near, min_cosine, CELL_NEIGHBOURS)
        return own[i], cell[j], cosine

    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(settle, range(0, n, _BLOCK)))
        rows = np.argsort(homes.ravel(), kind="stable") // CELLS_EACH
        bounds = np.searchsorted(np.sort(homes.ravel()), np.arange(len(centres) + 1)).tolist()
        # A crowded cell is worked on in parts.
        parts = [(low, high, start) for low, high in pairwise(bounds) for start in range(low, high, _BLOCK)]
        yield from pool.map(compare, parts)


def _cores() -> int:
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _best(near: Float32, min_cosine: float, top: int) -> Found:
    """The places and values of the cosines `(m, n)` of at least `min_cosine`, at most the `top` best of each row.
    `near` is overwritten."""
    crowded = np.flatnonzero((near >= min_cosine).sum(1) > top)
    if len(crowded):
        part = near[crowded]
        weak = np.argpartition(part, -top, axis=1)[:, :-top]
        np.put_along_axis(part, weak, -2, axis=1)
        near[crowded] = part
    i, j = np.nonzero(near >= min_cosine)
    return i, j, near[i, j]
