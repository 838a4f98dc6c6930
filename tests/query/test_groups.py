"""Tracks as groups of one thing each: what is joined, what is kept apart, and the spans of a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.query import places, reid
from vidmem.query.reid import _Groups, _join_twice, _one_line, numbers, positions
from vidmem.records import Float32
from vidmem.store import Columns
from vidmem.timecode import NS


def groups(*spans: tuple[int, int]) -> _Groups:
    return _Groups([[start] for start, _ in spans], [[end] for _, end in spans])


def leaders(made: _Groups, count: int) -> list[int]:
    return [made.leader(i) for i in range(count)]


def test_the_lowest_track_leads() -> None:
    made = groups((0, 1), (10, 11), (20, 21), (30, 31))
    made.join(3, 2)
    assert leaders(made, 4) == [0, 1, 2, 2]
    made.join(3, 1)
    assert leaders(made, 4) == [0, 1, 1, 1]
    made.join(0, 2)
    assert leaders(made, 4) == [0, 0, 0, 0]


def test_groups_that_meet_are_kept_apart_for_good() -> None:
    """Also when times do not matter any more."""
    made = groups((0, 5), (5, 9), (10, 20))
    made.join(0, 1)
    assert leaders(made, 3) == [0, 1, 2]
    made.join(1, 0, overlapping=True)
    assert leaders(made, 3) == [0, 1, 2]
    made.join(1, 2)
    made.join(0, 2)
    assert leaders(made, 3) == [0, 1, 1]


def test_groups_a_moment_apart_do_not_meet() -> None:
    made = groups((6, 9), (0, 5))
    made.join(0, 1)
    assert leaders(made, 2) == [0, 0]


def test_what_is_apart_from_one_is_apart_from_all_of_its_group() -> None:
    made = groups((0, 1), (10, 11), (20, 21), (30, 31), (40, 41))
    made.forbid(0, 1)
    made.forbid(2, 1)
    made.join(0, 3)
    made.join(1, 3)
    assert leaders(made, 5) == [0, 1, 2, 0, 4]
    made.join(1, 4)
    made.join(4, 0)
    made.join(4, 2)
    assert leaders(made, 5) == [0, 1, 2, 0, 1]
    made.join(2, 0)
    assert leaders(made, 5) == [0, 1, 0, 0, 1]
    made.join(0, 1)
    made.join(2, 4)
    assert leaders(made, 5) == [0, 1, 0, 0, 1]


def test_tracks_that_overlap_are_joined_where_that_is_allowed() -> None:
    made = groups((0, 9), (5, 12), (11, 20), (21, 30))
    made.join(0, 1, overlapping=True)
    assert leaders(made, 4) == [0, 0, 2, 3]
    assert (made._starts[0], made._ends[0]) == ([0], [12])
    made.join(0, 2)  # it meets the second
    made.join(0, 3)
    assert leaders(made, 4) == [0, 0, 2, 0]
    assert (made._starts[0], made._ends[0]) == ([0, 21], [12, 30])
    assert (made._starts[3], made._ends[3]) == ([], [])


def test_a_span_across_several_joins_them() -> None:
    made = groups((0, 1), (4, 5), (0, 4))
    made.join(0, 1)
    assert (made._starts[0], made._ends[0]) == ([0, 4], [1, 5])
    made.join(0, 2, overlapping=True)
    assert (made._starts[0], made._ends[0]) == ([0], [5])


def test_a_join_of_one_group_changes_nothing() -> None:
    made = groups((0, 1), (10, 11))
    made.join(0, 1)
    made.join(1, 0)
    assert made._starts == [[0, 10], []]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda s: (s[0], s[0] + s[1])), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), max_size=20),
)
def test_the_spans_of_a_group_are_those_of_its_tracks(
    spans: list[tuple[int, int]], joins: list[tuple[int, int, bool]]
) -> None:
    """In order and without overlap, and no two groups are joined that share a moment."""
    made = groups(*spans)
    moments = [set(range(start, end + 1)) for start, end in spans]
    group = list(range(len(spans)))
    apart: set[tuple[int, int]] = set()  # of tracks
    for i, j, overlapping in joins:
        if max(i, j) >= len(spans):
            continue
        made.join(i, j, overlapping)
        x, y = group[i], group[j]
        if x == y:
            continue
        first, second = ([k for k, g in enumerate(group) if g == one] for one in (x, y))
        if any((a, b) in apart for a in first for b in second):
            pass
        elif not overlapping and any(moments[a] & moments[b] for a in first for b in second):
            apart |= {(a, b) for a in first for b in second} | {(b, a) for a in first for b in second}
        else:
            group = [x if g == y else g for g in group]
    expected = [group.index(g) for g in group]
    assert leaders(made, len(spans)) == expected
    for leader in set(expected):
        starts, ends = made._starts[leader], made._ends[leader]
        held = [set(range(start, end + 1)) for start, end in zip(starts, ends, strict=True)]
        union = set().union(*(moments[k] for k, g in enumerate(expected) if g == leader))
        assert set().union(*held) == union
        assert sum(map(len, held)) == len(union)
        assert starts == sorted(starts)


def test_sources_follow_each_other_on_one_line() -> None:
    source = np.array([7, 3, 7, 3, 9])
    start, end = np.array([1000, 5, 1010, 20, 0]), np.array([1004, 8, 1019, 24, 0])
    shift = _one_line(source, start, end)
    assert shift.dtype == np.int64
    assert (start + shift).tolist() == [20, 0, 30, 15, 40]  # source 3 takes 0 to 19, 7 the 20 after it
    assert (end + shift).tolist() == [24, 3, 39, 19, 40]


def test_things_are_numbered_by_their_first_track() -> None:
    vectors = np.eye(4, dtype=np.float32)[[2, 1, 2, 0, 1]]
    found = numbers(None, columns_of(*[(0, 0)] * 5), vectors, 0.9)
    assert found.tolist() == [0, 1, 0, 2, 1]
    assert found.dtype == np.intp
    assert [group.tolist() for group in positions(found)] == [[0, 2], [1, 4], [3]]


def test_the_tracks_of_many_things_stay_in_order() -> None:
    number = np.arange(90) % 3
    assert [group.tolist() for group in positions(number)] == [list(range(i, 90, 3)) for i in range(3)]


def columns_of(*spans: tuple[int, int], source: Sequence[int] | None = None) -> Columns:
    count = np.arange(len(spans))
    start, end = (np.array([span[i] for span in spans], np.int64) for i in (0, 1))
    sources = np.zeros(len(spans), np.int64) if source is None else np.array(source, np.int64)
    return Columns(count, sources, count + 10, start, end, count)


class Room:
    """A store in which track 10 + i is always at x[i], in each frame of its span; boxes are 100 x 100."""

    def __init__(self, columns: Columns, *x: float) -> None:
        self.columns, self.x, self.asked = columns, x, list[int]()

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]:
        self.asked.append(start_ns)
        c = self.columns
        rows = [
            (t, 10 + i, x)
            for t in sorted({*c.start_ns.tolist(), *c.end_ns.tolist()})
            if start_ns <= t <= end_ns
            for i, x in enumerate(self.x)
            if c.source_ids[i] == source_id and c.start_ns[i] <= t <= c.end_ns[i]
        ]
        corners = np.array([(x, 0) for *_, x in rows], np.float32).reshape(-1, 2)
        times, tracks = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
        return times, tracks, np.hstack([corners, corners + 100])


def alike(count: int, others: int = 0) -> Float32:
    """Vectors that look alike, the first two the most; and others that look like nothing else."""
    vectors = np.zeros((count + others, 20), np.float32)
    for i in range(count):
        vectors[i, 0], vectors[i, 1] = np.cos(0.01 * i * i), np.sin(0.01 * i * i)
    for i in range(others):
        vectors[count + i, 2 + i] = 1
    return vectors


def found(columns: Columns, vectors: Float32, *x: float) -> list[int]:
    return numbers(Room(columns, *x), columns.take(np.arange(len(vectors))), vectors, 0.9).tolist()


def test_in_view_together_in_one_place_it_is_one_and_in_two_it_is_two() -> None:
    together = columns_of((0, 9), (9, 20))
    assert found(together, alike(2), 0, 20) == [0, 0]
    assert found(together, alike(2), 0, 500) == [0, 1]
    assert found(columns_of((0, 9), (9, 20), source=[1, 2]), alike(2), 0, 500) == [0, 0]
    assert found(columns_of((0, 9), (10, 20)), alike(2), 0, 500) == [0, 0]  # nothing else says how the camera moved


@pytest.mark.parametrize(("gap", "same"), [(2 * NS, False), (2 * NS + 1, True)])
def test_in_another_place_within_two_seconds_it_is_another(gap: int, same: bool) -> None:
    """Three other things stand still."""
    for flip in (False, True):
        spans = [(0, 9), (9 + gap, 20 * NS)]
        columns = columns_of(*(spans[::-1] if flip else spans), *[(0, 20 * NS)] * 3)
        places_ = (0.0, 500.0)[:: -1 if flip else 1]
        assert found(columns, alike(2, 3), *places_, 1000, 2000, 3000) == ([0, 0, 1, 2, 3] if same else [0, 1, 2, 3, 4])
        assert found(columns, alike(2, 3), 0, 150, 1000, 2000, 3000)[:2] == [0, 0]
    elsewhere = columns_of((0, 9), (9 + gap, 20 * NS), *[(0, 20 * NS)] * 3, source=[1, 2, 1, 1, 1])
    assert found(elsewhere, alike(2, 3), 0, 500, 1000, 2000, 3000)[:2] == [0, 0]


def test_of_many_that_follow_each_other_the_most_alike_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = columns_of((0, 9), (20, 29), (40, 49), *[(0, 99)] * 3)
    x = (0.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0)
    assert found(columns, alike(3, 3), *x)[:3] == [0, 1, 2]
    monkeypatch.setattr(reid, "MAX_LOOKUPS", 1)
    assert found(columns, alike(3, 3), *x)[:3] == [0, 1, 1]  # of the first two alone it is known
    monkeypatch.setattr(reid, "MAX_LOOKUPS", 0)
    assert found(columns, alike(3, 3), *x)[:3] == [0, 0, 0]


def test_a_box_around_two_things_does_not_join_them() -> None:
    """The third lies in the place of both; they are apart."""
    columns = columns_of((0, 9), (0, 9), (0, 9))
    assert found(columns, alike(3), 0, 110, 55) == [0, 1, 1]
    assert found(columns, alike(3), 0, 40, 20) == [0, 0, 0]


def joined(spans: Sequence[tuple[int, int]], pairs: Sequence[tuple[int, int]], source: Sequence[int] | None) -> _Groups:
    columns = columns_of(*spans, source=source)
    made = _Groups([[start] for start, _ in spans], [[end] for _, end in spans])
    a, b = (np.array([pair[i] for pair in pairs], np.intp) for i in (0, 1))
    _join_twice(made, (a, b), columns.source_ids, columns.start_ns, columns.end_ns)
    return made


def test_all_that_are_in_view_together_must_have_been_found_in_one_place() -> None:
    together = [(0, 9)] * 3
    assert leaders(joined(together, [(0, 1), (1, 2)], None), 3) == [0, 0, 2]
    assert leaders(joined(together, [(0, 1), (1, 2), (0, 2)], None), 3) == [0, 0, 0]
    assert leaders(joined([(0, 4), (0, 9), (5, 9)], [(0, 1), (1, 2)], None), 3) == [0, 0, 0]
    assert leaders(joined([(0, 5), (0, 9), (5, 9)], [(0, 1), (1, 2)], None), 3) == [0, 0, 2]
    assert leaders(joined([(0, 5), (0, 9), (5, 9)], [(0, 1), (1, 2)], [1, 1, 2]), 3) == [0, 0, 0]


def test_groups_in_conflict_stay_apart() -> None:
    made = joined([(0, 9), (0, 9), (0, 9), (20, 29)], [(0, 1), (1, 2)], None)
    made.join(2, 3)
    made.join(0, 3)
    assert leaders(made, 4) == [0, 0, 2, 2]


def test_two_groups_grow_together() -> None:
    every = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    assert leaders(joined([(0, 9)] * 4, [(0, 1), (2, 3), (1, 2), *every], None), 4) == [0] * 4
    lacking = [pair for pair in every if pair != (0, 3)]
    assert leaders(joined([(0, 9)] * 4, [(0, 1), (2, 3), (1, 2), *lacking], None), 4) == [0, 0, 2, 2]


def test_a_crowd_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    order = [(0, 1), (2, 3), *every]
    monkeypatch.setattr(reid, "CROWD", 4)
    assert leaders(joined([(0, 9)] * 4, order, None), 4) == [0] * 4
    monkeypatch.setattr(reid, "CROWD", 3)
    assert leaders(joined([(0, 9)] * 4, order, None), 4) == [0, 0, 2, 2]


def test_the_times_that_count_may_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """In view together by the cache, one after the other by the cut columns, and in other rows."""
    whole = columns_of((0, 9), (0, 99), (0, 99))
    monkeypatch.setattr(places, "MIN_COMMON", 9)
    cut = Columns(*(getattr(whole, n) for n in ("ids", "source_ids", "ordinals")), *[np.zeros(3, np.int64)] * 3)
    cut.start_ns[:] = (0, 0, 50)
    cut.end_ns[:] = (9, 9, 99)
    rows = np.array([2, 1])
    room = Room(whole, 0, 0, 500)
    assert numbers(room, whole.take(rows), alike(2), 0.9).tolist() == [0, 1]
    assert numbers(room, cut.take(rows), alike(2), 0.9).tolist() == [0, 0]
