"""Times as people write and read them: media time (`12.5s`, `00:01:02.5`), dates and ages."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from .errors import UsageError

NS = 1_000_000_000
"""Nanoseconds in a second."""
LONGEST_NS = 1 << 62
"""Maximum of a time in ns: the difference of two times still fits 64 bits."""
TIMES = "12, 12.5s, 00:01:02.5 or 90000000ns"
_MAX_LETTERS = 40
"""A longer text is not a time, and numbers with thousands of digits are slow to parse."""

_SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)s?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_NANOSECONDS = re.compile(r"(\d+)ns")


def parse_time(text: str, forms: str = TIMES) -> int:
    """Parse `12`, `12.5s` (seconds), `1:02.5`, `00:01:02.5` (a clock) or `90000000ns` into nanoseconds, exactly.

    forms: the accepted forms, for the error message.

    Raises:
        UsageError: the text has another form, or is more than LONGEST_NS.
    """
    ns = _nanoseconds(text.strip())
    if ns is None:
        raise UsageError(f"{quoted(text)} is not a time; write {forms}")
    if ns > LONGEST_NS:
        raise UsageError(f"{quoted(text)} is longer than any video; write {forms}")
    return ns


def quoted(text: str) -> str:
    """The text in quotes, shortened if it is long."""
    return repr(text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]}...")


def _nanoseconds(text: str) -> int | None:
    if len(text) > _MAX_LETTERS:
        return None
    if match := _NANOSECONDS.fullmatch(text):
        return int(match[1])
    from fractions import Fraction  # takes 10 ms to import

    if match := _SECONDS.fullmatch(text):
        return int(Fraction(match[1]) * NS)
    match = _CLOCK.fullmatch(text)
    if match and int(match[2]) < 60 and Fraction(match[3]) < 60:
        return int((int(match[1] or 0) * 3600 + int(match[2]) * 60 + Fraction(match[3])) * NS)
    return None


def age(ns: int) -> str:
    """A duration for people: 40 seconds, 3 minutes, 2 hours, 5 days, 7 weeks, 4 years."""
    seconds = ns // NS
    for size, name in ((365 * 86400, "year"), (7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * (2 if name == "week" else 1):
            return counted(seconds // size, name)
    return counted(seconds, "second")


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 thing, 2 things. plural: if it is not the noun with an s."""
    return f"{n} {noun if n == 1 else plural or f'{noun}s'}"


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
"""In 1973. A clock with earlier times counts from its own start, as simulations do, not from the epoch."""

