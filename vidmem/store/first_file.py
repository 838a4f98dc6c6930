"""The file of the first pass, `cache/first_pass.bin`: raw arrays behind a header, as in cache_file.py.

A wrong code could lose an answer without a trace. So the file names the vectors that it was made of by their checksum,
has checksums of its own, and on loading some of its codes are made again from the vectors.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import array_file
from .first_codes import MOST_COLUMNS, Codes, encode
from .first_pass import BLOCK_ROWS, Stored, columns_of

FIRST_FILE_NAME = "first_pass.bin"
FORMAT = 1

_MAGIC = b"VMFIRST\0"
_CHECKED = 256
"""Rows whose codes are made again when a file is loaded."""
_MOST = 1 << 40


def save(folder: Path, kinds: tuple[Stored, Stored], vectors_crc: int) -> None:
    """Replace the first pass of the memory in `folder`, or leave the old one.

    Args:
        folder: The memory.
        kinds: Of its visual and of its text vectors.
        vectors_crc: The checksum of the arrays in its `vectors.bin`.

    Raises:
        OSError: the disk is full, or the folder is read-only.
        StoreError: the cache is not a folder.
    """
    about = [
        {
            "rows": kind.rows,
            "trained": kind.trained,
            "split": kind.codes.split,
            "arrays": [[a.dtype.str, *a.shape] for a in _arrays(kind)],
        }
        for kind in kinds
    ]
    head = {"format": FORMAT, "vectors": vectors_crc, "kinds": about}
    array_file.save(folder, FIRST_FILE_NAME, _MAGIC, head, [a for kind in kinds for a in _arrays(kind)])


def load(
    folder: Path, vectors_crc: int, vectors: tuple[NDArray[np.float16], NDArray[np.float16]]
) -> tuple[Stored, Stored]:
    """Load the first pass of the memory in `folder`; its arrays are read-only views of the file.

    Args:
        folder: The memory.
        vectors_crc: The checksum of the arrays in its `vectors.bin`.
        vectors: Its visual and text vectors.

    Raises:
        OSError: there is no file.
        StoreError: it is a link or a device.
        ValueError: it is damaged, has another format, or was not made of these vectors.
    """
    head, data = array_file.load(folder, FIRST_FILE_NAME, _MAGIC)
    try:
        if head["format"] != FORMAT:
            raise ValueError("another format")
        if head["vectors"] != vectors_crc:
            raise ValueError("made of other vectors")
        array_file.check_arrays(data, head["crc32"])
        first, end = _kind(head["kinds"][0], data, 0)
        second, end = _kind(head["kinds"][1], data, end)
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError):
        raise ValueError("header damaged") from None
    if end != len(data):
        raise ValueError("wrong size")
    for kind, half in zip((first, second), vectors, strict=True):
        _check(kind, half)
    return first, second


def _arrays(kind: Stored) -> list[NDArray[Any]]:
    codes = kind.codes
    return [
        codes.mean, codes.rotation, codes.groups, codes.centroids, codes.columns, codes.levels, kind.odd, kind.blocks,
    ]  # fmt: skip


_TYPES = ("<f4", "<f4", "<i8", "<f4", "<i8", "<f4", "<i8", "|u1")


def _kind(about: dict[str, Any], data: NDArray[np.uint8], at: int) -> tuple[Stored, int]:
    """One kind of vectors, and where its arrays end."""
    found: list[NDArray[Any]] = []
    if [array[0] for array in about["arrays"]] != list(_TYPES):
        raise ValueError("header damaged")
    for dtype, *shape in about["arrays"]:
        if not all(type(n) is int and 0 <= n < _MOST for n in shape):
            raise ValueError("header damaged")
        size = prod(shape) * np.dtype(dtype).itemsize
        if at + size > len(data):
            raise ValueError("wrong size")
        # Copied where it is small, because arrays of other types before it may leave it unaligned.
        part = data[at : at + size]
        found.append((part if dtype == "|u1" else part.copy()).view(dtype).reshape(shape))
        at += size
    mean, rotation, groups, centroids, columns, levels, odd, blocks = found
    rows, trained, split = (about[name] for name in ("rows", "trained", "split"))
    if not all(type(n) is int and 0 <= n < _MOST for n in (rows, trained, split)):
        raise ValueError("header damaged")
    return Stored(Codes(mean, rotation, groups, centroids, columns, split, levels), blocks, rows, odd, trained), at


def _check(kind: Stored, half: NDArray[np.float16]) -> None:
    """Raises ValueError unless the arrays fit each other and these vectors."""
    codes, (n, dim) = kind.codes, half.shape
    groups, width = len(codes.groups), codes.width
    shapes: list[tuple[NDArray[Any], tuple[int, ...]]] = [
        (codes.mean, (dim,)),
        (codes.rotation, (dim, dim)),
        (codes.groups, (groups, 2)),
        (codes.centroids, (groups, 16, 8)),
        (codes.levels, (2, 16)),
        (codes.columns, (width - 2,)),
        (kind.odd, (len(kind.odd),)),
        (kind.blocks, (-(-n // BLOCK_ROWS), width // 2, BLOCK_ROWS)),
    ]
    if (
        kind.rows != n
        or not n
        or width % 2
        or width > MOST_COLUMNS
        or any(array.shape != shape for array, shape in shapes)
    ):
        raise ValueError("sizes that do not fit")
    if not all(np.isfinite(a).all() for a in (codes.mean, codes.rotation, codes.centroids, codes.levels)):
        raise ValueError("numbers that are not finite")
    start, size = codes.groups.T
    odd = kind.odd
    if not (
        (start >= 0).all()
        and ((size >= 1) & (size <= 8)).all()
        and (start + size <= dim).all()
        and ((codes.columns >= 0) & (codes.columns < groups)).all()
        and 0 <= codes.split <= dim
        and (np.diff(codes.levels, axis=1) >= 0).all()
        and (np.diff(odd) > 0).all()
        and (not len(odd) or (odd[0] >= 0 and odd[-1] < n))
    ):
        raise ValueError("codes that do not fit")
    rows = np.unique(np.linspace(0, n - 1, min(n, _CHECKED)).astype(np.int64))
    again, hard = encode(codes, half[rows])
    known = np.isin(rows, odd)
    # Another processor may round a vector between two centroids to the other one.
    same = (again == columns_of(kind.blocks, rows)).mean(axis=1) > 0.9
    if not (same | known | hard).all() or (hard & ~known).sum() > 2:
        raise ValueError("codes of other vectors")
