"""Exact search over all tracks of a memory, by cosine, without reading a row of SQLite.

Measured at 1,000,000 x 128: one thread scans fp16 in an inverted file without clustering in 10 ms. FAISS's plain fp16
index needs 700 ms for a range search (its range search is not vectorised), and a flat float32 index 17 ms on two
threads and twice the memory.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Float32
from . import cache_build
from .cache_build import BLOCK
from .cache_file import CacheData
from .fp16 import half_to_float
from .store import Store

Kind = Literal["visual", "text"]
_KINDS: tuple[Kind, Kind] = ("visual", "text")

_NORM_MARGIN = 1e-3
"""Largest difference of a cosine from the inner product with an fp16 vector of unit length.

It is half a unit in the last place of each component, 2^-11, and room for float32 sums.
"""

_SUM_MARGIN = 2e-6
"""Largest difference of two float32 sums of one cosine; nearer to the threshold, one fixed sum decides."""

_PRODUCTS = 1 << 23
"""Cosines at a time in a search with many queries: 32 MB."""

MAX_THREADS = 4  # a scan is bound by memory, which more threads do not make faster

_ONE_THREAD = 1 << 27
"""Numbers that one thread scans, in 10 ms.

Threads of one search wait for each other: beside a busy encoder, two took 24 ms for what one does in 1 ms.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What queries need of every track: int64 arrays `(n,)` in the order of rows, which is by id."""

    ids: NDArray[np.int64]
    source_ids: NDArray[np.int64]
    ordinals: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class VectorCache:
    """All tracks of `store` at the time it was made, searchable. Row i of every answer is `columns.ids[i]`.

    It never changes, so threads may share it. The Store must be open only while the cache is made.

    Raises:
        StoreError: the memory is damaged. A damaged cache file is rebuilt.
    """

    def __init__(self, store: Store, data: CacheData | None = None) -> None:
        self._store = store
        self._data = cache_build.current(store) if data is None else data
        self._indexes: dict[Kind, Any] = {}
        self._building = threading.Lock()

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
    def columns(self) -> Columns:
        """Ids, sources and spans of all tracks; read-only views."""
        return Columns(*self._data.columns)

    def refreshed(self) -> VectorCache:
        """Return a cache with what was written since, by this process or another; itself when nothing was."""
        data, _ = cache_build.updated(self._store, self._data)
        return self if data is self._data else VectorCache(self._store, data)

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of tracks by id, -1 for unknown ids. `(n,)` -> `(n,)` int64."""
        known = self._data.columns[0]
        rows = np.searchsorted(known, ids).astype(np.int64)
        inside = rows < len(known)
        inside[inside] = known[rows[inside]] == np.asarray(ids)[inside]
        return np.where(inside, rows, -1)

    def range_search(self, kind: Kind, query: Float32, threshold: float) -> tuple[NDArray[np.int64], Float32]:
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
        _, dots, found = self._index(kind).range_search(unit[None], float(threshold) - _NORM_MARGIN)
        order = np.argsort(found)
        rows: NDArray[np.int64] = found[order]
        scores: Float32 = dots[order] * self._scale(kind)[rows]
        near = np.flatnonzero(np.abs(scores - np.float32(threshold)) <= _SUM_MARGIN)
        scores[near] = self._cosines(kind, unit, rows[near])
        keep = scores >= np.float32(threshold)
        return rows[keep], scores[keep]

    def range_search_many(
        self, kind: Kind, queries: Float32, threshold: float
    ) -> list[tuple[NDArray[np.int64], Float32]]:
        """Do a `range_search` for each of `queries` `(n, D)`, in one pass over the vectors: matrix products.

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        units = np.array([self._unit(kind, query) for query in queries], np.float32)
        if not len(self) or not len(units):
            return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in units]
        half, scale = self._half(kind), self._scale(kind)
        found: list[NDArray[np.int64]] = []
        query_numbers: list[NDArray[np.int64]] = []
        dots: list[Float32] = []
        step = max(256, min(BLOCK * 4, _PRODUCTS // len(units)))
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            near = half_to_float(half[part]) @ units.T
            near *= scale[part][:, None]
            rows, which = np.nonzero(near >= threshold - _SUM_MARGIN)
            found.append(rows + start)
            query_numbers.append(which)
            dots.append(near[rows, which])
        row, query, score = np.concatenate(found), np.concatenate(query_numbers), np.concatenate(dots)
        order = np.argsort(query, kind="stable")  # rows stay ascending within a query
        cuts = np.searchsorted(query[order], np.arange(1, len(units)))
        out = []
        for unit, members in zip(units, np.split(order, cuts), strict=True):
            rows, scores = row[members], score[members]
            close = np.flatnonzero(np.abs(scores - np.float32(threshold)) <= _SUM_MARGIN)
            scores[close] = self._cosines(kind, unit, rows[close])
            keep = scores >= np.float32(threshold)
            out.append((rows[keep], scores[keep]))
        return out

    def top(self, kind: Kind, query: Float32, k: int) -> tuple[NDArray[np.int64], Float32]:
        """Find the `k` nearest tracks, or all when there are fewer: rows and scores, best first, the older id on ties.

        Raises:
            ValueError, UsageError: as `range_search`.
        """
        unit = self._unit(kind, query)
        k = min(k, len(self))
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        _, rough = self._index(kind).search(unit[None], k)
        # The k that FAISS found may miss one that is better by less than fp16 moves norms: take the worst of them as
        # a threshold, and the exact answer is among the tracks above it.
        rows, _ = self.range_search(kind, query, float(self._cosines(kind, unit, rough[0]).min()))
        scores = self._cosines(kind, unit, rows)
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
        if len(self) and np.shape(query) != (self.dim(kind),):
            raise ValueError(f"a {kind} query has shape ({self.dim(kind)},), not {np.shape(query)}")
        wide = np.asarray(query, np.float64)
        norm = np.linalg.norm(wide)
        if not np.isfinite(norm) or norm == 0:
            raise UsageError(
                "what was asked for has no vector to compare with, as a thing whose video was missing "
                "when `vidmem reembed` ran; ask for something else"
            )
        return (wide / norm).astype(np.float32)

    def _cosines(self, kind: Kind, unit: Float32, rows: NDArray[np.int64]) -> Float32:
        """Return cosines with one fixed order of summation per row, whatever other rows are in `rows`."""
        half, scale = self._half(kind), self._scale(kind)
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            scores[start : start + BLOCK] = np.einsum("ij,j->i", half_to_float(half[part]), unit) * scale[part]
        return scores

    def _index(self, kind: Kind) -> Any:
        with self._building:  # threads wait rather than build it once each
            if kind not in self._indexes:
                self._indexes[kind] = _build_index(self._half(kind))
            return self._indexes[kind]


def _build_index(half: NDArray[np.float16]) -> Any:
    """Build a FAISS index that scans every row of `half` `(n, D)`, by inner product; one list per thread."""
    import faiss  # 30 ms beyond NumPy: only a search pays them

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(cores, MAX_THREADS)
    faiss.omp_set_num_threads(threads)
    n, dim = half.shape
    lists = threads if n * dim > _ONE_THREAD else 1
    centres = faiss.IndexFlatIP(dim)
    centres.add(np.zeros((lists, dim), np.float32))
    index: Any = faiss.IndexIVFScalarQuantizer(
        centres, dim, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.is_trained = True  # fp16 has nothing to learn
    bounds = np.linspace(0, n, lists + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(bounds)):
        ids = np.arange(start, stop, dtype=np.int64)
        codes = np.ascontiguousarray(half[start:stop]).view(np.uint8)
        index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    index.ntotal = n
    index.nprobe = lists
    index.parallel_mode = int(lists > 1)  # 1: threads share the lists of one query
    return index
