"""Bounds for compressed bags: `rosbags` unpacks whatever a chunk or a message turns into, of any size."""

from __future__ import annotations

import bz2
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import MediaError
from ...limits import budget, check_bytes, check_regular
from .mcap_table import MAX_EXPANSION

_YAML_TIMES = 200
"""Bytes of memory for a byte of YAML, at most."""
_PART = 1 << 20


class PackedError(Exception):
    """Something unpacks to more than the memory budget."""


def check_bag(place: Path) -> None:
    """Check the files of a bag before the library opens them.

    Raises:
        MediaError: one is a pipe or a device, the metadata are too large, or a packed file would fill the disk.
    """
    if not place.is_dir():
        check_regular(place)
        return
    for path in sorted(place.iterdir()):
        if path.name == "metadata.yaml" or path.suffix in (".db3", ".mcap", ".zstd", ".zst"):
            check_regular(path)
        if path.name == "metadata.yaml":
            check_bytes(_YAML_TIMES * path.stat().st_size, "metadata.yaml", path)
        if path.suffix in (".zstd", ".zst"):
            _check_expansion(path)


def _check_expansion(path: Path) -> None:
    """The library unpacks the file to a temporary one."""
    import zstandard

    size, unpacked = os.path.getsize(path), 0
    try:
        with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as out:
            while part := out.read(_PART):
                unpacked += len(part)
                if unpacked > MAX_EXPANSION * size:
                    raise MediaError(f"the bag unpacks to more than {MAX_EXPANSION} times its size: {path}")
    except zstandard.ZstdError as error:
        raise MediaError(f"the bag cannot be unpacked ({error}); copy it again: {path}") from None


def bound(bag: Any) -> None:
    """Make the open readers of an AnyReader refuse chunks and messages that unpack to more than the budget."""
    for reader in bag.readers:
        if not bag.is2:
            kinds: dict[str, Callable[[bytes], bytes]] = {"bz2": _bz2, "lz4": _lz4}
            for place, chunk in reader.chunks.items():
                if (bounded := kinds.get(chunk.decompressor.__module__.partition(".")[0])) is not None:
                    reader.chunks[place] = chunk._replace(decompressor=bounded)
            continue
        inner = reader.storage
        if hasattr(inner, "storages") and inner.metadata.compression_mode == "message":
            inner.metadata = inner.metadata._replace(compression_mode=None)  # they are unpacked here
            for storage in inner.storages:
                storage.messages = partial(_unpacked, storage.messages)


def _unpacked(read: Callable[..., Any], *args: Any, **options: Any) -> Iterator[tuple[Any, int, bytes]]:
    for connection, t_ns, data in read(*args, **options):
        yield connection, t_ns, _zstd(data)


def _zstd(data: bytes) -> bytes:
    import zstandard

    parts, total = [], 0
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    while part := reader.read(_PART):
        parts.append(part)
        total += len(part)
        if total > budget():
            raise PackedError(_CAUSE)
    return b"".join(parts)


def _bz2(data: bytes) -> bytes:
    return _within(bz2.BZ2Decompressor().decompress(data, budget() + 1))


def _lz4(data: bytes) -> bytes:
    import lz4.frame

    reader: Any = lz4.frame.LZ4FrameDecompressor()
    return _within(reader.decompress(data, max_length=budget() + 1))


_CAUSE = "it unpacks to more than the memory budget"


def _within(data: bytes) -> bytes:
    if len(data) > budget():
        raise PackedError(_CAUSE)
    return data
