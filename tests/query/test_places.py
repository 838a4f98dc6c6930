"""What places say of two tracks: found twice in one frame, or back where the thing cannot be."""

from __future__ import annotations

from collections.abc import Sequence

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
    assert found_twice(Pair(same), columns, numbers, pairs).tolist() == [twice]


def test_frames_outside_of_the_time_in_common_do_not_vote() -> None:
    numbers = np.arange(2)
    start, end = np.array([0, 2 * NS]), np.array([3 * NS, 5 * NS])
    columns = Columns(numbers, np.zeros(2, np.int64), numbers, start, end, numbers)
    pairs = np.array([0]), np.array([1])
    assert found_twice(Pair([False, False, True, True, False, False]), columns, numbers, pairs).tolist() == [True]
    assert found_twice(Pair([True, True, False, False, True, True]), columns, numbers, pairs).tolist() == [False]