FORMS = (
    "12.5s or 00:01:02.5 (video time), 2026-01-31T08:30, 2026-01-31 or yesterday 18:02 (clock), 90min, 12h, 30d or 4w "
    "(ago)"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time. ns: media time of each video, or since the epoch if `wall`. text: as it was given."""

    ns: int
    wall: bool
    text: str

    def media_ns(self, start_ns: int | None) -> int | None:
        """The moment as media time of a video that began at `start_ns`; None if that is needed and unknown."""
        if not self.wall:
            return self.ns
        return None if start_ns is None else self.ns - start_ns


def parse_moment(text: str, now_ns: int | None = None) -> Moment:
    """Parse media time (see `parse_time`), a date, a date with a time, `now`, or an age such as `30d`.

    A date may also be `today`, `yesterday`, a day of the week (the last one) or `31 Jan`, as in answers. Dates without
    a zone are local.

    Raises:
        UsageError: the text has another form, or is out of range (1823 to 2116).
    """
    given = text.strip()
    now = time.time_ns() if now_ns is None else now_ns
    if given == "now":
        return Moment(now, True, text)
    if match := _AGO.fullmatch(given):
        seconds = float(match[1]) * _AGES[match[2]]
        return _wall(now - int(seconds * NS) if seconds < 1e12 else _RANGE[0] - 1, text)
    if (day := _named_day(given, now)) is not None:
        return _wall(day, text)
    if re.match(r"\d{4}-\d", given):
        try:
            return _wall(int(datetime.fromisoformat(given).timestamp() * 1_000_000) * 1000, text)
        except (ValueError, OverflowError, OSError):
            raise UsageError(f"{quoted(text)} is not a date; write {FORMS}") from None
    return Moment(parse_time(text, FORMS), False, text)


def moment_of(when: date) -> Moment:
    """The Moment of a datetime, or of the start of a date; local without a zone. Raises UsageError."""
    whole = when if isinstance(when, datetime) else datetime(when.year, when.month, when.day)
    try:
        return _wall(to_ns(whole), when.isoformat())
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{when} is too far away; there was no video then") from None


def in_range(moment: Moment) -> bool:
    """Return True if `moment` is in the range that `parse_moment` accepts."""
    return (_RANGE[0] if moment.wall else 0) <= moment.ns <= _RANGE[1]


def is_day(text: str) -> bool:
    """Return True if a text for `parse_moment` is a date without a time."""
    given = text.strip()
    match = _DAY.fullmatch(given)
    return re.fullmatch(r"\d{4}-?\d\d-?\d\d", given) is not None or (match is not None and match[6] is None)


def _named_day(text: str, now_ns: int) -> int | None:
    """ns since the epoch of `yesterday`, `friday 18:02`, `31 Jan`, `31 Jan 2025 18:02`; None for another text.

    Without a year it is the last such day."""
    match = _DAY.fullmatch(text)
    if match is None:
        return None
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
    """Parse `A..B` into two Moments. Raises UsageError if they mix media time and dates, or A is later than B."""
    first, dots, last = text.partition("..")
    if not dots or not first.strip() or not last.strip():
        raise UsageError(f"`between` is A..B, such as 1:00..2:30 or 2026-01-30..2026-01-31; got {quoted(text)}")
    span = parse_moment(first, now_ns), parse_moment(last, now_ns)
    if span[0].wall != span[1].wall:
        raise UsageError(f"{text!r} mixes video time and clock; use one for both")
    if span[0].ns > span[1].ns:
        raise UsageError(f"{text!r} ends before it begins; give the earlier time first")
    return span


def _wall(ns: int, text: str) -> Moment:
    if not _RANGE[0] <= ns <= _RANGE[1]:
        raise UsageError(f"{quoted(text)} is too far away; there was no video then")
    return Moment(ns, True, text)


def relative_date(recorded_ns: int | None, recorded_by: str = "", now_ns: int | None = None) -> str:
    """A recording time for people, in local time: "today 18:02", "yesterday 18:02", "Fri 18:02" within a week,
    "31 Jan 18:02" within this year, "31 Jan 2025 18:02"; empty if it is unknown.

    A guess, from the time of the file, starts with "~". If only the day is known, there is no hour.
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


def is_wall_clock(start_ns: int, by: str) -> bool:
    """Return False for the time of a simulated clock, which logs and live sources may have."""
    return start_ns >= EPOCHAL_NS or by not in ("log", "live")


def recording_date(start_ns: int | None, by: str) -> str:
    """When a source was recorded and how that is known, for a table: "2026-01-31 08:30 (container)"; "-" if unknown."""
    if start_ns is None or not _RANGE[0] <= start_ns <= _RANGE[1] or not is_wall_clock(start_ns, by):
        return "-"
    form = "%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(start_ns // NS)) + (f" ({by})" if by else "")


def iso(ns: int | None) -> str | None:
    """ISO 8601 of a wall clock, with milliseconds and the local offset; None if it is None or out of range."""
    if ns is None or not _RANGE[0] <= ns <= _RANGE[1]:
        return None
    whole = datetime.fromtimestamp(ns // NS, UTC).replace(microsecond=ns % NS // 1000)
    return whole.astimezone().isoformat(timespec="milliseconds")


def _days(moment: time.struct_time) -> int:
    """The day as a number: two of them can be subtracted."""
    return date(moment.tm_year, moment.tm_mon, moment.tm_mday).toordinal()


def to_ns(moment: datetime) -> int:
    """ns since the epoch, to the microsecond; local without a zone. Raises what `datetime.timestamp` does."""
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * NS + moment.microsecond * 1000
