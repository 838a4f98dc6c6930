"""The one file of the vector cache: written to a temporary name, flushed, renamed, and checked before it is used.

It holds raw arrays behind a header, not FAISS's own format: at 1,000,000 x 128 FAISS takes 1 s to read its file and
parses it in C++. These arrays are mapped, checked at memory speed and given to FAISS in 0.15 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..limits import MAX_NS
from ..records import Float32
from . import array_file
from .first_passes import FirstPasses
from .validate import MAX_COUNT, MAX_ORDINALS

CACHE_FILE_NAME = "vectors.bin"
FORMAT = 1

_MAGIC = b"VMCACHE\0"
_MIN_SCALE = 1e-3
"""Smallest inverse norm of a sound vector: norms are about 1, and widened NaN or infinity gives over 60,000."""
COLUMNS = ("ids", "source_ids", "ordinals", "start_ns", "end_ns", "frames")


@dataclass(frozen=True, slots=True, eq=False)
class CacheData:
    """All tracks of a memory, by id.

    Attributes:
        memory: The id of the memory.
        generation: The generation of its tracks.
        columns: `(6, n)` int64, as named in COLUMNS.
        visual: `(n, Dv)` float16.
        text: `(n, Dt)` float16.
        scale: `(2, n)` float32: 1 / norm of each visual and text vector, 0 where the norm is 0. Rounding to fp16 moves
            norms off 1 by up to 0.0005.
        first: What finds rows by their codes. It is made of these vectors.
        crc: The checksum of the arrays in the file that they were loaded from; None if they were not.
    """

    memory: str
    generation: int
    columns: NDArray[np.int64]
    visual: NDArray[np.float16]
    text: NDArray[np.float16]
    scale: Float32
    first: FirstPasses = field(default_factory=FirstPasses)
    crc: int | None = None

    def __len__(self) -> int:
        return int(self.columns.shape[1])


def save(folder: Path, data: CacheData) -> int:
    """Replace the cache of the memory in `folder` by `data`, or leave the old one; return the checksum of its arrays.

    Raises:
        OSError: the disk is full, or the folder is read-only.
        StoreError: the cache is not a folder.
    """
    head = {
        "format": FORMAT,
        "memory": data.memory,
        "generation": data.generation,
        "rows": len(data),
        "dims": [data.visual.shape[1], data.text.shape[1]],
    }
    return array_file.save(folder, CACHE_FILE_NAME, _MAGIC, head, (data.columns, data.visual, data.text, data.scale))


def odd(data: CacheData) -> str | None:
    """Return what in the columns and norms of tracks vidmem does not write; None when all is sound.

    It takes milliseconds for a million tracks: of the vectors only the norms are checked.
    """
    ids, _, ordinals, start_ns, end_ns, frames = data.columns
    if (np.diff(ids) <= 0).any():
        return "ids out of order"
    if any(len(ns) and (ns.min() <= -MAX_NS or ns.max() >= MAX_NS) for ns in (start_ns, end_ns)):
        return "times out of range"
    if any(
        len(n) and (n.min() < 0 or n.max() > limit) for n, limit in ((ordinals, MAX_ORDINALS - 1), (frames, MAX_COUNT))
    ):
        return "numbers out of range"
    if not ((data.scale == 0) | ((data.scale >= _MIN_SCALE) & np.isfinite(data.scale))).all():
        return "vectors that are not numbers"
    return None


def load(folder: Path, memory: str, dims: tuple[int, int], generation: int, rows: int) -> CacheData:
    """Load the cache of the memory in `folder`; its arrays are read-only views of the file.

    Args:
        folder: The memory.
        memory: The id of the memory.
        dims: Lengths of its visual and text vectors.
        generation: How often its tracks have changed.
        rows: How many tracks it has.

    Raises:
        OSError: there is no cache.
        StoreError: it is a link or a device.
        ValueError: it is damaged, has another format, or was not made of this memory.
    """
    head, data = array_file.load(folder, CACHE_FILE_NAME, _MAGIC)
    made, n, payload_crc = _header(head, memory, dims)
    if made > generation or n > rows or (made == generation and n != rows):
        raise ValueError("not of this memory's tracks")
    dv, dt = dims
    lengths = [len(COLUMNS) * 8 * n, 2 * dv * n, 2 * dt * n, 8 * n]
    if len(data) != sum(lengths):
        raise ValueError("wrong size")
    array_file.check_arrays(data, payload_crc)
    columns, visual, texts, scale = np.split(data, np.cumsum(lengths)[:-1])
    found = CacheData(
        memory,
        made,
        columns.view(np.int64).reshape(len(COLUMNS), n),
        visual.view(np.float16).reshape(n, dv),
        texts.view(np.float16).reshape(n, dt),
        scale.view(np.float32).reshape(2, n),
        crc=payload_crc,
    )
    if (what := odd(found)) is not None:
        raise ValueError(what)
    return found


def _header(head: dict[str, Any], memory: str, dims: tuple[int, int]) -> tuple[int, int, int]:
    """Return the generation, the rows and the checksum of the arrays.

    Raises:
        ValueError: they are not of this memory, or their vectors have other lengths.
    """
    if head.get("format") != FORMAT:
        raise ValueError("another format")
    if head.get("memory") != memory:
        raise ValueError("made for another memory")
    if head.get("dims") != list(dims):
        raise ValueError("vectors of another length")
    return _number(head, "generation"), _number(head, "rows"), _number(head, "crc32")


def _number(head: dict[str, Any], name: str) -> int:
    value = head.get(name)
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("header damaged")
    return value
