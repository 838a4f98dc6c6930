"""Files of the cache: raw arrays behind one page with a header, which are mapped and checked before they are used."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import CACHE_NAME, open_file, replace_cached
from .mapping import mapped

PAGE = 4096
"""Where arrays begin: a page, so that mapped arrays are aligned."""
_PREFIX = struct.Struct("<8sII")
"""Magic, length of the header as JSON, its crc32."""


def save(folder: Path, name: str, magic: bytes, head: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> int:
    """Replace a file in the cache of the memory in `folder`, or leave the old one.

    Args:
        folder: The memory.
        name: Of the file.
        magic: 8 bytes that tell its kind.
        head: The header. `crc32` is added: the checksum of the arrays.
        arrays: What to write, one after the other.

    Returns:
        The checksum of the arrays.

    Raises:
        OSError: the disk is full, or the folder is read-only.
        StoreError: the cache is not a folder.
    """
    raw = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays]
    crc = 0
    for part in raw:
        crc = zlib.crc32(part, crc)
    text = json.dumps(head | {"crc32": crc}).encode()
    page = (_PREFIX.pack(magic, len(text), zlib.crc32(text)) + text).ljust(PAGE, b"\0")
    replace_cached(folder, name, [page, *raw])
    return crc


def load(folder: Path, name: str, magic: bytes) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Map a file in the cache of the memory in `folder`; return its header and the bytes of its arrays, unchecked.

    Raises:
        OSError: there is no file.
        StoreError: it is a link or a device.
        ValueError: it is another kind of file, or its header is damaged.
    """
    with os.fdopen(open_file(folder / CACHE_NAME / name, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_size < PAGE:
            raise ValueError("too short")
        data = mapped(file.fileno())
    found, length, crc = _PREFIX.unpack_from(data[: _PREFIX.size].tobytes())
    text = data[_PREFIX.size : min(_PREFIX.size + length, PAGE)].tobytes()
    if found != magic or zlib.crc32(text) != crc:
        raise ValueError("header damaged")
    try:
        head = json.loads(text)
    except RecursionError:
        raise ValueError("header damaged") from None
    if not isinstance(head, dict):
        raise ValueError("header damaged")
    return head, data[PAGE:]


def check_arrays(data: NDArray[np.uint8], crc: object) -> None:
    """Raise ValueError unless this is the checksum of the bytes of arrays."""
    if zlib.crc32(data.data) != crc:
        raise ValueError("checksum mismatch")
