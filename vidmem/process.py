"""What a program of ours sets for itself before anything heavy is loaded. A library leaves that to its host."""

from __future__ import annotations

import ctypes
import os
import sys

LARGE = 8 << 20
"""Bytes from which a block is mapped by itself and given back at once. glibc raises its own limit to 32 MB as it goes:
the arrays of one picture after the other then leave holes in its heaps, which grow by a fifth over half an hour."""
SPARE = 64 << 20
"""Bytes that a heap may hold free at its end. Once the limit above is set, glibc leaves this one at 128 KB: the maps of
a network then come anew from the system, page by page, for every batch."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """One BLAS thread, large blocks given back. Before NumPy is imported."""
    # A question needs no threads, and OpenBLAS's wait for one another: on a machine that is busy indexing, NumPy's
    # import and the first product took three times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        try:
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, LARGE)
            mallopt(_M_TRIM_THRESHOLD, SPARE)
        except (OSError, AttributeError):  # another C library, which needs no such thing
            return
