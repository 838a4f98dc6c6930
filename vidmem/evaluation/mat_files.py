"""Reads a matrix of whole numbers from a MATLAB file of version 5 (MathWorks, "MAT-File Format", 2024).

SciPy reads such files, too, but a damaged one can end its process (scipy 1.17, `loadmat` with a type that is not in its
table). Here every length is checked before it is used.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}
"""Types of stored whole numbers. MATLAB stores a matrix in a smaller type if its values fit."""
_CLASSES = {8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Classes of matrices of whole numbers."""
_COMPLEX = 0x800


def read_matrix(data: bytes, name: str, limit: int) -> NDArray[np.integer[Any]]:
    """The matrix of that name.

    Args:
        data: The file.
        name: Of the variable.
        limit: Maximum size in bytes of what is unpacked.

    Returns:
        `(rows, columns)` in the type of its class.

    Raises:
        ValueError: The file is damaged, of another version, or has no such matrix of whole numbers.
    """
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("not a MATLAB file of version 5")
    order = "<" if data[126:128] == b"IM" else ">"
    for kind, content in _elements(memoryview(data)[_HEADER:], order):
        if kind == _COMPRESSED:
            kind, content = next(_elements(_unpacked(content, limit), order), (0, content))
        if kind == _MATRIX and (found := _matrix(content, name, order)) is not None:
            return found
    raise ValueError(f"no matrix of whole numbers called {name}")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the content of each element. Raises ValueError where one is longer than the rest."""
    place = 0
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, place)
        small = kind >> 16
        if small:  # up to four bytes beside the type
            kind, length, start = kind & 0xFFFF, small, place + 4
            end = place + 8
        else:
            start = place + 8
            end = start + length + (-length % 8 if kind != _COMPRESSED else 0)
        if length > (4 if small else len(data) - start):
            raise ValueError("it is cut short")
        yield kind, data[start : start + length]
        place = end


def _unpacked(content: memoryview, limit: int) -> memoryview:
    unpacker = zlib.decompressobj()
    try:
        out = unpacker.decompress(content, limit)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked, {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"it has more than {limit >> 20} MB")
    return memoryview(out)


def _matrix(content: memoryview, name: str, order: str) -> NDArray[np.integer[Any]] | None:
    """The matrix in an element; None if it has another name or class. Raises ValueError when it is damaged."""
    parts = [part for _, part in zip(range(4), _elements(content, order), strict=False)]
    if len(parts) < 4 or len(parts[0][1]) < 8 or len(parts[1][1]) % 4:
        return None
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    shape = np.frombuffer(parts[1][1], f"{order}i4").tolist()
    if bytes(parts[2][1]) != name.encode() or flags & _COMPLEX or flags & 0xFF not in _CLASSES or len(shape) != 2:
        return None
    stored, values = parts[3]
    if stored not in _NUMBERS or min(shape) < 0:
        raise ValueError("its values are of an unknown type")
    kind = np.dtype(order + _NUMBERS[stored])
    if len(values) != math.prod(shape) * kind.itemsize:
        raise ValueError("its size and its values do not fit together")
    found = np.frombuffer(values, kind).reshape(shape, order="F")
    return np.asarray(found, _CLASSES[flags & 0xFF])
