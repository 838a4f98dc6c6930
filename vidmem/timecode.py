"""Times as people write and read them: media time (`12.5s`, `00:01:02.5`), dates on the wall, ages."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from datetime import date, datetime

NS = 1_000_000_000
"""Nanoseconds in a second."""
LONGEST_NS = 1 << 62
"""Of times. Differences of two of them still fit 64 bits, as the memory keeps them."""
TIMES = "12, 12.5s, 00:01:02.5 or 90000000ns"
_MOST_LETTERS = 40
"""Of a time: more digits than that are none, and numbers of thousands are slow to read."""

_SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)s?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_NANOSECONDS = re.compile(r"(\d+)ns")


def parse_time(text: str, forms: str = TIMES) -> int:
    """Nanoseconds from `12`, `12.5s` (seconds), `1:02.5`, `00:01:02.5` (a clock) or `90000000ns`; exact. forms: what to
    write instead, for the message.

    Raises UsageError for anything else, and for more than LONGEST_NS.
    """
    ns = _nanoseconds(text.strip())
    if ns is None:
        raise UsageError(f"{quoted(text)} is no time; write {forms}")
    if ns > LONGEST_NS:
        raise UsageError(f"{quoted(text)} is longer than any video; write {forms}")
    return ns


def quoted(text: str) -> str:
    """The text in quotes, its beginning where it is long."""
    return repr(text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}...")


def _nanoseconds(text: str) -> int | None:
    if len(text) > _MOST_LETTERS:
        return None
    if match := _NANOSECONDS.fullmatch(text):
        return int(match[1])
    from fractions import Fraction  # 10 ms, for a crop alone

    if match := _SECONDS.fullmatch(text):
        return int(Fraction(match[1]) * NS)
    match = _CLOCK.fullmatch(text)
    if match and int(match[2]) < 60 and Fraction(match[3]) < 60:
        return int((int(match[1] or 0) * 3600 + int(match[2]) * 60 + Fraction(match[3])) * NS)
    return None


def age(ns: int) -> str:
    """How long that is, for people: 40 seconds, 3 minutes, 2 hours, 5 days, 7 weeks, 4 years."""
    seconds = ns // NS
    for size, name in ((365 * 86400, "year"), (7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * (2 if name == "week" else 1):
            return _counted(seconds // size, name)
    return _counted(seconds, "second")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def clock(t_ns: int) -> str:
    """Media time for people: 0:05.2, 12:05.2, 1:02:05.2."""
    tenths = round(t_ns / (NS / 10))
    seconds, tenth = divmod(tenths, 10)
    hours, rest = divmod(seconds, 3600)
    minutes, second = divmod(rest, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{second:02d}.{tenth}"


_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(min|m|h|d|w)(?: ago)?")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = re.compile(
    r"(?:(today|yesterday)|([a-z]{3,9})|([0-9]{1,2}) ([a-z]{3})[a-z]*(?: ([0-9]{4}))?)"
    r"(?:[ ,]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?",
    re.IGNORECASE,
)
_AGES = {"min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_RANGE = (-LONGEST_NS, LONGEST_NS)
"""Nanoseconds since the epoch: the years 1823 to 2116."""

EPOCHAL_NS = 10**17
"""In 1973. A clock with earlier times counts from its own start, as simulations do, and not from the epoch."""

FORMS = (
    "12.5s or 00:01:02.5 (video time), 2026-01-31T08:30, 2026-01-31 or yesterday 18:02 (clock), 90min, 12h, 30d or 4w "
    "(ago)"
)


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
    """A Moment from video time (as `parse_time` takes it), a date, a date with a time, `now`, or an age such as
    `30d`. A date may be `today`, `yesterday`, a day of the week (the last one) or `31 Jan`, as answers tell it, too.
    Dates without a zone are local.

    Raises UsageError for anything else, and for years that nothing was filmed in.
    """
    given = text.strip()
    now = time.time_ns() if now_ns is None else now_ns
    if given == "now":
        return Moment(now, True, text)
    if match := _AGO.fullmatch(given):
        seconds = float(match[1]) * _AGES[match[2]]
        return _wall(now - int(seconds * NS) if seconds < 1e12 else _RANGE[0] - 1, text)
    if (day := _said(given, now)) is not None:
        return _wall(day, text)
    if re.match(r"\d{4}-\d", given):
        from datetime import datetime

        try:
            return _wall(int(datetime.fromisoformat(given).timestamp() * 1_000_000) * 1000, text)
        except (ValueError, OverflowError, OSError):
            raise UsageError(f"{quoted(text)} is no date; write {FORMS}") from None
    return Moment(parse_time(text, FORMS), False, text)


def moment_of(when: date) -> Moment:
    """The Moment of a date, at its beginning here, or of a datetime; without a zone it is local. Raises UsageError."""
    from datetime import datetime

    whole = when if isinstance(when, datetime) else datetime(when.year, when.month, when.day)
    try:
        return _wall(to_ns(whole), when.isoformat())
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{when} is too far away; there was no video then") from None


def inside(moment: Moment) -> bool:
    """Whether it is a time that `parse_moment` may give."""
    return (_RANGE[0] if moment.wall else 0) <= moment.ns <= _RANGE[1]


def day_alone(text: str) -> bool:
    """Whether what `parse_moment` takes names a day and no time of it."""
    given = text.strip()
    match = _DAY.fullmatch(given)
    return re.fullmatch(r"\d{4}-?\d\d-?\d\d", given) is not None or (match is not None and match[6] is None)


def _said(text: str, now_ns: int) -> int | None:
    """ns since the epoch of `yesterday`, `friday 18:02`, `31 Jan`, `31 Jan 2025 18:02`; None for what is no such day.
    Without a year it is the last such day."""
    match = _DAY.fullmatch(text)
    if match is None:
        return None
    from datetime import date, datetime, timedelta

    today = date.fromtimestamp(now_ns // NS)
    word, week, number, month, year = (part and part.lower() for part in match.groups()[:5])
    try:
        if word:
            day = today - timedelta(days=word == "yesterday")
        elif week:
            (which,) = (i for i, name in enumerate(_DAYS) if week in (name, name[:3]))
            day = today - timedelta(days=(today.weekday() - which) % 7)
        else:
            day = date(int(year or today.year), _MONTHS.index(month) + 1, int(number))
            if not year and day > today:
                day = day.replace(year=today.year - 1)
        hour, minute, second = (int(part or 0) for part in match.groups()[5:])
        return int(datetime(day.year, day.month, day.day, hour, minute, second).timestamp()) * NS
    except (ValueError, OverflowError, OSError):
        return None


def parse_span(text: str, now_ns: int | None = None) -> tuple[Moment, Moment]:
    """Two Moments from `A..B`. Raises UsageError when they are not two, of two kinds, or the first is the later one."""
    first, dots, last = text.partition("..")
    if not dots or not first.strip() or not last.strip():
        raise UsageError(f"`between` is A..B, such as 1:00..2:30 or 2026-01-30..2026-01-31; got {quoted(text)}")
    span = parse_moment(first, now_ns), parse_moment(last, now_ns)
    if span[0].wall != span[1].wall:
        raise UsageError(f"{text!r} mixes video time and clock; give both in one way")
    if span[0].ns > span[1].ns:
        raise UsageError(f"{text!r} ends before it begins; give the earlier time first")
    return span


def _wall(ns: int, text: str) -> Moment:
    if not _RANGE[0] <= ns <= _RANGE[1]:
        raise UsageError(f"{quoted(text)} is too far away; there was no video then")
    return Moment(ns, True, text)


def told(recorded_ns: int | None, recorded_by: str = "", now_ns: int | None = None) -> str:
    """A time of recording for people, on this machine's clock: "today 18:02", "yesterday 18:02", "Fri 18:02" within a
    week, "31 Jan 18:02" within this year, "31 Jan 2025 18:02"; empty when it is not known.

    With "~" in front where it is a guess, from the time of the file; without the hour where only the day is known.
    """
    if recorded_ns is None or not _RANGE[0] <= recorded_ns <= _RANGE[1]:
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


def epochal(start_ns: int, by: str) -> bool:
    """Whether a recording time is one of the world's clock; logs and live sources may have one of a simulation."""
    return start_ns >= EPOCHAL_NS or by not in ("log", "live")


def dated(start_ns: int | None, by: str) -> str:
    """When a source was recorded and how that is known, for a table: "2026-01-31 08:30 (container)"; "-" when it is
    not known."""
    if start_ns is None or not _RANGE[0] <= start_ns <= _RANGE[1] or not epochal(start_ns, by):
        return "-"
    form = "%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(start_ns // NS)) + (f" ({by})" if by else "")


def iso(ns: int | None) -> str | None:
    """ISO 8601 of a wall clock, with milliseconds and this machine's offset; None for None and what is no date."""
    if ns is None or not _RANGE[0] <= ns <= _RANGE[1]:
        return None
    from datetime import UTC, datetime

    whole = datetime.fromtimestamp(ns // NS, UTC).replace(microsecond=ns % NS // 1000)
    return whole.astimezone().isoformat(timespec="milliseconds")


def _days(moment: time.struct_time) -> int:
    """Days of the calendar since a day long ago."""
    from datetime import date

    return date(moment.tm_year, moment.tm_mon, moment.tm_mday).toordinal()


def to_ns(moment: datetime) -> int:
    """ns since the epoch, to the microsecond; without a zone it is local. Raises as `datetime.timestamp`."""
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * NS + moment.microsecond * 1000
