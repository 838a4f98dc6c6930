"""What places say of two tracks: found twice in one frame, or back where the thing cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.query import places
from vidmem.query.places import Places, found_twice, same_place
from vidmem.records import Float32
from vidmem.store import Columns
from vidmem.timecode import NS

Boxes = dict[int, tuple[float, float]]
"""Left upper corners of things that are 100 x 100, by ordinal."""


class Frames:
    """A store of two frames, 0 and 1 second."""

    def __init__(self, before: Boxes, after: Boxes) -> None:
        self.frames = {0: before, NS: after}

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]:
        held = self.frames.get(start_ns, {})
        corners = np.array(list(held.values()), np.float32).reshape(-1, 2)
        return np.full(len(held), start_ns), np.array(list(held), np.int64), np.hstack([corners, corners + 100])


def elsewhere(before: Boxes, after: Boxes) -> bool:
    """Track 0 leaves, track 1 comes."""
    return Places(Frames(before, after)).elsewhere(7, 0, 0, 1, NS)


def around(dx: float = 0) -> Boxes:
    return {n: (300.0 * (n - 4) + dx, 400.0) for n in (5, 6, 7)}


def test_where_it_was_it_may_be_the_same() -> None:
    assert not elsewhere({0: (500, 100)} | around(), {1: (560, 120)} | around())


def test_far_from_where_it_was_it_is_another() -> None:
    assert elsewhere({0: (500, 100)} | around(), {1: (900, 100)} | around())


def test_a_turn_of_the_camera_is_taken_off() -> None:
    """All has moved 300 to the left: what is still at 500 is not what was there."""
    assert elsewhere({0: (500, 100)} | around(), {1: (500, 100)} | around(-300))
    assert not elsewhere({0: (500, 100)} | around(), {1: (200, 100)} | around(-300))


def test_place_says_nothing_where_nothing_stayed_in_view() -> None:
    assert not elsewhere({0: (500, 100)} | around(), {1: (1100, 100), 8: (0, 0), 9: (200, 0)})
    few: Sequence[int] = (5, 6)
    assert not elsewhere({0: (500, 100)} | {n: around()[n] for n in few}, {1: (1100, 100)} | around())


def test_a_frame_or_a_box_that_is_gone_says_nothing() -> None:
    places = Places(Frames({0: (500, 100)} | around(), {1: (1100, 100)} | around()))
    assert not places.elsewhere(7, 0, 5, 1, NS)
    assert not places.elsewhere(7, 3, 0, 1, NS)


def test_a_thing_reaches_twice_its_longest_side_and_no_farther() -> None:
    """Things are 100 x 100; three others, which is the fewest, say that the camera stood still."""
    still = around()
    assert len(still) == places.MIN_COMMON
    assert not elsewhere({0: (500, 100)} | still, {1: (700, 100)} | still)
    assert elsewhere({0: (500, 100)} | still, {1: (701, 100)} | still)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((0, 0, 10, 10), True),
        ((5, 5, 15, 15), True),  # IoU .143
        ((6, 6, 16, 16), False),  # IoU .087
        ((10, 0, 20, 10), False),  # they touch
        ((9, 9, 11, 11), False),  # a quarter of the small one lies in the other
        ((9, 4, 11, 6), True),  # half of it
        ((8.9, 4, 11, 6), True),
        ((9.1, 4, 11.1, 6), False),
    ],
)
def test_boxes_of_one_place_overlap_well_or_one_holds_half_of_the_other(
    other: tuple[float, float, float, float], same: bool
) -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    assert same_place(box, np.array([other], np.float32)).tolist() == [same]
    assert same_place(np.array([other], np.float32), box).tolist() == [same]


class Pair:
    """A store with tracks 0 and 1, in one place at some seconds and in two at the others."""

    def __init__(self, same: Sequence[bool]) -> None:
        self.same = same

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]:
        rows = [
            (t * NS, track, x)
            for t, same in enumerate(self.same)
            for track, x in ((0, 0), (1, 0 if same else 500))
            if start_ns <= t * NS <= end_ns
        ]
        corners = np.array([(x, 0) for _, _, x in rows], np.float32).reshape(-1, 2)
        times, tracks = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
        return times, tracks, np.hstack([corners, corners + 100])


@pytest.mark.parametrize(
    ("same", "twice"),
    [
        ([True], True),
        ([False], False),
        ([True, False], True),  # half of the frames are enough
        ([True, False, False], False),
        ([True] * 15 + [False] * 15, True),  # over several windows
        ([True] * 14 + [False] * 16, False),
    ],
)
def test_found_twice_is_in_one_place_in_half_of_the_frames(same: list[bool], twice: bool) -> None:
    end = (len(same) - 1) * NS
    numbers = np.arange(2)
    columns = Columns(numbers, np.zeros(2, np.int64), numbers, np.zeros(2, np.int64), np.full(2, end), numbers)
    pairs = np.array([0]), np.array([1])
    assert found_twice(Pair(same), columns, pairs).tolist() == [twice]


def test_frames_outside_of_the_time_in_common_do_not_vote() -> None:
    numbers = np.arange(2)
    start, end = np.array([0, 2 * NS]), np.array([3 * NS, 5 * NS])
    columns = Columns(numbers, np.zeros(2, np.int64), numbers, start, end, numbers)
    pairs = np.array([0]), np.array([1])
    assert found_twice(Pair([False, False, True, True, False, False]), columns, pairs).tolist() == [True]
    assert found_twice(Pair([True, True, False, False, True, True]), columns, pairs).tolist() == [False]


def columns_of(*spans: tuple[int, int], source: Sequence[int] | None = None) -> Columns:
    numbers = np.arange(len(spans))
    start, end = (np.array([span[i] for span in spans], np.int64) for i in (0, 1))
    sources = np.zeros(len(spans), np.int64) if source is None else np.array(source, np.int64)
    return Columns(numbers, sources, numbers, start, end, numbers)


class Log:
    """A store of boxes by source, time and track; it notes what is looked up."""

    def __init__(self, *regions: tuple[int, int, int, float]) -> None:
        """regions: source, time, track and x; boxes are 10 x 10."""
        self.regions, self.asked = regions, list[tuple[int, int, int]]()

    def boxes(self, source_id: int, start_ns: int, end_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Float32]:
        self.asked.append((source_id, start_ns, end_ns))
        rows = [r for r in self.regions if r[0] == source_id and start_ns <= r[1] <= end_ns]
        corners = np.array([(x, 0) for *_, x in rows], np.float32).reshape(-1, 2)
        times, tracks = (np.array([row[i] for row in rows], np.int64) for i in (1, 2))
        return times, tracks, np.hstack([corners, corners + 10])


def test_pairs_are_looked_up_in_windows_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WINDOW_NS", 10)
    columns = columns_of((5, 25), (0, 14), (12, 40), (95, 99), (90, 97), source=[1, 1, 1, 2, 2])
    log = Log((1, 5, 0, 0), (1, 5, 1, 3), (1, 21, 0, 0), (1, 21, 2, 30), (2, 96, 3, 0), (2, 96, 4, 0))
    pairs = np.array([3, 0, 0]), np.array([4, 1, 2])
    assert found_twice(log, columns, pairs).tolist() == [True, True, False]
    assert log.asked == [(1, 0, 9), (1, 10, 19), (1, 20, 29), (2, 90, 99)]


def test_rows_may_be_some_of_the_tracks_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WINDOW_NS", 10)
    columns = columns_of((0, 9), (0, 9), (0, 9), (0, 9))
    log = Log((0, 5, 3, 0), (0, 5, 1, 100), (0, 5, 2, 2))
    pairs = np.array([0, 0, 1]), np.array([1, 2, 2])
    assert found_twice(log, columns.take(np.array([3, 1, 2])), pairs).tolist() == [False, True, False]


def test_a_pair_that_no_frame_holds_counts_as_found_twice() -> None:
    """Nothing was seen that speaks against it."""
    columns = columns_of((0, 9), (0, 9))
    pairs = np.array([0]), np.array([1])
    assert found_twice(Log((0, 5, 0, 0), (0, 6, 1, 0)), columns, pairs).tolist() == [True]
    assert found_twice(Log(), columns, pairs).tolist() == [True]
    none = np.empty(0, np.intp)
    assert found_twice(Log(), columns, (none, none)).tolist() == []


def test_when_windows_are_too_many_the_most_wanted_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WINDOW_NS", 10)
    monkeypatch.setattr(places, "MAX_LOOKUPS", 1)
    columns = columns_of((0, 99), (0, 99), (85, 99), (5, 9))
    log = Log(*[(0, t, track, 0) for t in range(0, 100, 5) for track in range(4)])
    pairs = np.array([0, 0, 0]), np.array([1, 2, 3])
    assert found_twice(log, columns, pairs).tolist() == [True, False, True]
    assert log.asked == [(0, 0, 9)]  # wanted by two, the other window by one


def test_as_many_windows_as_may_be_looked_up_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WINDOW_NS", 10)
    source = np.zeros(2, np.int64)
    start, end = np.array([5, 10]), np.array([29, 39])
    monkeypatch.setattr(places, "MAX_LOOKUPS", 4)
    pair, window = places._windows(source, start, end)
    assert (pair.tolist(), window.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 2, 3])
    pair, window = places._windows(np.array([0, 1]), start, end)  # six windows of two sources
    assert (pair.tolist(), window.tolist()) == ([0, 1], [0, 2])
    monkeypatch.setattr(places, "MAX_LOOKUPS", 3)
    pair, window = places._windows(source, start, end)
    assert (pair.tolist(), window.tolist()) == ([0, 1], [0, 2])


def test_very_long_times_together_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 windows of each lookup are listed before those that pairs share are counted once."""
    monkeypatch.setattr(places, "WINDOW_NS", 1)
    monkeypatch.setattr(places, "MAX_LOOKUPS", 2)
    many = np.zeros(64, np.int64)
    assert len(places._windows(many, many, many + 1)[0]) == 128
    assert len(places._windows(np.zeros(65, np.int64), np.zeros(65, np.int64), np.ones(65, np.int64))[0]) == 65


