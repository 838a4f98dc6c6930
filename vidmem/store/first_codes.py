"""Codes of half a byte a group of numbers, with which a table per question bounds every inner product from above.

A vector less the mean is turned so that its strongest directions come first (PCA). Groups of one to eight of the turned
numbers are each replaced by one of 16 centroids: a product quantiser (Jégou et al., PAMI 2011) whose groups are small
where the variance is large. What that leaves out, r, is not thrown away: two more columns hold the length of r among
the strongest directions and among the others, rounded up. For a query q,

    q.x = q.mean + q.coded + q.r <= q.mean + q.coded + |q_1| |r_1| + |q_2| |r_2|       (Cauchy-Schwarz)

Each term on the right depends on one column alone. So it is one sum over a table of 16 entries a column, which is what
FAISS's fast-scan kernels add up (André et al., VLDB 2015), and no row is above its sum. The bound is no estimate: for
one that only holds with some probability, as RaBitQ's, answers would not be exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from .fp16 import half_to_float

COLUMNS = 80
"""Columns of 4 bits: 40 bytes a vector."""
WIDE, WIDE_COLUMNS = 256, 160
"""Vectors longer than `WIDE` numbers get 80 bytes: of 512 numbers 40 bytes say too little."""
MOST_COLUMNS = 256
"""Sums are of 16 bits."""
LEAST_ROWS = 64
"""Fewer vectors are not worth codes."""

_LEVELS = 16
_SIZES = (1, 2, 3, 4, 6, 8)
"""Numbers in a group."""
_SAMPLE = 8192
"""Vectors that codes are learned from, evenly spread over the rows."""
_STEPS = 10
"""Iterations of k-means."""
_CHUNK = 8192
"""Rows that are encoded at a time."""
_SPLITS = (16, 8, 4, 2)
"""The strongest 1/16 to 1/2 of the directions may be the first block of the residual."""
_LOSS = {1: 1.7, 2: 1.5, 3: 1.4, 4: 1.33, 6: 1.27, 8: 1.22}
"""How much worse 16 centroids are than the rate-distortion bound of a Gaussian; it only shares out the columns."""
_MOST_COPIES = 12
_UNIT = 2.0**-24
"""Relative error of one float32 operation."""
_LONGEST = 2.5
"""Largest norm of a vector less the mean that is encoded. Sound vectors have at most 2."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """How vectors `(n, D)` are encoded in C columns.

    Attributes:
        mean: `(D,)` float32.
        rotation: `(D, D)` float32, orthonormal rows: directions, the strongest first.
        groups: `(G, 2)` int64: first direction and number of directions of each group. A second group on the same
            directions refines the first.
        centroids: `(G, 16, 8)` float32; a group uses as many numbers as it has directions.
        columns: `(C - 2,)` int64: the group of each column. A group with several columns counts in parts, because the
            largest entry of a table sets the step of all.
        split: Directions before this one are the first block of the residual.
        levels: `(2, 16)` float32, ascending: lengths of the residual in the two blocks, the last two columns.
    """

    mean: Float32
    rotation: Float32
    groups: NDArray[np.int64]
    centroids: Float32
    columns: NDArray[np.int64]
    split: int
    levels: Float32

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return len(self.mean)

    @property
    def width(self) -> int:
        """Number C of columns."""
        return len(self.columns) + 2


def columns_for(dim: int) -> int:
    """Return how many columns vectors of this length get."""
    return COLUMNS if dim <= WIDE else WIDE_COLUMNS


def train(half: NDArray[np.float16], width: int | None = None) -> Codes:
    """Learn codes from vectors `(n, D)`, n at least `LEAST_ROWS`. The same vectors give the same codes.

    Args:
        half: The vectors.
        width: Number of columns, even; None for what `columns_for` says.
    """
    dim = half.shape[1]
    width = columns_for(dim) if width is None else width
    rows = np.unique(np.linspace(0, len(half) - 1, min(len(half), _SAMPLE)).astype(np.int64))
    sample = half_to_float(half[rows])
    mean = sample.mean(0)
    centred = sample - mean
    strength, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(sample))
    order = np.argsort(-strength, kind="stable")
    strength, rotation = np.maximum(strength[order], 0), np.ascontiguousarray(directions[:, order].T, np.float32)
    groups, columns = _shared_out(strength, width - 2)
    turned = np.asarray(centred @ rotation.T, np.float32)
    left = turned.copy()
    centroids = np.zeros((len(groups), _LEVELS, max(_SIZES)), np.float32)
    for number, (start, size) in enumerate(groups.tolist()):
        part = left[:, start : start + size]
        centroids[number, :, :size] = _means(part)
        _subtract(part, centroids[number, :, :size])
    squares = np.cumsum(left.astype(np.float64) ** 2, axis=1)
    splits = [max(1, dim // n) for n in _SPLITS if dim > 1] or [0]
    queries = np.cumsum((turned + rotation @ mean)[:: max(1, len(rows) // 256)].astype(np.float64) ** 2, axis=1)
    split = min(splits, key=lambda cut: _slack(queries, squares, cut))
    levels = np.array([_levels(lengths) for lengths in _lengths(left, split)], np.float32)
    return Codes(mean, rotation, groups, centroids, columns, split, levels)


def encode(codes: Codes, half: NDArray[np.float16]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Encode vectors `(n, D)`.

    Returns:
        Columns `(n, C)` of numbers below 16, and `(n,)` which rows the codes cannot bound: they are to be looked at
        always.
    """
    out = np.empty((len(half), codes.width), np.uint8)
    odd = np.zeros(len(half), np.bool_)
    for start in range(0, len(half), _CHUNK):
        part = slice(start, start + _CHUNK)
        left: Float32 = half_to_float(half[part]) - codes.mean
        long = np.einsum("ij,ij->i", left, left) > _LONGEST**2
        left = np.asarray(left @ codes.rotation.T, np.float32)
        chosen = np.empty((len(left), len(codes.groups)), np.uint8)
        for number, (first, size) in enumerate(codes.groups.tolist()):
            chosen[:, number] = _subtract(left[:, first : first + size], codes.centroids[number, :, :size])
        out[part, :-2] = chosen[:, codes.columns]
        for column, lengths in enumerate(_lengths(left, codes.split)):
            # Lengths are of float32 sums; the nearest level above, with room for their rounding.
            level = np.searchsorted(codes.levels[column], lengths * (1 + 2 * codes.dim * _UNIT) + 1e-7)
            long |= level >= _LEVELS
            out[part, column - 2] = np.minimum(level, _LEVELS - 1)
        odd[part] = long
    return out, odd


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A question as whole numbers: `(C, 16)` float32 from 0 to 255, each column with a 0, one with a 255.

    For every row, `inner product <= base + sum of entries / scale`.
    """

    entries: Float32
    base: float
    scale: float

    def below(self, least: float) -> float:
        """A whole number that the sum of every row above `least` exceeds."""
        return float(np.ceil((least - self.base) * self.scale - 1e-6) - 1)

    @property
    def most(self) -> float:
        """The largest sum that a row can have."""
        return float(self.entries.max(axis=1).sum())


class Tables:
    """Makes tables of queries for one way to encode."""

    def __init__(self, codes: Codes) -> None:
        self._rotation, self._mean = codes.rotation.astype(np.float64), codes.mean.astype(np.float64)
        self._centroids, self._levels = codes.centroids.astype(np.float64), codes.levels.astype(np.float64)
        first, size = codes.groups[:, :1], codes.groups[:, 1:]
        inside = np.arange(codes.centroids.shape[2])
        self._directions = np.minimum(first + inside, codes.dim - 1)
        self._used = inside < size
        self._columns, self._split = codes.columns, codes.split
        self._share = 1 / np.maximum(np.bincount(codes.columns, minlength=len(codes.groups)), 1)
        # What float32 sums can add, those of the rotation and of the inner product itself (Higham 2002, section 3.1),
        # and what the rotation lacks to be one.
        skew = float(np.linalg.norm(self._rotation.T @ self._rotation - np.eye(codes.dim)))
        self._rounding = _LONGEST * (skew + 2 * codes.dim**1.5 * _UNIT)

    def of(self, query: Float32) -> Table:
        """Make the table of a query `(D,)`."""
        wide = query.astype(np.float64)
        turned = self._rotation @ wide
        parts = np.where(self._used, turned[self._directions], 0)
        products = np.einsum("gks,gs->gk", self._centroids, parts) * self._share[:, None]
        blocks = np.array([np.linalg.norm(turned[: self._split]), np.linalg.norm(turned[self._split :])])
        exact = np.concatenate([products[self._columns], blocks[:, None] * self._levels])
        least = exact.min(axis=1, keepdims=True)
        exact -= least
        # The largest entry becomes 255: then FAISS, which scales tables to that, takes these as they are.
        scale = (255 - 1e-6) / max(float(exact.max()), 1e-12)
        entries = np.minimum(np.ceil(exact * scale), 255)
        entries.flat[int(exact.argmax())] = 255
        base = float(wide @ self._mean) + float(least.sum()) + float(np.linalg.norm(wide)) * self._rounding
        return Table(entries.astype(np.float32), base, scale)


def _shared_out(strength: NDArray[np.float64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups and columns for directions of these variances: the ones with the smallest expected bound."""
    cost, last = _plans(strength, width)
    after = np.concatenate([np.cumsum(strength[::-1])[::-1], [0.0]])
    best: tuple[float, list[tuple[int, int]], list[int]] | None = None
    for copies in range(min(_MOST_COPIES, width - 1) + 1):
        total = cost[:, width - copies] + after
        end, used = int(total.argmin()), width - copies
        while used > 1 and not np.isfinite(total[end]):
            used -= 1  # fewer directions than columns
            total = cost[:, used] + after
            end = int(total.argmin())
        spare = width - used
        groups: list[tuple[int, int]] = []
        while end > 0:
            size, each = last[end, used]
            end, used = end - size, used - each
            groups += [(end, size)] * each
        groups.reverse()
        spans = np.array([3.5 * strength[start : start + size].sum() for start, size in groups] or [0.0])
        parts = np.ones(len(spans), np.int64)
        for _ in range(spare):
            parts[int((spans / parts).argmax())] += 1
        # Whole numbers lose half a step a column; a query of length 1 meets a residual of this length.
        loss = float((spans / parts).max()) / 255 * width / 2 + 0.9 * float(np.sqrt(max(float(total.min()), 0.0)))
        if best is None or loss < best[0] - 1e-9:
            best = loss, groups, np.repeat(np.arange(len(spans)), parts).tolist()
    assert best is not None
    return np.array(best[1], np.int64).reshape(-1, 2), np.array(best[2], np.int64)


