"""When a source was recorded, and how that is known: from the container, the file's name, or the time at which the file
was written."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ..timecode import NS, to_ns

METHODS = ("container", "name", "mtime")
"""How a file can be dated, best first. For a photo, EXIF counts as the container."""

_DAY_NS = 86400 * NS
_EARLIEST_NS = 631_152_000 * NS  # 1990: clocks that were never set give 1904, 1970 or 1980
_APPLE = "com.apple.quicktime.creationdate"  # local time with its zone; creation_time is the time of an export
_COMPACT = re.compile(
    r"(?<![0-9+])((?:19|20)[0-9]{2})_?([0-9]{2})([0-9]{2})[-_T ]?([0-9]{2})([0-9]{2})([0-9]{2})"
    r"(?:[._]?([0-9]{3}))?(?![0-9])(Z(?![A-Za-z]))?"
)
_SEPARATED = re.compile(
    r"(?<![0-9+])((?:19|20)[0-9]{2})([-_.])([0-9]{2})\2([0-9]{2})"
    r"(?:[-T_.]|,?[\s_]+(?:[^\W\d_]{1,3}[\s_]+){0,2})"  # " at ", " um ", " a las "
    r"([0-9]{1,2})([-_.:]?)([0-9]{2})\6([0-9]{2})(?:[-_.,]?([0-9]{3}))?(?![0-9])"
    r"(?:\s?([AaPp])\.?[Mm](?![A-Za-z]))?(Z(?![A-Za-z]))?"
)
_DAY = re.compile(r"(?<![0-9+])((?:19|20)[0-9]{2})([-_.])([0-9]{2})\2([0-9]{2})(?![0-9])")
_WHATSAPP = re.compile(r"(?:VID|IMG|AUD|STK|DOC)-([0-9]{4})([0-9]{2})([0-9]{2})-WA[0-9]+")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording time.

    ns: wall clock at the start, in ns since the epoch; None if unknown. by: how it is known; see
    `SourceInfo.recorded_by`.
    """

    ns: int | None
    by: str


UNKNOWN = Recorded(None, "")


def plausible(ns: int) -> bool:
    """Return True if a clock that was set may show this time: 1990 or later, and not later than tomorrow."""
    return _EARLIEST_NS <= ns <= time.time_ns() + _DAY_NS


def recorded_at(path: str, duration_ns: int = 0, embedded: Recorded | None = None) -> Recorded:
    """The best recording time of a file. duration_ns: of the recording. embedded: from its container or EXIF."""
    return embedded or from_name(path) or from_mtime(path, duration_ns) or UNKNOWN


def from_tags(container: Mapping[str, str], stream: Mapping[str, str]) -> Recorded | None:
    """The recording time in the tags of a container and its video stream; None if there is no plausible one."""
    for tags, name in ((container, _APPLE), (container, "creation_time"), (stream, "creation_time")):
        text = tags.get(name)
        if text is None:
            continue
        try:
            moment = datetime.fromisoformat(text.strip())
            if moment.tzinfo is None and name != _APPLE:
                moment = moment.replace(tzinfo=UTC)
            ns = to_ns(moment)
        except (ValueError, OverflowError, OSError):
            continue
        if plausible(ns):
            return Recorded(ns, "container")
    return None


def from_name(path: str) -> Recorded | None:
    """The recording time in a file's name; None if it has none.

    Usual forms are VID_20260131_083012.mp4, "2026-01-31 08.30.12.mov" and VID-20260131-WA0001.mp4 (the day alone). They
    are in local time, except PXL_... and those that end with Z.
    """
    name = os.path.basename(path)
    utc = name.startswith("PXL_")
    if match := _COMPACT.search(name):
        *numbers, ms, zulu = match.groups()
        if found := _moment(numbers, ms, utc or zulu is not None):
            return found
    if match := _SEPARATED.search(name):
        year, _, month, day, hour, mark, minute, second, ms, half, zulu = match.groups()
        if half and 1 <= int(hour) <= 12:
            hour = f"{int(hour) % 12 + 12 * (half in 'Pp'):02d}"
        if (len(hour) == 2 or mark) and (
            found := _moment([year, month, day, hour, minute, second], ms, utc or zulu is not None)
        ):
            return found
    if match := _WHATSAPP.match(name):
        return _day(*match.groups())
    if match := _DAY.search(name):
        return _day(match[1], match[3], match[4])
    return None


def from_mtime(path: str, duration_ns: int = 0) -> Recorded | None:
    """The time at which the file was last written, minus the duration; None if the file does not exist."""
    try:
        ns = os.stat(path).st_mtime_ns - duration_ns
    except OSError:
        return None
    return Recorded(ns, "mtime") if plausible(ns) else None


def _moment(numbers: list[str], ms: str | None, utc: bool) -> Recorded | None:
    try:
        year, month, day, hour, minute, second = map(int, numbers)
        ns = to_ns(datetime(year, month, day, hour, minute, second, tzinfo=UTC if utc else None))
    except (ValueError, OverflowError, OSError):
        return None
    return Recorded(ns + int(ms or 0) * 1_000_000, "name") if plausible(ns) else None


def _day(*numbers: str) -> Recorded | None:
    found = _moment([*numbers, "0", "0", "0"], None, False)
    return None if found is None else Recorded(found.ns, "day")