@pytest.mark.parametrize(
    ("first", "last", "roundest"),
    [(5, 5, 5), (5, 6, 6), (5, 7, 6), (3, 9, 8), (1, 3, 2), (0, 9, 0), (9, 15, 12), (1 << 38, 3 << 38, 1 << 39)],
)
def test_the_roundest_number_is_divided_by_the_highest_power_of_two(first: int, last: int, roundest: int) -> None:
    assert places._roundest(np.array([first, first]), np.array([last, first])).tolist() == [roundest, first]


def votes(*regions: tuple[int, int, float], start: int = 0, end: int = 99) -> list[int]:
    """Of the pairs 1 and 4, 4 and 6: times, tracks and x of boxes that are 10 x 10."""
    corners = np.array([(x, 0) for *_, x in regions], np.float32).reshape(-1, 2)
    times, tracks = (np.array([row[i] for row in regions], np.int64) for i in (0, 1))
    found = times, tracks, np.hstack([corners, corners + 10])
    pairs = np.array([1, 4]), np.array([4, 6])
    result = places._votes(found, pairs, np.array([start, start]), np.array([end, end]))
    assert result.dtype == np.int64
    return result.tolist()


def test_each_frame_with_both_has_a_vote() -> None:
    assert votes((0, 1, 0), (0, 4, 1), (0, 6, 50)) == [1, -1]
    assert votes((0, 6, 0), (0, 4, 1), (0, 1, 2)) == [1, 1]
    assert votes((0, 1, 0), (0, 4, 1), (3, 1, 0), (3, 4, 1), (5, 1, 0), (5, 4, 50)) == [1, 0]
    assert votes((0, 1, 0), (3, 4, 0)) == [0, 0]  # not in one frame
    assert votes() == [0, 0]


