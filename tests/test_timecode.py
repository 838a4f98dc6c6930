"""Points in time, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.timecode import NS, Moment, age, is_day, iso, parse_moment, parse_span, relative_date

NOW = 1_800_000_000 * NS


@pytest.mark.parametrize(
    ("text", "ns"),
    [("12", 12 * NS), ("12.5s", 12_500_000_000), ("00:01:02.5", 62_500_000_000), ("90000000ns", 90_000_000)],
)
def test_video_time(text: str, ns: int) -> None:
    moment = parse_moment(text, NOW)
    assert (moment.ns, moment.wall) == (ns, False)
    assert moment.media_ns(None) == moment.media_ns(5) == ns


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 30 * 86400),
        ("12h", 43200),
        ("90min", 5400),
        ("90m", 5400),
        ("2w", 14 * 86400),
        ("1.5h ago", 5400),
        ("now", 0),
    ],
)
def test_ages(text: str, seconds: int) -> None:
    assert parse_moment(text, NOW) == Moment(NOW - seconds * NS, True, text)


def test_dates() -> None:
    noon = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * NS
    assert parse_moment("2026-01-31T12:00Z").ns == noon
    assert parse_moment("2026-01-31 14:00:00.25+02:00").ns == noon + NS // 4
    local = int(datetime(2026, 1, 31).timestamp()) * NS  # local midnight, whatever zone the test runs in
    assert parse_moment("2026-01-31").ns == local
    assert parse_moment("2026-01-31").media_ns(local - 7) == 7
    assert parse_moment("2026-01-31").media_ns(None) is None


def test_days() -> None:
    noon = datetime(2026, 1, 31, 12, 30, 5)  # local, whatever zone the test runs in
    now = int(noon.timestamp()) * NS + 7
    assert parse_moment("today", now) == Moment(parse_moment("2026-01-31").ns, True, "today")
    assert parse_moment("yesterday", now) == Moment(parse_moment("2026-01-30").ns, True, "yesterday")


def test_spans() -> None:
    first, last = parse_span("1:00..2:30")
    assert (first.ns, last.ns) == (60 * NS, 150 * NS)
    assert parse_span("2d..1d", NOW)[0].wall


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday-ish",
        "-5",
        "30 y",
        "99999999999999999999d",
        "2026-13-01",
        "2026-01-31T99:00",
        "9999-01-01",
        "0001-01-01",
        "9" * 30,
        "nan",
        "1e5d",
    ],
)
def test_what_is_no_time_fails(text: str) -> None:
    with pytest.raises(UsageError, match=r"write |too far away"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:00", "is A..B"),
        ("..5", "is A..B"),
        ("5..", "is A..B"),
        ("5..3", "ends before it begins"),
        ("5..2d", "mixes video time and clock"),
        ("1d..2d", "ends before it begins"),
    ],
)
def test_what_is_no_span_fails(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_span(text, NOW)


def _local(*parts: int) -> int:
    return int(datetime(*parts).timestamp()) * NS  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ((2026, 1, 31, 8, 30), "today 08:30"),
        ((2026, 1, 31, 23, 59), "today 23:59"),
        ((2026, 1, 30, 23, 59), "yesterday 23:59"),
        ((2026, 1, 29, 0, 0), "Thu 00:00"),
        ((2026, 1, 25, 9, 5), "Sun 09:05"),
        ((2026, 1, 24, 9, 5), "24 Jan 09:05"),
        ((2025, 12, 31, 9, 5), "31 Dec 2025 09:05"),
        ((2026, 2, 1, 9, 5), "1 Feb 09:05"),
    ],
)
def test_when_it_was_recorded_is_told_as_people_say_it(then: tuple[int, ...], said: str) -> None:
    now = _local(2026, 1, 31, 10, 0)
    assert relative_date(_local(*then), "container", now) == said
    assert relative_date(_local(*then), "mtime", now) == f"~{said}"
    assert relative_date(_local(*then), "day", now) == said[:-6]
    assert relative_date(_local(*then), "\x1b[31mgarbage", now) == said


@pytest.mark.parametrize("ns", [None, 1 << 63, -(1 << 63), 1 << 80])
def test_what_is_no_date_is_not_told_as_one(ns: int | None) -> None:
    assert relative_date(ns, "container") == ""
    assert iso(ns) is None


def test_iso_has_milliseconds_and_an_offset() -> None:
    ns = 1_800_000_000_123_456_789
    said = iso(ns)
    assert said is not None
    then = datetime.fromisoformat(said)
    assert then.utcoffset() is not None
    assert then == datetime.fromtimestamp(1_800_000_000.123, UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (400 * 86400, "1 year"),
    ],
)
def test_ages_for_people(seconds: float, told: str) -> None:
    assert age(int(seconds * NS)) == told


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("today", (2026, 1, 31)),
        ("yesterday", (2026, 1, 30)),
        ("Yesterday 18:02", (2026, 1, 30, 18, 2)),
        ("today 08:30:12", (2026, 1, 31, 8, 30, 12)),
        ("friday", (2026, 1, 30)),
        ("Fri 18:02", (2026, 1, 30, 18, 2)),
        ("saturday", (2026, 1, 31)),
        ("sun", (2026, 1, 25)),
        ("31 Jan", (2026, 1, 31)),
        ("1 Feb", (2025, 2, 1)),
        ("31 December 9:05", (2025, 12, 31, 9, 5)),
        ("31 Jan 2025 18:02", (2025, 1, 31, 18, 2)),
    ],
)
def test_days_as_people_say_them(text: str, then: tuple[int, ...]) -> None:
    moment = parse_moment(text, _local(2026, 1, 31, 10, 0))
    assert (moment.ns, moment.wall) == (_local(*then), True)
    assert is_day(text) == (len(then) == 3)


@pytest.mark.parametrize(
    "text",
    ["fryday", "tomorrow", "yesterday 25:00", "30 Feb", "0 Jan", "31 Foo", "fri 18", "1 Jan 0000", "yesterday18:02"],
)
def test_days_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"yesterday 18:02 \(clock\)"):
        parse_moment(text, NOW)


@given(st.datetimes(datetime(1980, 1, 1), datetime(2026, 1, 31)), st.booleans())
def test_what_is_told_is_understood(then: datetime, later: bool) -> None:
    now = _local(2026, 1, 31, 23, 59) if later else int(then.timestamp()) * NS
    ns = int(then.replace(second=0, microsecond=0).timestamp()) * NS
    understood = parse_moment(relative_date(ns, "container", now), now).ns
    assert datetime.fromtimestamp(understood // NS) == datetime.fromtimestamp(ns // NS)
