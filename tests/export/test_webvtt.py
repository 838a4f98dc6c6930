"""Sightings as WebVTT, read back by a small parser of the format."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webvtt import parse

from vidmem.export.webvtt import chapters, stamp
from vidmem.records import Sighting
from vidmem.timecode import NS

SEEN = Sighting("/v/a.mp4", 10 * NS, 20 * NS, 0.5, 0.5, None, 15 * NS, (0, 0, 1, 1), probability=0.8)


def test_a_cue_for_each_in_order_of_time() -> None:
    later = replace(SEEN, start_ns=100 * NS, end_ns=3_700 * NS + NS // 2, probability=None)
    assert parse(chapters([later, SEEN], "red cup")) == [
        (10, 20, "red cup, probability 0.80"),
        (100, 3700.5, "red cup, score 0.50, not calibrated"),
    ]


def test_what_was_seen_once_is_shown_for_a_second() -> None:
    assert parse(chapters([replace(SEEN, end_ns=SEEN.start_ns)], "cup"))[0][:2] == (10, 11)


@given(st.text(max_size=300), st.integers(0, 10**15), st.integers(0, 10**12))
def test_any_title_and_time_is_a_valid_file(title: str, start: int, length: int) -> None:
    ((low, high, _),) = parse(chapters([replace(SEEN, start_ns=start, end_ns=start + length)], title))
    assert low < high


@pytest.mark.parametrize(
    ("t_ns", "text"),
    [(0, "00:00:00.000"), (3_725_250_000_000, "01:02:05.250"), (360_000 * NS, "100:00:00.000"), (-5, "00:00:00.000")],
)
def test_stamp(t_ns: int, text: str) -> None:
    assert stamp(t_ns) == text
