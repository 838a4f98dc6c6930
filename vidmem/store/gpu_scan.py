"""A GPU as the first pass of an exact search: it keeps all vectors in half precision and says which rows may answer.

FAISS's GpuIndexFlat gives the k rows with the largest inner products. These are not quite the processor's: it rounds
the question to half precision, and adds up in another order. So rows count as candidates down to a margin below the
limit, and the kernel of scan.py decides among them. The answer is that of a scan of all rows, to the last bit.

**The margin.** Vectors x are half precision, so the GPU has them exactly. For a question q, rounded to q',

    |q'.x - q.x| <= |q' - q| |x|                                      (Cauchy-Schwarz; |q' - q| is known)

Products of two half-precision numbers are exact in float32, and a sum of D of them in any order is wrong by at most
g |q'| |x| with g = D u / (1 - D u), u the relative error of one operation (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1). u is 2^-24 where a processor rounds. Tensor cores cut off instead, which doubles it, and
line up the terms of one step, which is given as much again: u = 2^-22 here. The kernel that decides is wrong by at most
g |q| |x|. The margin is the sum of the three with the largest |x|. So a row that the GPU puts below limit - margin is
not above the limit for the processor, and once the k-th row is below it, no row is missing.

FAISS's GPU finds at most 2,048 rows. Where more may pass, the GPU does not answer, and the processor does.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from . import scan
from .fp16 import half_to_float
from .scan import Found

_log = logging.getLogger(__name__)

Rows = NDArray[np.int64]

MOST_BYTES = 4 << 30
"""Bytes of vectors that this process keeps on GPUs. While some are copied they take twice as much."""
MOST_ROWS = 2048
"""Rows that one search on a GPU can give."""
FIRST_ROWS = 128
"""Rows that a search asks for first; then four times as many, as long as the last of them may still answer."""
_SCRATCH = 64 << 20
"""Bytes of a GPU that FAISS takes for itself; by default it takes 1.5 GB."""
_COPIED = 1 << 17
"""Rows that are widened and copied at a time: 128 MB of 256 numbers."""
_UNIT = 2.0**-22

_held = 0
_held_turn = threading.Lock()


def gpu_for(device: str | None) -> int | None:
    """Return the number of the GPU that may search when `device` computes, None for none. The first is the default."""
    if device is None:
        return 0
    name, _, number = device.partition(":")
    if name != "cuda" or (number and not number.isdigit()):
        return None
    return int(number or 0)


def upload(half: NDArray[np.float16], gpu: int) -> GpuScan | None:
    """Copy vectors `(n, D)` to a GPU. None if there is none, or they do not fit; the reason is logged."""
    if _gpus() <= gpu:
        return None
    if not _reserve(half.nbytes):
        _log.info("searches stay on the processor: %d vectors are too many for the GPU's share", len(half))
        return None
    try:
        scanner = GpuScan(_index(half.shape[1], gpu), half)
    except (RuntimeError, AttributeError, TypeError) as error:  # no memory left; another FAISS
        _release(half.nbytes)
        _log.warning("searches stay on the processor: the GPU does not take the vectors (%s)", _first_line(error))
        return None
    weakref.finalize(scanner, _release, half.nbytes)
    _log.info("%d vectors are searched on GPU %d", len(half), gpu)
    return scanner


class GpuScan:
    """Rows 0 to n - 1 on a GPU, as a `FirstPass` for them. They never change; threads take turns.

    Attributes:
        sound: False once the GPU has failed. It then gives nothing more.
    """

    def __init__(self, index: Any, half: NDArray[np.float16]) -> None:
        """index: empty; of FAISS, for inner products, with vectors in half precision. half: `(n, D)`."""
        self.sound = True
        self._index, self._rows, self._dim = index, len(half), half.shape[1]
        self._turn = threading.Lock()
        longest = 0.0
        for start in range(0, len(half), _COPIED):
            wide = half_to_float(half[start : start + _COPIED])
            longest = max(longest, float(np.einsum("ij,ij->i", wide, wide).max()))
            index.add(wide)
        self._longest = (longest * (1 + self._dim * _UNIT)) ** 0.5

    def __len__(self) -> int:
        return self._rows

    def at_least(self, half: NDArray[np.float16], query: Float32, least: float, others: Rows) -> Found | None:
        """Find what `scan.at_least` finds, to the last bit. None if too many rows pass, or the GPU fails.

        Args:
            half: The vectors `(m, D)`, m not below n.
            query: `(D,)`.
            least: The limit.
            others: Rows to look at in any case, ascending: changed ones, and all from n on.
        """
        rounded, margin = self._rounded(query)
        limit = float(np.float32(least)) - margin  # the kernel that decides rounds the limit too
        count = min(FIRST_ROWS, self._rows)
        while True:
            found = self._nearest(rounded, count)
            if found is None:
                return None
            rows, dots = found
            if count == self._rows or dots[-1] < limit:
                return scan.at_least_of(half, np.union1d(rows[dots >= limit], others), query, least)
            if count >= MOST_ROWS:
                return None
            count = min(4 * count, MOST_ROWS, self._rows)

    def nearest(self, query: Float32, count: int, others: Rows) -> tuple[Rows, float] | None:
        """Find the `count` rows with the largest inner products, and `others`. None if the GPU fails or cannot.

        Args:
            query: `(D,)`.
            count: How many.
            others: As in `at_least`.

        Returns:
            The rows, ascending, and what the inner product of no other row exceeds.
        """
        if count > MOST_ROWS:
            return None
        rounded, margin = self._rounded(query)
        found = self._nearest(rounded, min(count, self._rows))
        if found is None:
            return None
        rows, dots = found
        bound = -np.inf if len(rows) == self._rows else float(dots[-1]) + margin
        return np.union1d(rows, others), bound

    def _rounded(self, query: Float32) -> tuple[Float32, float]:
        """The question in half precision, as float32, and the margin."""
        rounded = query.astype(np.float16).astype(np.float32)
        exact, near = query.astype(np.float64), rounded.astype(np.float64)
        sums = self._dim * _UNIT / (1 - self._dim * _UNIT)
        lost = float(np.linalg.norm(near - exact))
        lengths = float(np.linalg.norm(near)) + float(np.linalg.norm(exact))
        return rounded, (lost + sums * lengths) * self._longest * (1 + 1e-9)

    def _nearest(self, rounded: Float32, count: int) -> tuple[Rows, NDArray[np.float64]] | None:
        """The `count` nearest rows, best first, and their inner products as the GPU adds them up."""
        if not self.sound:
            return None
        try:
            with self._turn:
                dots, rows = self._index.search(rounded[None], count)
        except RuntimeError as error:
            self.sound = False
            _log.warning("searches go back to the processor: the GPU fails (%s)", _first_line(error))
            return None
        return np.asarray(rows[0], np.int64), np.asarray(dots[0], np.float64)


def _gpus() -> int:
    """How many GPUs FAISS can use: none of faiss-cpu."""
    import faiss

    return int(faiss.get_num_gpus())


def _index(dim: int, gpu: int) -> Any:
    """An empty index on a GPU."""
    import faiss

    resources = faiss.StandardGpuResources()
    resources.setTempMemory(_SCRATCH)
    config = faiss.GpuIndexFlatConfig()
    config.device, config.useFloat16 = gpu, True
    if hasattr(config, "use_cuvs"):
        config.use_cuvs = False  # cuVS adds up in ways that the margin does not know
    index: Any = faiss.GpuIndexFlatIP(resources, dim, config)
    index.resources = resources  # it points to them
    return index


def _reserve(size: int) -> bool:
    global _held
    with _held_turn:
        if _held + size > MOST_BYTES:
            return False
        _held += size
        return True


def _release(size: int) -> None:
    global _held
    with _held_turn:
        _held -= size


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
