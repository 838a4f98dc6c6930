"""Masks as COCO's compressed run lengths. Written here because pycocotools is an optional dependency.

Runs of 0 and 1 alternate down the columns, beginning with 0. Each length is written in base 32, five bits a character
from "0" up, lowest first; the sixth bit says that more follow. From the third length on, the difference to the length
two before is written (maskApi.c of the COCO API).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs of a mask `(H, W)`; the first is a run of 0 and may be empty."""
    flat = np.asarray(mask, bool).T.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    lengths = np.diff(edges)
    return np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths


def compress(lengths: NDArray[np.int64]) -> str:
    """Run lengths as text."""
    out: list[str] = []
    values = lengths.tolist()
    for i, value in enumerate(values):
        rest = value - values[i - 2] if i > 2 else value
        while True:
            code = rest & 31
            rest >>= 5
            more = rest != (-1 if code & 16 else 0)
            out.append(chr(48 + (code | 32 if more else code)))
            if not more:
                break
    return "".join(out)


def total(counts: str) -> int:
    """The number of pixels in compressed run lengths; -1 when they are cut short or a length is negative."""
    lengths: list[int] = []
    value = shift = 0
    for char in counts:
        code = ord(char) - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        if len(lengths) > 2:
            value += lengths[-2]
        if value < 0:
            return -1
        lengths.append(value)
        value = shift = 0
    return sum(lengths) if not shift else -1


def segmentation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The value of "segmentation" in a COCO file."""
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": compress(run_lengths(mask))}


def box(mask: NDArray[np.bool_]) -> list[int]:
    """x, y, width and height of the box around a mask; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
