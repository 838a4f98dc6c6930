"""What a program of ours sets for itself before anything heavy is loaded. A library leaves that to its host."""

from __future__ import annotations

import ctypes
import os
import sys

ARENAS = 2
"""Heaps of glibc's allocator. By default each thread may get its own, up to eight a core, and what they hold in pieces
grows for minutes while pictures pass from thread to thread; with two, memory stays where it is after the first."""
_M_ARENA_MAX = -8


def settle() -> None:
    """One BLAS thread, few heaps. Before NumPy is imported, before threads are started."""
    # A question needs no threads, and OpenBLAS's wait for one another: on a machine that is busy indexing, NumPy's
    # import and the first product took three times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        try:
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
        except (OSError, AttributeError):  # another C library, which has no arenas
            return
