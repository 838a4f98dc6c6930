"""Bounds of a shard: proof, without its vectors, that no track in it is as near to a question as it would have to be.

The vectors of a shard lie in some dozens of balls. Two bounds hold for each ball, and the lower one counts:

- The triangle inequality on the sphere: a vector within the angle r of a centre has at most the cosine cos(t - r) to a
  query at the angle t from that centre.
- A few principal directions of the shard, in which the coordinates of the vectors lie within a box. What is left of a
  vector lies within a small distance of what is left of the centre (Cauchy-Schwarz).

The bounds are those of real numbers. `margin` is added for what float32 sums of a scan can differ from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..records import Float32
from ..store import VectorCache
from ..store.vectors import Kind

Float64 = NDArray[np.float64]

KINDS: tuple[Kind, Kind] = ("visual", "text")
FORMAT = 1
BALLS = 48
"""The most balls of a shard."""
PER_BALL = 4
"""A shard with fewer tracks than this for each ball has fewer balls."""
DIRECTIONS = 48
"""The most principal directions."""
SAMPLE = 8192
"""The most tracks that the centres are chosen by; balls hold all tracks."""
ROUNDS = 4
"""How often centres are moved to the mean of their ball."""
_BLOCK = 4096
"""Tracks that are looked at at a time."""


def margin(dim: int) -> float:
    """The largest difference of a score that a scan gives from that of real numbers, for vectors of length `dim`.

    A float32 sum of n products of two vectors of unit length is off by at most about n 2^-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1). A scan makes one such sum, and a bound one for the centre and one
    for each direction, whose errors add up as the root of their number. 16 times n covers all of them.
    """
    return (dim + 64) * 2.0**-20


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """The balls around the vectors of one kind, one row for each of `b`. All arrays are float32.

    Attributes:
        centres: `(b, D)`, of unit length up to rounding, or 0 for a ball of vectors that are 0.
        radius: `(b,)`, the largest angle of a vector from its centre, in radians.
        longest, shortest: `(b,)`, norms of the vectors: 1, or the confidence of a text vector, or 0.
        directions: `(m, D)`, orthonormal up to rounding.
        middle: `(b, m)`, from the centre to the middle of the box of the vectors, in these directions.
        half: `(b, m)`, half of the sides of that box.
        rest: `(b,)`, the largest distance of a vector from its centre outside of these directions.
    """

    centres: Float32
    radius: Float32
    longest: Float32
    shortest: Float32
    directions: Float32
    middle: Float32
    half: Float32
    rest: Float32


_ARRAYS = ("centres", "radius", "longest", "shortest", "directions", "middle", "half", "rest")


def upper_each(balls: Balls, unit: Float32, along: Float32, shard: NDArray[np.intp]) -> Float64:
    """The bound of each ball `(b,)`.

    Args:
        balls: Balls of one shard, or those of several one after the other.
        unit: The query `(D,)`.
        along: The query in the directions of each shard, `(shards, m)`.
        shard: The shard of each ball `(b,)`.
    """
    slack = margin(len(unit))
    near = np.asarray(balls.centres @ unit, np.float64)
    # This bound grows with `near` without a limit to its slope: the margin goes in before, not only after.
    angle = np.maximum(0.0, np.arccos(np.clip(near + slack, -1, 1)) - balls.radius)
    cosine = np.cos(angle)
    by_angle = cosine * np.where(cosine > 0, balls.longest, balls.shortest)
    outside = np.sqrt(np.clip(1.0 + slack - np.einsum("sm,sm->s", along, along), 0.0, None))[shard]
    own = along[shard]
    in_box = np.einsum("bm,bm->b", own, balls.middle) + np.einsum("bm,bm->b", np.abs(own, out=own), balls.half)
    upper: Float64 = np.minimum(by_angle, near + in_box + outside * balls.rest) + slack
    return upper


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """The bounds of one shard, for visual and text vectors.

    Attributes:
        tracks: How many tracks there are.
        first_ns: The earliest start of a track on the clock of its source; 0 without tracks.
        kinds: The balls of each kind of vectors.
    """

    tracks: int
    first_ns: int
    kinds: Mapping[Kind, Balls]

    def upper(self, kind: Kind, unit_query: Float32) -> float:
        """A number that no track's score, as `VectorCache.scores` gives it, is above; -inf without tracks.

        Args:
            kind: Which vectors.
            unit_query: `(D,)`, of unit length.

        Raises:
            ValueError: the query has another length than the vectors.
        """
        balls = self.kinds[kind]
        if self.tracks and np.shape(unit_query) != balls.centres.shape[1:]:
            raise ValueError(f"a {kind} query has shape {balls.centres.shape[1:]}, not {np.shape(unit_query)}")
        if not len(balls.centres):
            return -np.inf
        unit = np.asarray(unit_query, np.float32)
        one = np.zeros(len(balls.centres), np.intp)
        return float(upper_each(balls, unit, (balls.directions @ unit)[None], one).max())

    def save(self, path: Path) -> None:
        """Write the bounds to a file in the safetensors format. The same bounds give the same bytes."""
        from safetensors.numpy import save_file

        arrays: dict[str, NDArray[Any]] = {
            f"{kind}.{name}": np.ascontiguousarray(getattr(balls, name))
            for kind, balls in self.kinds.items()
            for name in _ARRAYS
        }
        save_file(arrays | {"head": np.array([FORMAT, self.tracks, self.first_ns], np.int64)}, str(path))

    @classmethod
    def load(cls, path: Path) -> Bounds:
        """Read what `save` wrote.

        Raises:
            StoreError: the file is missing or damaged, or a newer vidmem wrote it.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"the bounds of a shard cannot be read ({error.strerror}); seal it again: {path}"
            ) from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, where: str) -> Bounds:
        """As `load`, from the bytes of the file. where: what it is, for messages."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(data)
            head = arrays["head"]
            if head.dtype != np.int64 or head.ndim != 1 or not len(head):
                raise ValueError("a head that is none")
        except (SafetensorError, KeyError, ValueError, RecursionError) as error:
            raise StoreError(f"the bounds of a shard are damaged ({error}); seal it again: {where}") from None
        if head[0] != FORMAT:
            raise StoreError(f"the bounds of a shard are of another version of vidmem; seal it again: {where}")
        try:
            _, tracks, first_ns = head.tolist()
            kinds = {kind: _checked({name: arrays[f"{kind}.{name}"] for name in _ARRAYS}) for kind in KINDS}
        except (KeyError, ValueError) as error:
            raise StoreError(f"the bounds of a shard are damaged ({error}); seal it again: {where}") from None
        return cls(tracks, first_ns, kinds)


def _checked(arrays: Mapping[str, NDArray[Any]]) -> Balls:
    """The balls of these arrays. Raises ValueError when they do not fit each other, or hold what is not a number."""
    b, dim = arrays["centres"].shape
    m = arrays["directions"].shape[0]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("radius", "longest", "shortest", "rest"), (b,))
    shapes |= dict.fromkeys(("middle", "half"), (b, m)) | {"centres": (b, dim), "directions": (m, dim)}
    for name, array in arrays.items():
        if array.shape != shapes[name] or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} is not what it must be")
    return Balls(*(arrays[name] for name in _ARRAYS))


def bounds_of(cache: VectorCache) -> Bounds:
    """The bounds of all tracks of a memory. The same tracks give the same bounds."""
    first_ns = int(cache.columns.start_ns.min()) if len(cache) else 0
    return Bounds(len(cache), first_ns, {kind: _balls(cache, kind) for kind in KINDS})


def _balls(cache: VectorCache, kind: Kind) -> Balls:
    dim, n = cache.dim(kind), len(cache)
    if not n or not dim:
        none, flat, box = np.empty((0, dim), np.float32), np.empty(0, np.float32), np.empty((0, 0), np.float32)
        return Balls(none, flat, flat, flat, none, box, box, flat)
    centres = _centres(cache, kind, min(BALLS, -(-n // PER_BALL)))
    nearest = np.empty(n, np.intp)
    for part, vectors in _blocks(cache, kind):
        nearest[part] = (vectors @ centres.T).argmax(1)
    directions = _directions(cache, kind, centres, nearest)
    return _measured(cache, kind, centres, nearest, directions)


def _blocks(cache: VectorCache, kind: Kind) -> Iterator[tuple[slice, Float32]]:
    """All vectors in parts: which rows, and the vectors."""
    for start in range(0, len(cache), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(cache)))
        yield slice(start, start + len(rows)), cache.reconstruct(kind, rows)


def _unit_rows(vectors: NDArray[Any]) -> Float64:
    """Rows of unit length; rows of 0 stay 0."""
    wide = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    out: Float64 = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return out


def _centres(cache: VectorCache, kind: Kind, count: int) -> Float32:
    """Centres `(at most count, D)` of unit length: far from each other at first, then moved to the middle.

    The first ones follow Gonzalez (1985): each is the vector that is furthest from those before it, which keeps the
    largest radius small. Then a few rounds of k-means.
    """
    rows = np.unique(np.linspace(0, len(cache) - 1, min(len(cache), SAMPLE)).astype(np.int64))
    vectors = _unit_rows(cache.reconstruct(kind, rows)).astype(np.float32)
    vectors = vectors[vectors.any(1)]
    if not len(vectors):
        return np.zeros((1, cache.dim(kind)), np.float32)
    chosen = [0]
    best = vectors @ vectors[0]
    while len(chosen) < count and best.min() < 1 - 1e-6:
        chosen.append(int(best.argmin()))
        best = np.maximum(best, vectors @ vectors[chosen[-1]])
    centres = vectors[chosen]
    for _ in range(ROUNDS):
        home = (vectors @ centres.T).argmax(1)
        sums = np.zeros(centres.shape, np.float64)
        np.add.at(sums, home, vectors)
        moved = _unit_rows(sums).astype(np.float32)
        centres = np.where(moved.any(1, keepdims=True), moved, centres)
    return np.asarray(centres, np.float32)


def _directions(cache: VectorCache, kind: Kind, centres: Float32, nearest: NDArray[np.intp]) -> Float32:
    """The directions `(m, D)` in which the vectors of balls differ most from their centres."""
    dim = cache.dim(kind)
    spread = np.zeros((dim, dim), np.float64)
    step = max(1, len(cache) // SAMPLE)
    for part, vectors in _blocks(cache, kind):
        own = slice(0, None, step)
        away = np.asarray(vectors[own] - centres[nearest[part][own]], np.float64)
        spread += away.T @ away
    values, vectors = np.linalg.eigh(spread)
    count = min(DIRECTIONS, dim, int((values > values[-1] * 1e-9).sum()) if values[-1] > 0 else 0)
    found = vectors[:, ::-1][:, :count].T
    # The sign of an eigenvector is chance: the largest number is made positive.
    sign = np.sign(found[np.arange(count), np.abs(found).argmax(1)])[:, None] if count else 1.0
    return np.ascontiguousarray(found * sign, np.float32)


def _measured(
    cache: VectorCache, kind: Kind, centres: Float32, nearest: NDArray[np.intp], directions: Float32
) -> Balls:
    """The balls that hold all vectors, measured in float64 on the float32 centres and directions that are kept."""
    b, m = len(centres), len(directions)
    wide, axes = centres.astype(np.float64), directions.astype(np.float64)
    own = wide @ axes.T
    radius, rest, longest = np.zeros(b), np.zeros(b), np.zeros(b)
    shortest, low, high = np.full(b, np.inf), np.full((b, m), np.inf), np.full((b, m), -np.inf)
    for part, block in _blocks(cache, kind):
        vectors, home = block.astype(np.float64), nearest[part]
        norms = np.linalg.norm(vectors, axis=1)
        # The angle from the chord: arccos loses half of the digits near 0.
        chord = np.linalg.norm(_unit_rows(vectors) - _unit_rows(wide)[home], axis=1)
        angle = np.where(norms > 0, 2 * np.arcsin(np.clip(chord / 2, 0, 1)), 0.0)
        angle[(norms > 0) & ~wide[home].any(1)] = np.pi
        along = vectors @ axes.T - own[home]
        away = np.linalg.norm(vectors - wide[home] - along @ axes, axis=1)
        np.maximum.at(radius, home, angle)
        np.maximum.at(rest, home, away)
        np.maximum.at(longest, home, norms)
        np.minimum.at(shortest, home, norms)
        np.minimum.at(low, home, along)
        np.maximum.at(high, home, along)
    held = np.isfinite(shortest)
    low, high = low[held], high[held]
    middle = ((low + high) / 2).astype(np.float32)
    half = np.maximum(high - middle, middle - low)
    return Balls(
        np.ascontiguousarray(centres[held]),
        _up(np.minimum(radius[held], np.pi)),
        _up(longest[held]),
        -_up(-shortest[held]),
        directions,
        middle,
        _up(half),
        _up(rest[held]),
    )


def _up(values: Float64) -> Float32:
    """The next float32 numbers above these, which are at least -1 and at most about 3."""
    return np.nextafter((values + 1e-7).astype(np.float32), np.float32(4))
