"""Fields of messages that hold something else than they should: JSON and YAML hold anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.media.logs.base import content_of, seconds_nanoseconds, stamp_ns, whole_number
from vidmem.timecode import LONGEST_NS

ODD: list[Any] = [None, "", "x", [], {}, SimpleNamespace(), float("nan"), float("inf"), 10**400, 1 << 63, "9" * 5000]


def test_whole_numbers() -> None:
    assert [whole_number(v) for v in (0, -5, 7.9, "12", True, LONGEST_NS)] == [0, -5, 7, 12, 1, LONGEST_NS]
    assert [whole_number(v) for v in ODD] == [None] * len(ODD)


@pytest.mark.parametrize("odd", ODD)
def test_a_stamp_with_an_odd_part_is_none(odd: Any) -> None:
    assert seconds_nanoseconds(SimpleNamespace(sec=1, nanosec=2)) == 1_000_000_002
    assert seconds_nanoseconds(SimpleNamespace(sec=odd, nanosec=2)) is None
    assert seconds_nanoseconds(SimpleNamespace(sec=1, nsec=odd)) is None
    assert seconds_nanoseconds(SimpleNamespace(sec=1 << 40, nsec=0)) is None  # longer than any log


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2026-01-01T25:00:00Z", "now", ""])
def test_a_date_that_is_none_is_no_stamp(text: str) -> None:
    assert stamp_ns(SimpleNamespace(timestamp="2026-01-31T08:30:12.5Z")) == 1_769_848_212_500_000_000
    assert stamp_ns(SimpleNamespace(timestamp=text)) is None


def test_the_bytes_of_a_message() -> None:
    for data in (b"ab", bytearray(b"ab"), memoryview(b"ab"), [97, 98], np.frombuffer(b"ab", np.uint8)):
        assert content_of(SimpleNamespace(data=data)) == b"ab"
    for odd in (1 << 32, 2.0, "ab", None, True):
        with pytest.raises(TypeError, match="not bytes"):
            content_of(SimpleNamespace(data=odd))


@given(st.integers() | st.floats() | st.text(max_size=30) | st.none() | st.lists(st.integers(), max_size=2))
def test_any_value_is_a_number_or_none(value: Any) -> None:
    found = whole_number(value)
    assert found is None or abs(found) <= LONGEST_NS
