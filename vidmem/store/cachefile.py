"""The one file of the vector cache: written to a temporary name, flushed, renamed; checked before it is used.

Raw arrays behind a header, not FAISS's own format: at 1,000,000 x 128 FAISS takes 1 s to read its file and parses
it in C++, while these arrays are mapped, checked at memory speed and handed to FAISS in 0.15 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..records import Float32

CACHE_FILE_NAME = "vectors.bin"
FORMAT = 1

_MAGIC = b"VMCACHE\0"
_PREFIX = struct.Struct("<8sII")  # magic, length of the JSON header, its crc32
_PAYLOAD = 4096  # where arrays begin: a page, so that mapped arrays are aligned
COLUMNS = ("ids", "source_ids", "ordinals", "start_ns", "end_ns", "frames")


@dataclass(frozen=True, slots=True, eq=False)
class CacheData:
    """All tracks of a memory, by id. memory: its id. generation: of the tracks.

    columns `(6, n)` int64 as named in COLUMNS; visual `(n, Dv)` and text `(n, Dt)` float16; scale `(2, n)` float32:
    1 / norm of each visual and text vector (fp16 rounding moves norms off 1 by up to 0.0005), 0 where it is 0.
    """

    memory: str
    generation: int
    columns: NDArray[np.int64]
    visual: NDArray[np.float16]
    text: NDArray[np.float16]
    scale: Float32

    def __len__(self) -> int:
        return int(self.columns.shape[1])


def save(folder: Path, data: CacheData) -> None:
    """Replace the cache in `folder` by `data`, or leave the old one.

    Raises:
        OSError: no room, or no right to write.
    """
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.tmp"):  # of a process that was killed while it wrote
        stale.unlink()
    arrays = [np.ascontiguousarray(a) for a in (data.columns, data.visual, data.text, data.scale)]
    crc = 0
    for array in arrays:
        crc = zlib.crc32(_raw(array), crc)
    head = {"format": FORMAT, "memory": data.memory, "generation": data.generation, "rows": len(data),
            "dims": [data.visual.shape[1], data.text.shape[1]], "crc32": crc}  # fmt: skip
    text = json.dumps(head).encode()
    fd, name = tempfile.mkstemp(suffix=".tmp", dir=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write((_PREFIX.pack(_MAGIC, len(text), zlib.crc32(text)) + text).ljust(_PAYLOAD, b"\0"))
            for array in arrays:
                file.write(_raw(array))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, folder / CACHE_FILE_NAME)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _raw(array: NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def load(folder: Path, memory: str) -> CacheData:
    """The cache in `folder` of the memory with the id `memory`; its arrays are read-only views of the file.

    Raises:
        OSError: there is none.
        ValueError: it is damaged, of another format or another memory.
    """
    path = folder / CACHE_FILE_NAME
    if path.stat().st_size < _PAYLOAD:
        raise ValueError("too short")
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    magic, length, crc = _PREFIX.unpack_from(data[: _PREFIX.size].tobytes())
    text = data[_PREFIX.size : min(_PREFIX.size + length, _PAYLOAD)].tobytes()
    if magic != _MAGIC or zlib.crc32(text) != crc:
        raise ValueError("header damaged")
    head = json.loads(text)
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']}")
    if head["memory"] != memory:
        raise ValueError("made for another memory")
    n, (dv, dt) = int(head["rows"]), map(int, head["dims"])
    lengths = [len(COLUMNS) * 8 * n, 2 * dv * n, 2 * dt * n, 8 * n]
    if min(n, dv, dt) < 0 or len(data) != _PAYLOAD + sum(lengths):
        raise ValueError("wrong size")
    if zlib.crc32(data[_PAYLOAD:].data) != head["crc32"]:
        raise ValueError("checksum mismatch")
    columns, visual, texts, scale = np.split(data[_PAYLOAD:], np.cumsum(lengths)[:-1])
    return CacheData(
        memory,
        int(head["generation"]),
        columns.view(np.int64).reshape(len(COLUMNS), n),
        visual.view(np.float16).reshape(n, dv),
        texts.view(np.float16).reshape(n, dt),
        scale.view(np.float32).reshape(2, n),
    )
