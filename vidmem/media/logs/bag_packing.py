"""Checks and bounds for bags: `rosbags` unpacks whatever a chunk or a message turns into, and asks any SQLite file."""

from __future__ import annotations

import bz2
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import MediaError
from ...limits import budget, check_bytes, check_regular
from .bag_schema import check_schema, is_sqlite
from .mcap_table import MAX_EXPANSION

_YAML_TIMES = 200
"""Bytes of memory for a byte of YAML, at most."""
_PART = 1 << 20


class PackedError(Exception):
    """Something unpacks to more than the memory budget."""


def check_bag(place: Path) -> None:
    """Check the files of a bag before the library opens them.

    The metadata name the files of a bag, whatever they are called. So files are known by their first bytes.

    Raises:
        MediaError: one is a pipe or a device, the metadata are too large, a packed file would fill the disk, or a
            database holds more than tables of data.
    """
    if not place.is_dir():
        check_regular(place)
        return
    for path in sorted(place.iterdir()):
        if path.name == "metadata.yaml" or path.suffix in (".db3", ".mcap", ".zstd", ".zst"):
            check_regular(path)
        if path.name == "metadata.yaml":
            check_bytes(_YAML_TIMES * path.stat().st_size, "metadata.yaml", path)
        if path.is_file():
            head = _head(path)
            if path.suffix in (".zstd", ".zst") or head[:4] == _ZSTD or head[1:4] == _SKIPPABLE:
                _check_packed(path)
            elif is_sqlite(head):
                check_schema(path, path)


_ZSTD, _SKIPPABLE = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
"""How a frame of zstd begins, and (after a byte) one that is skipped (RFC 8878, 3.1)."""


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except OSError as error:
        raise MediaError(f"the bag cannot be read ({error.strerror}); check the file: {path}") from None


def _check_packed(path: Path) -> None:
    """Check what the library unpacks to a temporary file: its size, and its schema if it is a database."""
    import zstandard

    size, unpacked, copied = os.path.getsize(path), 0, False
    try:
        with (
            open(path, "rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as out,
            tempfile.NamedTemporaryFile(suffix=".db3") as copy,
        ):
            while part := out.read(_PART):
                copied = copied or (not unpacked and is_sqlite(part))
                unpacked += len(part)
                if unpacked > MAX_EXPANSION * size:
                    raise MediaError(f"the bag unpacks to more than {MAX_EXPANSION} times its size: {path}")
                if copied:
                    copy.write(part)
            if copied:
                copy.flush()
                check_schema(Path(copy.name), path)
    except zstandard.ZstdError as error:
        raise MediaError(f"the bag cannot be unpacked ({error}); copy it again: {path}") from None
    except OSError as error:
        raise MediaError(f"the bag cannot be unpacked ({error.strerror}); check the disk: {path}") from None


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
