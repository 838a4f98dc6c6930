"""When a photo was taken, as its camera noted it (EXIF 2.32)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import IO

from ..picture_reading import opened
from ..timecode import to_ns
from .recorded import Recorded, plausible

_IFD = 0x8769
_TIMES = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292))
"""Tags of the time, its offset and the fraction of a second: of taking the photo, then of digitising it."""


def from_exif(file: str | IO[bytes]) -> Recorded | None:
    """The time at which a photo was taken, local if it has no zone; None if it has none, or an implausible one."""
    try:
        with opened(file) as held:
            tags = held.exif().get_ifd(_IFD)
    except Exception:  # EXIF may hold anything, and the picture counts more than its date
        return None
    for time_tag, offset_tag, part_tag in _TIMES:
        ns = _ns(tags.get(time_tag), tags.get(offset_tag), tags.get(part_tag))
        if ns is not None and plausible(ns):
            return Recorded(ns, "exif")
    return None


def _ns(time: object, offset: object, part: object) -> int | None:
    """ns since the epoch from "2026:01:31 08:30:12", "+01:00" and "25" (a quarter of a second)."""
    try:
        moment = datetime.strptime(_text(time), "%Y:%m:%d %H:%M:%S")
        ns = to_ns(moment.replace(tzinfo=_zone(_text(offset))))
    except (ValueError, OverflowError, OSError):
        return None
    digits = _text(part)
    return ns + (int(digits[:9].ljust(9, "0")) if digits.isascii() and digits.isdigit() else 0)


def _zone(text: str) -> timezone | None:
    try:
        delta = datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        return None
    return None if delta is None else timezone(delta if abs(delta) < timedelta(days=1) else timedelta())


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ") if isinstance(value, str) else ""
