"""Inner products of a query with all rows of an fp16 matrix, by FAISS's vectorised kernels, where the rows lie.

FAISS's indexes own their vectors. Filling one would copy a mapped cache file: twice the memory, and 0.2 s for a million
rows before the first answer. So its scanner of inverted files is given the rows themselves. Measured at 1,000,000 x
128: one thread scans them in 10 ms, at the speed of memory. FAISS's flat fp16 index needs 700 ms for a range search
(its range search is not vectorised), a flat float32 index 17 ms on two threads and twice the memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..records import Float32

MAX_THREADS = 4  # a scan is bound by memory, which more threads do not make faster

ONE_THREAD = 1 << 25
"""Numbers that one thread scans, in 2.5 ms.

Threads of one search wait for each other: beside a busy encoder, two took 24 ms for what one does in 1 ms. For much
longer scans two are worth it: a million vectors of 128 numbers take one thread 10 ms.
"""

_GATHERED = 4096
"""Rows that are copied together before they are scanned: 1 MB of 128 numbers."""
_GATHER_ALONE = 1 << 21
"""Numbers of scattered rows that one thread copies and scans, in about 1 ms."""

Found = tuple[NDArray[np.int64], Float32]
"""Rows `(n,)` and their inner products `(n,)`."""
_T = TypeVar("_T")


def at_least(half: NDArray[np.float16], query: Float32, least: float) -> Found:
    """Find all rows whose inner product with `query` is above `least`; rows ascending.

    Args:
        half: `(n, D)`, contiguous.
        query: `(D,)`.
        least: The limit.
    """

    def part(start: int, stop: int) -> Found:
        rows, dots = _above(half[start:stop], query, least)
        return rows + start, dots

    return _joined(in_parts(len(half), part, ONE_THREAD // max(half.shape[1], 1)))


def at_least_of(half: NDArray[np.float16], rows: NDArray[np.int64], query: Float32, least: float) -> Found:
    """Find what `at_least` finds among `rows` `(m,)`, ascending; the inner products are the same to the last bit."""

    def part(start: int, stop: int) -> list[Found]:
        found = []
        for first in range(start, stop, _GATHERED):
            some = rows[first : min(first + _GATHERED, stop)]
            at, dots = _above(half[some], query, least)
            found.append((some[at], dots))
        return found

    parts = in_parts(len(rows), part, _GATHER_ALONE // max(half.shape[1], 1))
    return _joined([found for several in parts for found in several] or [(rows[:0], np.empty(0, np.float32))])


def best(half: NDArray[np.float16], query: Float32, k: int) -> Found:
    """Find the `k` rows with the highest inner products, best first.

    Args:
        half: `(n, D)`, contiguous.
        query: `(D,)`.
        k: How many.
    """

    def part(start: int, stop: int) -> Found:
        faiss = _faiss()
        codes = _codes(half[start:stop])
        count = min(k, stop - start)
        dots, rows = np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64)
        pointers = [faiss.swig_ptr(array) for array in (codes, dots, rows)]
        with _scanner(query) as scanner:
            scanner.scan_codes(stop - start, pointers[0], None, pointers[1], pointers[2], count)
        return rows[rows >= 0] + start, dots[rows >= 0]

    rows, dots = _joined(in_parts(len(half), part, ONE_THREAD // max(half.shape[1], 1)))
    order = np.lexsort((rows, -dots))[:k]
    return rows[order], dots[order]


def _faiss() -> Any:
    import faiss  # 30 ms beyond NumPy: only a search pays them

    return faiss


def _above(half: NDArray[np.float16], query: Float32, least: float) -> Found:
    """Rows of `half` above `least`, scanned by this thread."""
    faiss = _faiss()
    codes = _codes(half)
    result = faiss.RangeSearchResult(1)
    partial = faiss.RangeSearchPartialResult(result)
    with _scanner(query) as scanner:
        scanner.scan_codes_range(len(half), faiss.swig_ptr(codes), None, least, partial.new_result(0))
    partial.finalize()
    count = int(faiss.rev_swig_ptr(result.lims, 2)[1])
    rows: NDArray[np.int64] = faiss.rev_swig_ptr(result.labels, count).astype(np.int64)
    dots: Float32 = faiss.rev_swig_ptr(result.distances, count).copy()
    return rows, dots


def _codes(half: NDArray[np.float16]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(half).view(np.uint8)


_idle: dict[int, list[Any]] = {}
"""Scanners that no search uses, by length of vectors. FAISS gives no way to free one."""


@contextmanager
def _scanner(query: Float32) -> Iterator[Any]:
    """A scanner for one part of one search, which numbers rows from 0."""
    query = np.ascontiguousarray(query, np.float32)  # the scanner points to it
    idle = _idle.setdefault(len(query), [])
    try:
        scanner = idle.pop()
    except IndexError:
        scanner = _new_scanner(len(query))
    scanner.set_query(_faiss().swig_ptr(query))
    scanner.set_list(0, 0.0)
    yield scanner
    idle.append(scanner)


def _new_scanner(dim: int) -> Any:
    index = _empty_index(dim)
    try:
        scanner = index.get_InvertedListScanner(True, None, None)
    except TypeError:  # before FAISS 1.11 it took no parameters of the search
        scanner = index.get_InvertedListScanner(True, None)
    scanner.index = index  # it points into it
    return scanner


def _empty_index(dim: int) -> Any:
    """The index whose scanners are used: inverted lists of fp16 vectors, without a vector."""
    faiss = _faiss()
    centres = faiss.IndexFlatIP(dim)
    centres.add(np.zeros((1, dim), np.float32))
    index = faiss.IndexIVFScalarQuantizer(
        centres, dim, 1, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.is_trained = True  # fp16 has nothing to learn
    return index


_own = threading.local()


def stay_alone(alone: bool) -> None:
    """Let searches that this thread makes from now on start no threads of their own: it is one of several that search.

    alone: False to let large matrices be scanned in parallel again.
    """
    if alone and not hasattr(_own, "alone"):
        _faiss().omp_set_num_threads(1)
    _own.alone = alone


def threads() -> int:
    """How many threads scan a large matrix."""
    if getattr(_own, "alone", False):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


def in_parts(n: int, work: Callable[[int, int], _T], alone: int) -> list[_T]:
    """Do `work(start, stop)` for 0 to `n`: at once up to `alone`, else a part for each thread; results in order."""
    if n <= alone or threads() == 1:
        return [work(0, n)]
    bounds = np.linspace(0, n, threads() + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(lambda pair: work(*pair), pairwise(bounds)))


def _joined(parts: list[Found]) -> Found:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([dots for _, dots in parts])
