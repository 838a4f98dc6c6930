"""Points in time as people name them: on a video's own clock, on the wall, or so long ago."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from .clock import NS, parse_time
from .errors import UsageError

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(min|m|h|d|w)(?: ago)?")
_SECONDS = {"min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_RANGE = (-(1 << 62), 1 << 62)
"""Nanoseconds since the epoch that differences of two of them still fit 64 bits for: the years 1823 to 2116."""

EPOCHAL_NS = 10**17
"""In 1973. A clock with earlier times counts from its own start, as simulations do, and not from the epoch."""

FORMS = "12.5s or 00:01:02.5 (video time), 2026-01-31T08:30 or 2026-01-31 (clock), 90min, 12h, 30d or 4w (ago)"


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time. ns: on the clock of each video, or since the epoch when `wall`. text: as it was given."""

    ns: int
    wall: bool
    text: str

    def media_ns(self, start_ns: int | None) -> int | None:
        """The same on the clock of a video that began at `start_ns`; None when that is not known and needed."""
        if not self.wall:
            return self.ns
        return None if start_ns is None else self.ns - start_ns


def parse_moment(text: str, now_ns: int | None = None) -> Moment:
    """A Moment from video time (as `clock.parse_time` takes it), a date, a date with a time, `now`, or an age such as
    `30d`. Dates without a zone are local.

    Raises UsageError for anything else, and for years that nothing was filmed in.
    """
    given = text.strip()
    now = time.time_ns() if now_ns is None else now_ns
    if given == "now":
        return Moment(now, True, text)
    if match := _AGO.fullmatch(given):
        seconds = float(match[1]) * _SECONDS[match[2]]
        return _wall(now - int(seconds * NS) if seconds < 1e12 else _RANGE[0] - 1, text)
    if re.match(r"\d{4}-\d", given):
        from datetime import datetime

        try:
            return _wall(int(datetime.fromisoformat(given).timestamp() * 1_000_000) * 1000, text)
        except (ValueError, OverflowError, OSError):
            raise UsageError(f"{text!r} is no date; write {FORMS}") from None
    try:
        media = parse_time(given)
    except UsageError:
        raise UsageError(f"{text!r} is no time; write {FORMS}") from None
    if media > _RANGE[1]:
        raise UsageError(f"{text!r} is longer than any video; write {FORMS}")
    return Moment(media, False, text)


def parse_span(text: str, now_ns: int | None = None) -> tuple[Moment, Moment]:
    """Two Moments from `A..B`. Raises UsageError when they are not two, of two kinds, or the first is the later one."""
    first, dots, last = text.partition("..")
    if not dots or not first.strip() or not last.strip():
        raise UsageError(f"--between is A..B, such as 1:00..2:30 or 2026-01-30..2026-01-31; got {text!r}")
    span = parse_moment(first, now_ns), parse_moment(last, now_ns)
    if span[0].wall != span[1].wall:
        raise UsageError(f"{text!r} mixes video time and clock; give both in one way")
    if span[0].ns > span[1].ns:
        raise UsageError(f"{text!r} ends before it begins; give the earlier time first")
    return span


def _wall(ns: int, text: str) -> Moment:
    if not _RANGE[0] <= ns <= _RANGE[1]:
        raise UsageError(f"{text!r} is too far away; there was no video then")
    return Moment(ns, True, text)


def told(recorded_ns: int | None, recorded_by: str = "", now_ns: int | None = None) -> str:
    """A time of recording for people, on this machine's clock: "today 18:02", "yesterday 18:02", "Fri 18:02" within a
    week, "31 Jan 18:02" within this year, "31 Jan 2025 18:02"; empty when it is not known.

    With "~" in front where it is a guess, from the time of the file; without the hour where only the day is known.
    """
    if recorded_ns is None or not EPOCHAL_NS <= recorded_ns <= _RANGE[1]:
        return ""
    then, now = time.localtime(recorded_ns // NS), time.localtime((time.time_ns() if now_ns is None else now_ns) // NS)
    ago = _days(now) - _days(then)
    if ago in (0, 1):
        day = ("today", "yesterday")[ago]
    elif 1 < ago < 7:
        day = time.strftime("%a", then)
    else:
        day = f"{then.tm_mday} {time.strftime('%b' if then.tm_year == now.tm_year else '%b %Y', then)}"
    hour = "" if recorded_by == "day" else time.strftime(" %H:%M", then)
    return f"{'~' if recorded_by == 'mtime' else ''}{day}{hour}"


def iso(ns: int | None) -> str | None:
    """ISO 8601 of a wall clock, with milliseconds and this machine's offset; None for None and what is no date."""
    if ns is None or not EPOCHAL_NS <= ns <= _RANGE[1]:
        return None
    from datetime import UTC, datetime

    whole = datetime.fromtimestamp(ns // NS, UTC).replace(microsecond=ns % NS // 1000)
    return whole.astimezone().isoformat(timespec="milliseconds")


def _days(moment: time.struct_time) -> int:
    """Days of the calendar since a day long ago."""
    from datetime import date

    return date(moment.tm_year, moment.tm_mon, moment.tm_mday).toordinal()
