"""Grouping tracks into sightings, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.query.instances import GAP_NS, group
from vidmem.store import Columns
from vidmem.timecode import NS

Span = tuple[int, int, int]
"""Source, start, end."""


def columns_of(spans: list[Span]) -> Columns:
    source, start, end = (np.array([s[i] for s in spans], np.int64) for i in range(3))
    numbers = np.arange(len(spans), dtype=np.int64)
    return Columns(numbers, source, numbers, start, end, np.ones(len(spans), np.int64))


def grouped(spans: list[Span], rank: dict[int, int], gap: int, rows: list[int] | None = None) -> list[set[int]]:
    """Row numbers of each sighting."""
    picked = np.arange(len(spans)) if rows is None else np.array(rows, np.int64)
    order = np.array([rank[spans[i][0]] for i in picked], np.int64)
    return [{int(picked[i]) for i in members} for members in group(columns_of(spans).take(picked), order, gap)]


def plain(spans: list[Span], rank: dict[int, int], gap: int) -> list[set[int]]:
    """The same, one span after the other."""
    out: list[tuple[int, int, set[int]]] = []
    for source in {span[0] for span in spans}:
        mine = sorted((s[1], s[2], i) for i, s in enumerate(spans) if s[0] == source)
        for start, end, i in mine:
            if out and out[-1][0] == rank[source] and start <= out[-1][1] + gap:
                out[-1] = (rank[source], max(out[-1][1], end), out[-1][2] | {i})
            else:
                out.append((rank[source], end, {i}))
    return [members for _, _, members in sorted(out, key=lambda entry: (entry[0], entry[1]), reverse=True)]


SPANS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(0, 25)).map(lambda s: (s[0], s[1], s[1] + s[2])),
    min_size=1,
    max_size=25,
)


@given(SPANS, st.integers(0, 8), st.permutations(range(5)), st.integers(0, 3))
def test_equals_a_plain_loop(spans: list[Span], gap: int, ranks: list[int], clock: int) -> None:
    # Sources may run on clocks of their own: one from 0, one in ns since the epoch.
    lift = {i: i % 2 * clock * 1_700_000_000 * NS for i in range(5)}
    lifted = [(s, start + lift[s], end + lift[s]) for s, start, end in spans]
    rank = dict(enumerate(ranks))
    assert grouped(lifted, rank, gap) == plain(lifted, rank, gap)


def test_many_sources_on_clocks_since_the_epoch_do_not_overflow() -> None:
    epoch = 1_700_000_000 * NS
    spans = [(s, epoch * (s % 2), epoch * (s % 2) + 5) for s in range(40) for _ in range(2)]
    found = grouped(spans, {s: s for s in range(40)}, GAP_NS)
    assert found == [{2 * s, 2 * s + 1} for s in range(39, -1, -1)]


@pytest.mark.parametrize(("apart", "sightings"), [(0, 1), (7, 1), (8, 2)])
def test_the_gap_itself_does_not_part(apart: int, sightings: int) -> None:
    assert len(grouped([(0, 0, 10), (0, 10 + apart, 20 + apart)], {0: 0}, 7)) == sightings


def test_a_long_track_bridges_what_lies_within() -> None:
    spans = [(0, 0, 100), (0, 10, 20), (0, 90, 95), (0, 101, 110), (0, 130, 140)]
    assert grouped(spans, {0: 0}, 1) == [{4}, {0, 1, 2, 3}]


def test_two_sources_never_share_a_sighting() -> None:
    assert grouped([(1, 0, 10), (2, 0, 10), (1, 5, 12)], {1: 0, 2: 1}, 1000) == [{1}, {0, 2}]


def test_a_later_source_comes_first_whatever_its_times() -> None:
    spans = [(1, 900, 950), (2, 0, 10), (2, 500, 510)]
    assert grouped(spans, {1: 0, 2: 1}, 1) == [{2}, {1}, {0}]
    assert grouped(spans, {1: 1, 2: 0}, 1) == [{0}, {2}, {1}]


def test_only_the_hits_count() -> None:
    spans = [(0, 0, 10), (0, 10, 20), (0, 20, 30)]
    assert grouped(spans, {0: 0}, 1, rows=[0, 2]) == [{2}, {0}]


def test_no_hits_give_no_sightings() -> None:
    assert group(columns_of([]), np.empty(0, np.int64)) == []


def test_the_gap_of_a_sighting_is_two_seconds() -> None:
    assert GAP_NS == 2_000_000_000
    for gap, count in ((GAP_NS, 1), (GAP_NS + 1, 2)):
        spans = [(0, 0, 10), (0, 10 + gap, 20 + gap)]
        assert len(group(columns_of(spans), np.zeros(2, np.int64))) == count


def test_on_one_clock_sources_take_turns_and_of_equal_ends_the_later_source_is_first() -> None:
    spans = [(0, 0, 10), (0, 20, 30), (1, 0, 5), (1, 10, 25)]
    order, zeros = np.array([0, 0, 1, 1]), np.array([100, 100, 105, 105])
    found = [m.tolist() for m in group(columns_of(spans), order, 1, zero_ns=zeros)]
    assert found == [[3], [1], [2], [0]]  # last in view at 130, 130, 110, 110
