"""The first pass of an exact search: it finds rows that may answer by their codes, and only these are looked at.

first_codes.py bounds every row's inner product from above by a sum over a table. FAISS adds the sums up by its
fast-scan kernels at about 400 million rows a second and core for 40 bytes each. The rows whose sum is large enough are
then scanned in half precision, by the same kernel as in a search without codes, so the answer is the same to the last
bit. Where too many rows pass, as with a low threshold, it says so, and the caller scans all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from . import scan
from .first_codes import LEAST_ROWS, Codes, Table, Tables, encode, train
from .scan import Found

Rows = NDArray[np.int64]
Blocks = NDArray[np.uint8]
"""Codes as FAISS's kernels read them: `(n / 32 rounded up, C / 2, 32)`."""

PART = 1 << 17
"""Rows that one index holds and one thread scans; a multiple of `BLOCK_ROWS`."""
BLOCK_ROWS = 32
MOST = 1 / 16
"""Share of rows that may pass. Reading more of them one by one is slower than reading all in a row."""
_PROBES = 256
"""Blocks that are looked at first, to tell whether too many rows pass."""

# FAISS keeps 32 rows together, and in 32 bytes two columns of them: rows 0 to 15, in this order, in the low halves, the
# others in the high halves (https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes).
_ORDER = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])
_PLACE = np.argsort(_ORDER)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A first pass as arrays, as a file holds it.

    Attributes:
        codes: How vectors are encoded.
        blocks: Codes of rows 0 to n - 1.
        rows: n.
        odd: Rows that the codes do not bound, ascending int64.
        trained: How many rows there were when codes were learned.
    """

    codes: Codes
    blocks: Blocks
    rows: int
    odd: Rows
    trained: int

    @property
    def bytes(self) -> int:
        """Bytes of memory of the `FirstPass` that is made of it."""
        return _bytes(self.codes, self.rows)


def build(half: NDArray[np.float16], width: int | None = None) -> Stored | None:
    """Make the first pass for vectors `(n, D)`: 1,000,000 x 256 take 15 s of one core. None if they are too few.

    Args:
        half: The vectors.
        width: Columns of the codes, even; None for what suits D.
    """
    if len(half) < LEAST_ROWS or not half.shape[1]:
        return None
    codes = train(half, width)
    blocks = np.zeros((-(-len(half) // BLOCK_ROWS), codes.width // 2, BLOCK_ROWS), np.uint8)
    odd: list[Rows] = []
    for start in range(0, len(half), PART):
        part, hard = encode(codes, half[start : start + PART])
        at = start // BLOCK_ROWS
        packed = _packed(part)
        blocks[at : at + len(packed)] = packed
        odd.append(np.flatnonzero(hard) + start)
    return Stored(codes, blocks, len(half), np.concatenate(odd), len(half))


class FirstPass:
    """A first pass that is ready to search rows 0 to n - 1. It never changes, so threads may share it."""

    def __init__(self, codes: Codes, parts: Sequence[_Part], odd: Rows, trained: int) -> None:
        self.codes, self.odd, self.trained = codes, odd, trained
        self._parts, self._tables = tuple(parts), Tables(codes)
        self._rows = sum(part.count for part in self._parts)
        step = max(1, -(-self._rows // BLOCK_ROWS) // _PROBES)
        every = np.concatenate([part.blocks[: part.count // BLOCK_ROWS] for part in self._parts])[::step]
        self._probe = _Part(0, np.ascontiguousarray(every), len(every) * BLOCK_ROWS) if len(every) else None

    @classmethod
    def of(cls, stored: Stored) -> FirstPass:
        """Make it from arrays, which are copied: 1,000,000 rows take 30 ms."""
        step = PART // BLOCK_ROWS
        parts = [
            _Part(start, stored.blocks[start // BLOCK_ROWS :][:step], min(PART, stored.rows - start))
            for start in range(0, stored.rows, PART)
        ]
        return cls(stored.codes, parts, stored.odd, stored.trained)

    def __len__(self) -> int:
        return self._rows

    @property
    def bytes(self) -> int:
        """Bytes of memory that it takes."""
        return _bytes(self.codes, self._rows)

    def stored(self) -> Stored:
        """Return it as arrays."""
        blocks = np.concatenate([part.blocks for part in self._parts])
        return Stored(self.codes, blocks, self._rows, self.odd, self.trained)

    def encoded(self, half: NDArray[np.float16], changed: Rows) -> FirstPass:
        """Return it with the codes of changed and new rows; parts without such rows are shared.

        Args:
            half: The vectors `(m, D)`, m not below n.
            changed: Rows whose codes are to be made, ascending; all from n on among them.
        """
        columns, hard = encode(self.codes, half[changed])
        kept = self.odd[~np.isin(self.odd, changed)]
        parts = []
        for start in range(0, len(half), PART):
            low, high = np.searchsorted(changed, [start, start + PART])
            count = min(PART, len(half) - start)
            old = self._parts[start // PART] if start < self._rows else None
            if old is not None and low == high:
                parts.append(old)
                continue
            blocks = np.zeros((-(-count // BLOCK_ROWS), self.codes.width // 2, BLOCK_ROWS), np.uint8)
            if old is not None:
                blocks[: len(old.blocks)] = old.blocks
            _put(blocks, changed[low:high] - start, columns[low:high])
            parts.append(_Part(start, blocks, count))
        return FirstPass(self.codes, parts, np.union1d(kept, changed[hard]), self.trained)

    def at_least(self, half: NDArray[np.float16], query: Float32, least: float, others: Rows) -> Found | None:
        """Find what `scan.at_least` finds, to the last bit. None if too many rows pass: then that is faster.

        Args:
            half: The vectors `(m, D)`.
            query: `(D,)`.
            least: The limit.
            others: Rows to look at whatever their codes say, ascending: changed ones, and all from n on.
        """
        rows = self._passing(self._tables.of(query), least, len(half))
        if rows is None:
            return None
        return scan.at_least_of(half, _with(rows, self.odd, others), query, least)

    def nearest(self, query: Float32, count: int, others: Rows) -> tuple[Rows, float]:
        """Find rows with large inner products: the `count` with the largest sums of each part, and `others`.

        Args:
            query: `(D,)`.
            count: How many of each part.
            others: As in `at_least`.

        Returns:
            The rows, ascending, and what the inner product of no other row exceeds.
        """
        question = self._tables.of(query)
        near = self._each(lambda part: part.nearest(question, count))
        bound = question.base + max(last for _, last in near) / question.scale
        return _with(np.sort(np.concatenate([found for found, _ in near])), self.odd, others), bound

    def _passing(self, question: Table, least: float, n: int) -> Rows | None:
        """The rows that may be above `least`, ascending; None if they are too many."""
        limit = question.below(least)
        if limit < 0:
            return None
        if limit >= question.most:
            return np.empty(0, np.int64)
        if self._probe is not None and len(self._probe.above(question, limit)) > MOST * self._probe.count:
            return None
        rows = np.concatenate(self._each(lambda part: np.sort(part.above(question, limit))))
        return rows if len(rows) <= 2 * MOST * n else None

    def _each(self, search: Callable[[_Part], _T]) -> list[_T]:
        """What `search` gives of each part, in order."""
        count = min(scan.threads(), len(self._parts))
        if count == 1:
            return [search(part) for part in self._parts]
        bounds = np.linspace(0, len(self._parts), count + 1).astype(int).tolist()
        with ThreadPoolExecutor(count, initializer=_one_thread) as pool:
            several = pool.map(lambda pair: [search(part) for part in self._parts[slice(*pair)]], pairwise(bounds))
            return [found for some in several for found in some]


def _bytes(codes: Codes, rows: int) -> int:
    """Codes, numbers of rows as FAISS keeps them, and the rotation."""
    return rows * (codes.width // 2 + 8) + codes.rotation.nbytes


class _Part:
    """An index of FAISS with one list: rows from `start` on. Its table of a question is the question itself."""

    def __init__(self, start: int, blocks: Blocks, count: int) -> None:
        faiss = _faiss()
        self.start, self.count = start, count
        width = blocks.shape[1] * 2
        self._index = _empty(width)
        ids = np.arange(start, start + count, dtype=np.int64)
        blocks = np.ascontiguousarray(blocks)
        lists = faiss.downcast_InvertedLists(self._index.invlists)
        lists.add_entries(0, count, faiss.swig_ptr(ids), faiss.swig_ptr(blocks.reshape(-1)))
        self._index.ntotal = count
        self._shape = blocks.shape

    @property
    def blocks(self) -> Blocks:
        """Its codes, where FAISS keeps them."""
        faiss = _faiss()
        size = int(np.prod(self._shape))
        flat: Blocks = faiss.rev_swig_ptr(self._index.invlists.get_codes(0), size)
        return flat.reshape(self._shape)

    def above(self, question: Table, limit: float) -> Rows:
        """Rows whose sum is above `limit`, in no order."""
        _, _, rows = self._index.range_search(question.entries.reshape(1, -1), limit)
        return np.asarray(rows, np.int64)

    def nearest(self, question: Table, count: int) -> tuple[Rows, float]:
        """The `count` rows with the largest sums, and a sum that no other row exceeds; -1 if there is no other."""
        if count >= self.count:
            return np.arange(self.start, self.start + self.count), -1.0
        sums, rows = self._index.search(question.entries.reshape(1, -1), count)
        # FAISS leaves out rows whose sum is 0, and fills up with -1.
        found = np.asarray(rows[0], np.int64)
        held = found >= 0
        return found[held], float(sums[0, -1]) if held.all() else 0.0


def _faiss() -> Any:
    import faiss

    return faiss


def _one_thread() -> None:
    """Threads of a search start none of their own."""
    _faiss().omp_set_num_threads(1)


def _empty(width: int) -> Any:
    """An index whose product quantizer gives back as its table what it is asked: centroids are rows of an identity."""
    faiss = _faiss()
    dim = 16 * width
    centre = faiss.IndexFlatIP(dim)
    centre.add(np.zeros((1, dim), np.float32))
    index = faiss.IndexIVFPQFastScan(centre, dim, 1, width, 4, faiss.METRIC_INNER_PRODUCT, BLOCK_ROWS)
    index.referenced_objects = [centre]  # it points to it
    index.by_residual = False
    faiss.copy_array_to_vector(np.tile(np.eye(16, dtype=np.float32), (width, 1, 1)).reshape(-1), index.pq.centroids)
    index.is_trained = True
    return index


@cache
def works(width: int) -> bool:
    """Return True if this FAISS keeps codes and adds up tables as this module expects it: a version may not."""
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 16, (70, width)).astype(np.uint8)
    entries = rng.integers(0, 256, (width, 16)).astype(np.float32)
    entries[:, 0], entries[0, 1] = 0, 255
    sums = np.take_along_axis(entries.T, columns.T.T, axis=0).sum(axis=1)
    try:
        part = _Part(0, _packed(columns), len(columns))
        question = Table(entries, 0.0, 1.0)
        limit = float(np.sort(sums)[40])
        rows, last = part.nearest(question, 10)
        return (
            np.array_equal(np.sort(part.above(question, limit)), np.flatnonzero(sums > limit))
            and np.array_equal(sums[rows], np.sort(sums)[::-1][:10])
            and last == np.sort(sums)[-10]
        )
    except (RuntimeError, AttributeError, TypeError):
        return False


def _packed(columns: NDArray[np.uint8]) -> Blocks:
    """Codes `(n, C)` in blocks; the last is filled up with zeros."""
    n, width = columns.shape
    full = np.zeros((-(-n // BLOCK_ROWS) * BLOCK_ROWS, width), np.uint8)
    full[:n] = columns
    pairs = full.reshape(-1, BLOCK_ROWS, width // 2, 2)
    both = pairs[:, :16][:, _ORDER] | (pairs[:, 16:][:, _ORDER] << 4)
    return np.ascontiguousarray(both.transpose(0, 2, 3, 1)).reshape(-1, width // 2, BLOCK_ROWS)


def _put(blocks: Blocks, rows: Rows, columns: NDArray[np.uint8]) -> None:
    """Write the codes `(k, C)` of these rows into their blocks."""
    width = columns.shape[1]
    view = blocks.reshape(-1, width // 2, 2, 16)
    block, inside = rows // BLOCK_ROWS, rows % BLOCK_ROWS
    pair, which = np.arange(width) // 2, np.arange(width) % 2
    for high in (False, True):  # two rows share a byte
        some = (inside >= 16) == high
        at = (block[some, None], pair[None], which[None], _PLACE[inside[some] % 16][:, None])
        kept, new = (0x0F, columns[some] << 4) if high else (0xF0, columns[some])
        view[at] = (view[at] & kept) | new


def _with(rows: Rows, odd: Rows, others: Rows) -> Rows:
    """All of these rows, ascending, each once."""
    if not len(odd) and not len(others):
        return rows
    every = np.sort(np.concatenate([rows, odd, others]), kind="stable")
    return every[np.diff(every, prepend=-1) > 0]


def columns_of(blocks: Blocks, rows: Rows) -> NDArray[np.uint8]:
    """The codes `(k, C)` of these rows."""
    width = blocks.shape[1] * 2
    view = blocks.reshape(-1, width // 2, 2, 16)
    inside = rows % BLOCK_ROWS
    pair, which = np.arange(width) // 2, np.arange(width) % 2
    both = view[(rows // BLOCK_ROWS)[:, None], pair[None], which[None], _PLACE[inside % 16][:, None]]
    return np.asarray(np.where((inside >= 16)[:, None], both >> 4, both & 0x0F), np.uint8)
