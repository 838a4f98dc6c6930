"""A box that follows a thing between the frames in which it was found."""

from __future__ import annotations

import numpy as np

from vidmem.records import Box, Frame
from vidmem.render.drawing import MARK
from vidmem.render.trajectory import box_at, box_drawer
from vidmem.timecode import NS

MOMENTS: list[tuple[int, Box]] = [(NS, (0, 0, 10, 10)), (2 * NS, (20, 0, 30, 10)), (9 * NS, (0, 0, 10, 10))]


def test_straight_between_two_frames() -> None:
    assert box_at(MOMENTS, NS) == (0, 0, 10, 10)
    assert box_at(MOMENTS, NS + NS // 2) == (10, 0, 20, 10)
    assert box_at(MOMENTS, 9 * NS) == (0, 0, 10, 10)


def test_none_where_it_was_not_in_view() -> None:
    assert box_at(MOMENTS, 0) is None
    assert box_at(MOMENTS, 5 * NS) is None
    assert box_at(MOMENTS, 10 * NS) is None
    assert box_at([], 0) is None


def test_drawn_in_the_size_of_the_frame() -> None:
    frame = Frame(np.zeros((120, 200, 3), np.uint8), NS, 0)
    drawn = box_drawer([(NS, (10, 10, 60, 40))], (100, 60))(frame).image
    assert tuple(drawn[50, 20]) == tuple(drawn[20, 80]) == MARK
    assert tuple(drawn[50, 70]) == (0, 0, 0)
    gone = Frame(frame.image, 3 * NS, 1)
    assert box_drawer([(NS, (10, 10, 60, 40))], (100, 60))(gone) is gone