def test_other_tracks_have_no_vote() -> None:
    assert votes((0, 0, 0), (0, 1, 0), (0, 3, 50), (0, 4, 50), (0, 9, 0)) == [-1, 0]
    assert votes((0, 9, 0)) == [0, 0]


def test_frames_from_the_first_to_the_last_time_vote() -> None:
    regions = [(t, track, 0.0) for t in (2, 3, 4, 5) for track in (1, 4)]
    assert votes(*regions, start=3, end=4) == [2, 0]
    assert votes(*regions, start=4, end=3) == [0, 0]


def boxes(*rows: tuple[float, float, float, float]) -> Float32:
    return np.array(rows, np.float32)


def test_an_iou_of_a_tenth_or_half_of_the_smaller_box_is_one_place() -> None:
    """Boxes of 20 x 11 that share a strip: 40 of 400; of 40 x 11 and 2 x 10, half of it."""
    a = boxes((0, 0, 20, 11), (0, 0, 20, 11), (0, 0, 40, 11), (0, 0, 40, 11))
    b = boxes((0, 9, 20, 20), (0, 9.1, 20, 20.1), (39, 0, 41, 10), (39.1, 0, 41.1, 10))
    assert same_place(a, b).tolist() == [True, False, True, False]
    assert same_place(b, a).tolist() == [True, False, True, False]


