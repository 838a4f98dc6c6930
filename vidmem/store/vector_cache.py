"""Exact search over all tracks of a memory, by cosine, without reading a row of SQLite. scan.py does the scans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from . import cache_build, scan
from .cache_build import BLOCK
from .cache_file import CacheData
from .first_passes import FirstPasses
from .fp16 import half_to_float
from .store import Store
from .vectors import Kind, Rows, Scored, product, sum_margin, unit_query
from .within import Columns, Within

_KINDS: tuple[Kind, Kind] = ("visual", "text")

_NORM_MARGIN = 1e-3
"""Largest difference of a cosine from the inner product with an fp16 vector of unit length.

It is half a unit in the last place of each component, 2^-11, and room for float32 sums.
"""

_PRODUCTS = 1 << 23
"""Cosines at a time in a search with many queries: 32 MB."""

_SPARE = 16
"""How many more tracks than were asked for `top` looks at, so that one scan nearly always settles it."""

_ALONE = 8192
"""Cosines that one thread computes: threads that start cost as much as a thousand."""

_FEW = 512
"""Up to so many tracks `top` begins with the first pass."""

_WIDER = 8
"""How many times as many tracks a search looks at when too few of the first ones may answer."""


class VectorCache:
    """All tracks of `store` at the time it was made, searchable. Row i of every answer is `columns.ids[i]`.

    It never changes, so threads may share it. The Store must be open only while the cache is made.

    Raises:
        StoreError: the memory is damaged. A damaged cache file is rebuilt.
    """

    def __init__(self, store: Store, data: CacheData | None = None, *, gpu: int | None = None) -> None:
        """gpu: number of the GPU that may search a large memory, where FAISS sees one; None for none."""
        self._store, self._gpu = store, gpu
        self._data = cache_build.current(store) if data is None else data
        self._columns = Columns(*self._data.columns)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"VectorCache({len(self)} tracks, generation {self.generation})"

    @property
    def generation(self) -> int:
        """The generation of the tracks that this cache holds."""
        return self._data.generation

    @property
    def state(self) -> tuple[str, int]:
        """The id of the memory and the generation of its tracks, as `Store.snapshot` gives them."""
        return self._data.memory, self._data.generation

    @property
    def approximate(self) -> str:
        """Empty: searches are exact."""
        return ""

    @property
    def columns(self) -> Columns:
        """Ids, sources and spans of all tracks; read-only views."""
        return self._columns

    @property
    def first_pass_bytes(self) -> int:
        """Bytes of memory that the first pass takes once searches use it. The vectors are mapped and take none."""
        return self._data.first.bytes

    def without_first_pass(self) -> VectorCache:
        """Return these vectors, of which each search scans all. What it finds is the same."""
        return VectorCache(self._store, replace(self._data, first=FirstPasses()))

    @property
    def own_bytes(self) -> int:
        """Bytes of memory that the vectors take: none where they are those of the cache file, which is mapped."""
        arrays = (self._data.columns, self._data.visual, self._data.text, self._data.scale)
        return 0 if self._data.crc is not None else sum(array.nbytes for array in arrays)

    def refreshed(self) -> VectorCache:
        """Return a cache with what was written since, by this process or another; itself when nothing was."""
        data = cache_build.refreshed(self._store, self._data)
        return self if data is self._data else VectorCache(self._store, data, gpu=self._gpu)

    def columns_of(self, rows: Rows) -> Columns:
        """Return ids, sources and spans of the tracks in `rows` `(n,)`, in their order."""
        return Columns(*self._data.columns[:, rows])

    def rows_of_source(self, source_id: int) -> Rows:
        """Return the rows of all tracks of a source, ascending."""
        return np.flatnonzero(self._data.columns[1] == source_id)

    def rows_within(self, within: Within | None) -> Rows:
        """Return the rows of all tracks that may answer, ascending."""
        return np.arange(len(self)) if within is None else np.flatnonzero(within.mask(self.columns))

    def _kept(self, found: Scored, within: Within | None) -> Scored:
        """What was found, without the tracks that may not answer."""
        if within is None:
            return found
        may = within.mask(self.columns)[found[0]]
        return found[0][may], found[1][may]

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of tracks by id, -1 for unknown ids. `(n,)` -> `(n,)` int64."""
        known = self._data.columns[0]
        rows = np.searchsorted(known, ids).astype(np.int64)
        inside = rows < len(known)
        inside[inside] = known[rows[inside]] == np.asarray(ids)[inside]
        return np.where(inside, rows, -1)

    def range_search(self, kind: Kind, query: Float32, threshold: float, within: Within | None = None) -> Scored:
        """Find every track whose cosine to `query` is at least `threshold`: rows `(n,)`, ascending, and scores `(n,)`.

        The search is exact for the stored fp16 vectors. The float32 cosine that `scores` computes decides which tracks
        are found. The scores returned may differ from it by rounding, 1e-6.

        Raises:
            ValueError: `query` has another length than the vectors.
            UsageError: `query` is 0 or not finite.
        """
        unit = self._unit(kind, query)
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        found = self._by_first_pass(kind, unit, threshold)
        if found is None:
            rows, dots = scan.at_least(self._half(kind), unit, float(threshold) - _NORM_MARGIN)
            found = self._settled(kind, unit, rows, dots * self._scale(kind)[rows], threshold)
        return self._kept(found, within)

    def _by_first_pass(self, kind: Kind, unit: Float32, threshold: float) -> Scored | None:
        """What `range_search` finds, without a scan of all vectors; None where that is not possible or not faster."""
        half = self._half(kind)
        least = float(threshold) - _NORM_MARGIN
        found = self._data.first.at_least(_KINDS.index(kind), half, unit, least, self._gpu)
        if found is None:
            return None
        rows, dots = found
        return self._settled(kind, unit, rows, dots * self._scale(kind)[rows], threshold)

    def narrowed(self, kind: Kind, query: Float32, found: Scored, threshold: float) -> Scored:
        """Return what `range_search` finds, from what it `found` with a lower threshold, without another scan.

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        return self._settled(kind, self._unit(kind, query), *found, threshold)

    def _settled(self, kind: Kind, unit: Float32, rows: Rows, scores: Float32, threshold: float) -> Scored:
        """The rows whose score is at least the threshold; next to it one fixed sum decides."""
        scores = scores.copy()
        near = np.flatnonzero(np.abs(scores - np.float32(threshold)) <= sum_margin(len(unit)))
        scores[near] = self._cosines(kind, unit, rows[near])
        keep = scores >= np.float32(threshold)
        return rows[keep], scores[keep]

    def range_search_many(
        self, kind: Kind, queries: Float32, threshold: float, within: Within | None = None
    ) -> list[Scored]:
        """Do a `range_search` for each of `queries` `(n, D)`, by the first pass, or in one pass over the vectors.

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        units = np.array([self._unit(kind, query) for query in queries], np.float32)
        if not len(self) or not len(units):
            return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in units]
        quick = {number: self._by_first_pass(kind, unit, threshold) for number, unit in enumerate(units)}
        rest = [number for number, found in quick.items() if found is None]
        quick.update(zip(rest, self._matrix_products(kind, units[rest], threshold), strict=True))
        return [self._kept(found, within) for _, found in sorted(quick.items()) if found is not None]

    def _matrix_products(self, kind: Kind, units: Float32, threshold: float) -> list[Scored]:
        """What `range_search` finds for queries of unit length `(n, D)`, by matrix products with all vectors."""
        if not len(units):
            return []
        half, scale = self._half(kind), self._scale(kind)
        found: list[NDArray[np.int64]] = []
        query_numbers: list[NDArray[np.int64]] = []
        dots: list[Float32] = []
        step = max(256, min(BLOCK * 4, _PRODUCTS // len(units)))
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            near = half_to_float(half[part]) @ units.T
            near *= scale[part][:, None]
            rows, which = np.nonzero(near >= threshold - sum_margin(units.shape[1]))
            found.append(rows + start)
            query_numbers.append(which)
            dots.append(near[rows, which])
        row, query, score = np.concatenate(found), np.concatenate(query_numbers), np.concatenate(dots)
        order = np.argsort(query, kind="stable")  # rows stay ascending within a query
        cuts = np.searchsorted(query[order], np.arange(1, len(units)))
        return [
            self._settled(kind, unit, row[members], score[members], threshold)
            for unit, members in zip(units, np.split(order, cuts), strict=True)
        ]

    def top(self, kind: Kind, query: Float32, k: int, within: Within | None = None) -> Scored:
        """Find the `k` nearest tracks, or all when there are fewer: rows and scores, best first, the older id on ties.

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        if within is not None:
            return self._top_within(kind, query, k, within)
        unit = self._unit(kind, query)
        k = min(k, len(self))
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        half = self._half(kind)
        wide = 2 * k + _SPARE
        near = self._data.first.nearest(_KINDS.index(kind), half, unit, wide, self._gpu) if k <= _FEW else None
        if near is None:
            rows, dots = scan.best(half, unit, min(len(self), wide))
            others = float(dots[-1])
        else:
            rows, others = near
        scores = self._cosines(kind, unit, rows)
        best = np.lexsort((rows, -scores))[:k]
        # A track that was left out has at most the inner product `others`, and a cosine that differs from it by less
        # than fp16 moves norms. If that can be better than the worst of these, all tracks above it are looked at.
        if len(rows) < len(self) and others + _NORM_MARGIN >= scores[best[-1]]:
            rows, _ = self.range_search(kind, query, float(scores[best[-1]]))
            scores = self._cosines(kind, unit, rows)
            best = np.argsort(-scores, kind="stable")[:k]
        return rows[best], scores[best]

    def _top_within(self, kind: Kind, query: Float32, k: int, within: Within) -> Scored:
        """The `k` nearest of the tracks that may answer: all of these are compared, or, of many, the nearest of all
        tracks are thinned out until enough are left."""
        unit, rows = self._unit(kind, query), self.rows_within(within)
        wide = _WIDER * (k + _SPARE)
        while wide * _WIDER < len(rows):
            found = self._kept(self.top(kind, query, wide), within)
            if len(found[0]) >= k:
                return found[0][:k], found[1][:k]
            wide *= _WIDER
        scores = self._cosines(kind, unit, rows)
        best = np.argsort(-scores, kind="stable")[:k]
        return rows[best], scores[best]

    def top_product(self, text: Float32, visual: Float32, k: int, within: Within | None = None) -> Scored:
        """Find the `k` best tracks by the product of their cosines to a text and to a picture (`vectors.product`).

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        wide = _WIDER * (k + _SPARE)
        rows, _ = self.top("visual", visual, wide, within)
        found = self._products(text, visual, rows, k)
        if len(rows) < wide:  # these are all that may answer
            return found
        # A better product has both factors above the worst of these; where that is 0, all tracks are compared.
        least = float(found[1][-1]) if len(found[1]) == k else 0.0
        if least > 0:
            rows, _ = self.range_search("visual", visual, least - 1e-5, within)
        else:
            rows = self.rows_within(within)
        return self._products(text, visual, rows, k)

    def _products(self, text: Float32, visual: Float32, rows: Rows, k: int) -> Scored:
        """The `k` best of these rows by the product, of equals the lower row."""
        rows = np.sort(rows)
        scores = product(self.scores("text", text, rows), self.scores("visual", visual, rows))
        best = np.argsort(-scores, kind="stable")[:k]
        return rows[best], scores[best]

    def scores(self, kind: Kind, query: Float32, rows: NDArray[np.int64]) -> Float32:
        """Return the cosines `(n,)` of the tracks in `rows` to `query`: the second factor for candidates of the first.

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        return self._cosines(kind, self._unit(kind, query), rows)

    def reconstruct(self, kind: Kind, rows: NDArray[np.int64]) -> Float32:
        """Return the vectors of `rows`, `(n, D)` float32 of unit length up to float32 rounding (or 0)."""
        wide = half_to_float(self._half(kind)[rows])
        wide *= self._scale(kind)[rows][:, None]
        return wide

    def dim(self, kind: Kind) -> int:
        """Length of the vectors."""
        return int(self._half(kind).shape[1])

    def _half(self, kind: Kind) -> NDArray[np.float16]:
        return self._data.visual if kind == "visual" else self._data.text

    def _scale(self, kind: Kind) -> Float32:
        scale: Float32 = self._data.scale[_KINDS.index(kind)]
        return scale

    def _unit(self, kind: Kind, query: Float32) -> Float32:
        return unit_query(kind, query, self.dim(kind) if len(self) else None)

    def _cosines(self, kind: Kind, unit: Float32, rows: NDArray[np.int64]) -> Float32:
        """Return cosines with one fixed order of summation per row, whatever other rows are in `rows`."""
        half, scale = self._half(kind), self._scale(kind)
        scores = np.empty(len(rows), np.float32)

        def fill(low: int, high: int) -> None:
            for start in range(low, high, BLOCK):
                part = slice(start, min(start + BLOCK, high))
                own = rows[part]
                scores[part] = np.einsum("ij,j->i", half_to_float(half[own]), unit) * scale[own]

        scan.in_parts(len(rows), fill, _ALONE)
        return scores
