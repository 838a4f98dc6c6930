"""Back after a moment: the same thing where it can be, another one elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidmem.query.places import Places
from vidmem.records import Float32
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
