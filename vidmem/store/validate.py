"""Check what is read from a memory: types and ranges, where rows become records.

SQLite stores any value in any column, and a memory may come from a stranger.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from types import UnionType
from typing import Any

from ..errors import StoreError
from ..limits import MAX_NS, MAX_PIXELS, MAX_SIDE

MAX_COUNT = 1 << 40
"""Limit of anything that is counted, so that sums fit 64 bits."""
MAX_ORDINALS = 1 << 32
MAX_DIM = 1 << 16
_MAX_PIXEL = 1 << 20
_MAX_DEPTH = 4


def damaged(what: str) -> StoreError:
    """Return the error for a memory with something in it that vidmem does not write."""
    return StoreError(f"the memory is damaged ({what}); restore it from a backup")


def typed(row: Sequence[Any], kinds: Sequence[type | UnionType], what: str) -> Sequence[Any]:
    """Return the row if each value has its type. Raises StoreError if not."""
    if not all(map(isinstance, row, kinds)):
        raise damaged(f"a value of another type in {what}")
    return row


def ensure(sound: bool, what: str) -> None:
    """Raise StoreError unless `sound` is true."""
    if not sound:
        raise damaged(what)


def times(what: str, *values: int | None) -> None:
    """Raise StoreError for a time out of range."""
    if any(ns is not None and not -MAX_NS < ns < MAX_NS for ns in values):
        raise damaged(f"a time out of range in {what}")


def counts(what: str, *values: int) -> None:
    """Raise StoreError for a count out of range."""
    if any(not 0 <= n <= MAX_COUNT for n in values):
        raise damaged(f"a number out of range in {what}")


def size(what: str, width: int, height: int) -> None:
    """Raise StoreError for a size that no picture has; 0 stands for an unknown size."""
    if not (0 <= width <= MAX_SIDE and 0 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise damaged(f"a picture of {width}x{height} pixels in {what}")


def box(what: str, *edges: float) -> None:
    """Raise StoreError for edges that no picture has."""
    if not all(-_MAX_PIXEL <= edge <= _MAX_PIXEL for edge in edges):  # false for NaN
        raise damaged(f"a box out of range in {what}")


def shares(what: str, *values: float) -> None:
    """Raise StoreError for a value outside [0, 1]."""
    if not all(0 <= value <= 1 for value in values):
        raise damaged(f"a share out of range in {what}")


def path(what: str, name: str, *, inside: bool = False) -> str:
    """Return a path that a file may have. Raises StoreError if it is not one.

    inside: it must be relative, without a way out of its folder.
    """
    parts = PurePath(name)
    if not name or "\0" in name or (inside and (parts.is_absolute() or ".." in parts.parts)):
        raise damaged(f"an invalid path in {what}")
    return name


def parsed(text: object, what: str) -> dict[str, Any]:
    """Return the JSON object in a text: names with plain values, and lists and objects of them, not deep.

    Raises:
        StoreError: the text is something else.
    """
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not _plain(found, _MAX_DEPTH):
        raise damaged(f"{what} cannot be read")
    return found


def _plain(value: object, depth: int) -> bool:
    if isinstance(value, dict | list):
        return depth > 0 and all(_plain(v, depth - 1) for v in (value.values() if isinstance(value, dict) else value))
    if isinstance(value, int | float):
        return abs(value) < 1 << 63 if isinstance(value, int) else math.isfinite(value)
    return value is None or isinstance(value, str)


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever breaks on the contents of a memory, and no check foresaw, into StoreError."""
    try:
        yield
    except UnicodeEncodeError:  # of an argument, not of what the memory holds
        raise
    except (TypeError, ValueError, OverflowError, LookupError, RecursionError, struct.error) as error:
        raise damaged(f"{type(error).__name__}: {str(error)[:80]}") from error
