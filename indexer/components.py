"""Exact connected components of "these two rows are similar" graphs, without a full look at every pair.

Both relations of the merge have the form `x_i . x_j > c_i + c_j`. For an orthogonal projection P with rest R,

    x_i . x_j  =  Px_i . Px_j + Rx_i . Rx_j  <=  Px_i . Px_j + (|Rx_i|^2 + |Rx_j|^2) / 2,

so a pair that fails on the right-hand side fails for certain. A sketch `Px` of some dozens of numbers thus rules out
almost all pairs, and only the few others are tested on their full rows. No pair is ever wrongly ruled out, so the
components are those of the whole graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Rows = NDArray[np.intp]
Test = Callable[[Rows, Rows], NDArray[np.bool_]]
"""Takes pairs of row numbers `(P,)`, `(P,)` and says which are edges, `(P,)`."""

BLOCK = 256
"""Rows of the pair matrix made at a time: 256 x 3,072 floats stay in the cache."""

CROWDED = 16
"""Open pairs per row from which a pass over the block, to drop the settled ones, pays."""

FEW = 2048
"""Pairs tested before settled pairs are dropped again; doubles each time."""

SLACK = 1e-5
"""Widens the bound by this share of a row's squared norm, far above the error of float32 sums."""


def sketch_bound(sketch: Float32, square: Float32, half: Float32) -> Float32:
    """Return h `(n,)` such that no pair with `sketch_i . sketch_j <= h_i + h_j` is an edge.

    Args:
        sketch: `(n, k)`, orthogonal projection of the rows.
        square: `(n,)`, squared norms of the full rows.
        half: `(n,)`, c above: each row's half of the threshold.
    """
    rest = square - np.einsum("ij,ij->i", sketch, sketch)
    return np.asarray(half - rest / 2 - SLACK * square, dtype=np.float32)


def blocks(sketch: Float32, bound: Float32) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield (s, open): `open[i, j]` is set when the sketch does not rule out the pair of rows s + i and s + j > s + i.

    All pairs come once, block of rows by block of rows: open is `(<= BLOCK, n - s)`.
    """
    n = len(sketch)
    ones = np.ones((n, 1), dtype=np.float32)
    # The bound travels inside the product, so that the matrix is compared with 0 and no second one is made.
    left = np.concatenate([sketch, -bound[:, None], ones], axis=1)
    right = np.concatenate([sketch, ones, -bound[:, None]], axis=1)
    row = np.arange(min(n, BLOCK), dtype=np.int16)
    above = row[:, None] < row
    for start in range(0, n, BLOCK):
        pairs = left[start : start + BLOCK] @ right[start:].T > 0
        m = len(pairs)
        pairs[:, :m] &= above[:m, :m]
        yield start, pairs


def link(roots: Rows, i: Rows, j: Rows) -> None:
    """Join the components of i and j, in place: `roots` `(n,)` holds the smallest row of each row's component.

    Each root is attached to the smallest root that an edge leads to, then all chains are followed to their end; this
    repeats until no edge leads from one component to another. There is no cap, so chains of any length join.
    """
    while True:
        a, b = roots[i], roots[j]
        differ = a != b
        if not differ.any():
            return
        i, j, a, b = i[differ], j[differ], a[differ], b[differ]
        np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(shorter := roots[roots], roots):
            roots[:] = shorter


def link_similar(roots: Rows, sketch: Float32, bound: Float32, test: Test) -> None:
    """Join, in place, the components of all pairs that the sketch leaves open and that pass the test.

    Pairs already in one component are not tested. One pair per row goes first, then a few spread over the rest, then
    twice
    as many, and so on: within a group of g rows that settles most of the g (g - 1) / 2 pairs untested. `test` gets i
    ascending and j > i, and may get no pair.
    """

    def link_edges(i: Rows, j: Rows) -> None:
        share = FEW
        while len(i):
            differ = roots[i] != roots[j]
            i, j = i[differ], j[differ]
            tested = np.zeros(len(i), dtype=bool)
            tested[:: max(1, len(i) // share)] = True
            edge = tested.copy()
            edge[tested] = test(i[tested], j[tested])
            link(roots, i[edge], j[edge])
            i, j, share = i[~tested], j[~tested], 2 * share

    for start, pairs in blocks(sketch, bound):
        j = pairs.argmax(axis=1)
        i = np.flatnonzero(pairs[np.arange(len(pairs)), j])
        link_edges(i + start, j[i] + start)
        if np.count_nonzero(pairs) > CROWDED * len(pairs):
            # A wall, or a black picture: drop what is one component now, before pairs are listed.
            pairs &= roots[start : start + len(pairs), None] != roots[None, start:]
        i, j = np.divmod(np.flatnonzero(pairs), pairs.shape[1])
        link_edges(i + start, j + start)