def _plans(
    strength: NDArray[np.float64], width: int
) -> tuple[NDArray[np.float64], dict[tuple[int, int], tuple[int, int]]]:
    """The least squared residual `(D + 1, width + 1)` of the first directions in so many columns, and the last group
    (size, columns) that gives it."""
    dim = len(strength)
    cost = np.full((dim + 1, width + 1), np.inf)
    cost[0, 0] = 0
    last: dict[tuple[int, int], tuple[int, int]] = {}
    for start in range(dim):
        choices = [(size, 1, _distortion(strength[start : start + size])) for size in _SIZES if start + size <= dim]
        choices.append((1, 2, float(strength[start]) * 2.0**-12))
        for size, each, lost in choices:
            new = cost[start, : width + 1 - each] + lost
            old = cost[start + size, each:]
            for used in np.flatnonzero(new < old).tolist():
                last[start + size, used + each] = (size, each)
            np.minimum(old, new, out=old)
    return cost, last


def _distortion(strength: NDArray[np.float64]) -> float:
    """The squared residual that 16 centroids are expected to leave of independent Gaussians: reverse water-filling."""
    for used in range(len(strength), 0, -1):
        level = float(np.exp(np.log(strength[:used] + 1e-30).mean())) * 2.0 ** (-8 / used)
        if level <= strength[used - 1]:
            break
    return float(np.minimum(strength, level * _LOSS[len(strength)]).sum())


