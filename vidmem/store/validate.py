"""What is believed of a memory: the types and ranges of what is read from it, checked where rows become records. SQLite
keeps whatever it is given in any column, and a memory may come from a stranger."""

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

FARTHEST_NS = 1 << 62
"""Of any time, so that differences of two of them fit 64 bits; of a wall clock the years 1823 to 2116."""
MOST = 1 << 40
"""Of anything that is counted, so that sums fit 64 bits."""
MOST_ORDINALS = 1 << 32
MOST_DIM = 1 << 16
MAX_SIDE, MAX_PIXELS = 16_384, 100_000_000
"""Of a picture, as in media/base.py: whoever makes room for one relies on it."""
_FARTHEST_PIXEL = 1 << 20
_DEEPEST = 4


def damaged(what: str) -> StoreError:
    """The error for a memory with something in it that vidmem does not write."""
    return StoreError(f"the memory is damaged ({what}); restore it from a backup")


def typed(row: Sequence[Any], kinds: Sequence[type | UnionType], what: str) -> Sequence[Any]:
    """The row, of whose values each is of its kind. Raises StoreError."""
    if not all(map(isinstance, row, kinds)):
        raise damaged(f"a value of another type in {what}")
    return row


def ensure(sound: bool, what: str) -> None:
    """Raises StoreError unless it is sound."""
    if not sound:
        raise damaged(what)


def times(what: str, *values: int | None) -> None:
    """Raises StoreError for a time that is too far off."""
    if any(ns is not None and not -FARTHEST_NS < ns < FARTHEST_NS for ns in values):
        raise damaged(f"a time out of range in {what}")


def counts(what: str, *values: int) -> None:
    """Raises StoreError for a number of things that is none."""
    if any(not 0 <= n <= MOST for n in values):
        raise damaged(f"a number out of range in {what}")


def size(what: str, width: int, height: int) -> None:
    """Raises StoreError for pixels that no picture has; 0 where they are not known."""
    if not (0 <= width <= MAX_SIDE and 0 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise damaged(f"a picture of {width}x{height} pixels in {what}")


def box(what: str, *edges: float) -> None:
    """Raises StoreError for edges that no picture has."""
    if not all(-_FARTHEST_PIXEL <= edge <= _FARTHEST_PIXEL for edge in edges):  # false for NaN
        raise damaged(f"a box out of range in {what}")


def shares(what: str, *values: float) -> None:
    """Raises StoreError for what does not lie in [0, 1]."""
    if not all(0 <= value <= 1 for value in values):
        raise damaged(f"a share out of range in {what}")


def path(what: str, name: str, *, inside: bool = False) -> str:
    """A path that a file may have. inside: from a folder on, without a way out of it. Raises StoreError."""
    way = PurePath(name)
    if not name or "\0" in name or (inside and (way.is_absolute() or ".." in way.parts)):
        raise damaged(f"a path that is none in {what}")
    return name


def parsed(text: object, what: str) -> dict[str, Any]:
    """The JSON object in a text: names with plain values, lists and objects of those, not deep. Raises StoreError."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not _plain(found, _DEEPEST):
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
    """For what no check foresaw: whatever breaks on the contents of a memory is said to be its damage."""
    try:
        yield
    except UnicodeEncodeError:  # of what was asked, not of what is there
        raise
    except (TypeError, ValueError, OverflowError, LookupError, RecursionError, struct.error) as error:
        raise damaged(f"{type(error).__name__}: {str(error)[:80]}") from error
