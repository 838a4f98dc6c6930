"""Files as read-only arrays that keep no descriptor: a fleet maps thousands, and a process may have 1,024 open."""

from __future__ import annotations

import mmap
import os
import sys
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mapped(fd: int) -> NDArray[np.uint8]:
    """Return all bytes of an open file, which is not empty, as a read-only array. Close the descriptor when you like.

    Python's own mmap keeps a copy of the descriptor before 3.13. So here the system is asked itself, but on Windows.

    Raises:
        OSError: the file cannot be mapped.
    """
    size = os.fstat(fd).st_size
    if sys.platform == "win32":
        return np.frombuffer(mmap.mmap(fd, size, access=mmap.ACCESS_READ), np.uint8)
    return np.asarray(_Mapped(fd, size))


class _Mapped:
    """Pages of a file. An array that is made of them keeps them alive; the last one takes them along."""

    def __init__(self, fd: int, size: int) -> None:
        import ctypes

        self._size, self._libc = size, _libc()
        self._at = self._libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        if self._at in (None, ctypes.c_void_p(-1).value):
            self._at = None
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self.__array_interface__ = {"data": (self._at, True), "shape": (size,), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        if getattr(self, "_at", None) is not None:
            self._libc.munmap(self._at, self._size)


@cache
def _libc() -> Any:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    number, size, place = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    libc.mmap.argtypes, libc.mmap.restype = [place, size, number, number, number, ctypes.c_long], place
    libc.munmap.argtypes, libc.munmap.restype = [place, size], number
    return libc