def test_boxes_without_an_area_are_in_no_place() -> None:
    point, turned = (5, 5, 5, 5), (8, 8, 2, 2)
    a = boxes(point, turned, (0, 0, 9, 9), turned)
    b = boxes(point, (0, 0, 9, 9), point, turned)
    assert same_place(a, b).tolist() == [False] * 4
    assert same_place(np.empty((0, 4), np.float32), np.empty((0, 4), np.float32)).tolist() == []


def test_the_reach_is_of_the_smaller_box_in_any_direction() -> None:
    still = [(n, 300.0 * n, 400.0) for n in (5, 6, 7)]

    class Two:
        def boxes(self, source_id: int, start_ns: int, end_ns: int) -> Any:
            assert source_id == 7
            assert start_ns == end_ns
            own, size = ((0, 500.0, 100.0), (60, 100)) if start_ns == 0 else ((1, *self.came), (30, 50))
            rows = [(own[0], own[1], own[2], *size), *[(n, x, y, 100, 100) for n, x, y in still]]
            corners = np.array([row[1:3] for row in rows], np.float32)
            sides = np.array([row[3:] for row in rows], np.float32)
            tracks = np.array([row[0] for row in rows])
            return np.full(len(rows), start_ns), tracks, np.hstack([corners, corners + sides])

        def __init__(self, dx: float, dy: float) -> None:
            self.came = 515 + dx, 125 + dy  # centres (530, 150) and (530 + dx, 150 + dy)

    def gone(dx: float, dy: float) -> bool:
        return Places(Two(dx, dy)).elsewhere(7, 0, 0, 1, NS)

    assert not gone(60, 80)  # 100, twice the 50 of the smaller one
    assert gone(61, 81)
    assert gone(-61, -81)
    assert gone(0, 101)
    assert not gone(0, -100)


def test_each_frame_is_read_once() -> None:
    log = Log(*[(7, t, track, 10.0 * track) for t in (0, 1) for track in range(5)])
    known = Places(log)
    assert not known.elsewhere(7, 0, 0, 1, 1)
    assert not known.elsewhere(7, 1, 0, 2, 1)
    assert known.elsewhere(7, 0, 0, 4, 1)
    known.elsewhere(8, 0, 0, 4, 1)
    assert log.asked == [(7, 0, 0), (7, 1, 1), (8, 0, 0), (8, 1, 1)]


def test_the_way_of_the_picture_is_the_median_of_what_stays() -> None:
    """Two of three things move 300 to the left, one runs to the right."""
    before = {0: (500.0, 100.0), 5: (300.0, 400.0), 6: (600.0, 400.0), 7: (900.0, 400.0)}
    after = {1: (200.0, 100.0), 5: (0.0, 400.0), 6: (300.0, 400.0), 7: (5000.0, 400.0)}
    assert not elsewhere(before, after)


def test_boxes_smaller_than_a_pixel_have_places_too() -> None:
    a, b = boxes((0, 0, 0.5, 0.5)), boxes((0.25, 0, 0.75, 0.5))
    assert same_place(a, b).tolist() == [True]
    assert same_place(a, boxes((0.4, 0.4, 0.9, 0.9))).tolist() == [False]


def test_the_last_window_ends_with_time_itself() -> None:
    last = (1 << 63) - 1
    columns = columns_of((last - 5, last), (last - 9, last - 3))
    log = Log((0, last - 4, 0, 0), (0, last - 4, 1, 50))
    assert found_twice(log, columns, (np.array([0]), np.array([1]))).tolist() == [False]
    assert log.asked == [(0, last // places.WINDOW_NS * places.WINDOW_NS, last)]
