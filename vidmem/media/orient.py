"""Turning pictures upright by the display matrix that phones write; it may mirror them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """How to turn stored pixels upright: swap the axes first, then flip rows, then columns."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after turning, from those before; or the other way round."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright picture, `(H, W, 3)` contiguous."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_rows:
            image = image[::-1]
        if self.flip_columns:
            image = image[:, ::-1]
        return np.ascontiguousarray(image)


def from_matrix(matrix: bytes) -> Orientation:
    """The orientation in a display matrix: nine int32, rows (a b u), (c d v), (x y w).

    A point goes to (a x + c y, b x + d y), y down. Other angles are rounded to a quarter turn.
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(b) > abs(a):
        return Orientation(True, flip_rows=b < 0, flip_columns=c < 0)
    return Orientation(False, flip_rows=d < 0, flip_columns=a < 0)


def of_frame(frame: Any) -> Orientation:
    """The orientation of a decoded PyAV frame, from its side data."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return from_matrix(bytes(data))
    return Orientation()
