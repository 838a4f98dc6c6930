"""What one thing from a file may cost: the memory budget of a frame, a picture or a blob, and the sizes of pictures.

A small file can claim any size. So needs are counted from headers and checked here before memory is taken.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from .errors import MediaError, UsageError

VARIABLE = "VIDMEM_BUDGET_MB"
"""Environment variable with the budget in MB (2^20 bytes)."""
DEFAULT_MB = 512
_LARGEST_MB = 1 << 20

MAX_SIDE = 16_384
"""Maximum side of a picture in pixels. Larger ones are mistakes or bombs: 8K video is 7,680 wide."""

MAX_PIXELS = 100_000_000
"""Maximum number of pixels in a picture: 300 MB as RGB."""

MAX_NS = 1 << 62
"""Limit of any time, so that differences of two fit 64 bits; for a wall clock the years 1823 to 2116."""


def budget() -> int:
    """Bytes that one frame, picture, chunk or blob may take. Raises UsageError for a malformed VIDMEM_BUDGET_MB."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT_MB << 20
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= _LARGEST_MB):
        raise UsageError(f"the environment variable {VARIABLE} is a number of MB from 1 to {_LARGEST_MB}; got {text!r}")
    return int(text) << 20


def over_budget(needed: int, what: str) -> str | None:
    """Return why `what` may not take `needed` bytes, with the remedy; None if it may."""
    allowed = budget()
    if needed <= allowed:
        return None
    return (
        f"{what} would take {-(-needed >> 20):,} MB of memory, and the limit is {allowed >> 20:,} MB; "
        f"set {VARIABLE} to allow more"
    )


def check_bytes(needed: int, what: str, path: object) -> None:
    """Raise MediaError if `what` would take more bytes than the budget. path: the file, for the error."""
    if (cause := over_budget(needed, what)) is not None:
        raise MediaError(f"{cause}: {path}")


def check_size(width: int, height: int, path: str) -> None:
    """Check the limits of a picture's size before memory is spent on it.

    Raises:
        MediaError: a side is longer than MAX_SIDE, or there are more than MAX_PIXELS pixels.
    """
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise MediaError(
            f"a picture of {width}x{height} exceeds the limit of {MAX_SIDE} pixels a side and "
            f"{MAX_PIXELS // 1_000_000} million in all; scale it down first: {path}"
        )


FRAMES = 4
"""Decoded frames that a video decoder is taken to hold at once: threads, references, and the one that is shown."""
LEAST_BITS = 12
"""Bits of a pixel of the usual 4:2:0 of 8 bits."""


def max_video_pixels() -> int:
    """The number of pixels above which FFmpeg refuses a frame of any format, before it takes memory for it."""
    return min(MAX_PIXELS, 8 * budget() // (FRAMES * LEAST_BITS))


def check_frame(width: int, height: int, bits: int, path: str) -> None:
    """Check a frame of a video against the limits. bits: of a pixel in its format.

    Raises:
        MediaError: it is too large, or FRAMES of them would take more than the memory budget.
    """
    check_size(width, height, path)
    check_bytes(FRAMES * width * height * bits // 8, f"a video of {width}x{height} with {bits} bits a pixel", path)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading. Raises OSError if it cannot be opened, or is a folder, a pipe, a socket or a device.

    Opening a pipe for reading usually waits until someone writes to it; this never waits.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    try:
        if kind := odd_kind(os.fstat(file.fileno()).st_mode):
            raise OSError(None, f"it is {kind}, not a file", os.fspath(path))
    except BaseException:
        file.close()
        raise
    return file


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise MediaError if there is something at `path` that is not a file: libraries that open it would wait.

    A path that does not exist is left to them.
    """
    try:
        kind = odd_kind(os.stat(path).st_mode)
    except (OSError, ValueError):
        return
    if kind is not None:
        raise MediaError(f"it is {kind}, not a file; give a file: {os.fspath(path)}")


def odd_kind(mode: int) -> str | None:
    """Return what kind of thing has this mode of `os.stat`, such as "a pipe"; None for a file."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