def _means(points: Float32) -> Float32:
    """16 centroids `(16, size)` of points `(n, size)`: k-means from points that are evenly spread along one number."""
    order = np.argsort(points[:, 0], kind="stable")
    means = points[order[((np.arange(_LEVELS) + 0.5) / _LEVELS * len(points)).astype(np.int64)]].copy()
    for _ in range(_STEPS):
        chosen = _nearest(points, means)
        counts = np.bincount(chosen, minlength=_LEVELS)
        held = counts > 0
        for axis in range(points.shape[1]):
            sums = np.bincount(chosen, points[:, axis], minlength=_LEVELS)
            means[held, axis] = sums[held] / counts[held]
    return np.asarray(means, np.float32)


def _subtract(part: Float32, centroids: Float32) -> NDArray[np.uint8]:
    """Subtract from each row of `part` its nearest centroid, in place; return which `(n,)`."""
    chosen = _nearest(part, centroids)
    part -= centroids[chosen]
    return chosen.astype(np.uint8)


def _nearest(points: Float32, centroids: Float32) -> NDArray[np.intp]:
    if points.shape[1] == 1:
        order = np.argsort(centroids[:, 0], kind="stable")
        ascending = centroids[order, 0]
        return np.asarray(order[np.searchsorted((ascending[1:] + ascending[:-1]) / 2, points[:, 0])])
    return np.asarray((points @ centroids.T - (centroids**2).sum(1) / 2).argmax(axis=1))


def _lengths(left: Float32, split: int) -> tuple[Float32, Float32]:
    """Lengths `(n,)` of the residuals in the two blocks."""
    one, two = left[:, :split], left[:, split:]
    return np.sqrt(np.einsum("ij,ij->i", one, one)), np.sqrt(np.einsum("ij,ij->i", two, two))


def _levels(lengths: Float32) -> Float32:
    """16 lengths, ascending and equally far apart, so that each of `lengths` has one a little above."""
    low, high = np.quantile(lengths, 0.01), float(lengths.max(initial=0)) * 1.02 + 1e-6
    return np.linspace(low, high, _LEVELS).astype(np.float32)


def _slack(queries: NDArray[np.float64], squares: NDArray[np.float64], cut: int) -> float:
    """The mean bound of q.r for cumulated squares of queries and residuals, cut at a direction."""

    def blocks(sums: NDArray[np.float64]) -> tuple[float, float]:
        first = sums[:, cut - 1] if cut else np.zeros(len(sums))
        return float(np.sqrt(first).mean()), float(np.sqrt(np.maximum(sums[:, -1] - first, 0)).mean())

    (q1, q2), (r1, r2) = blocks(queries), blocks(squares)
    return q1 * r1 + q2 * r2
