"""Video consistency: by hand, and against plain loops over stretches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from vidmem.errors import UsageError
from vidmem.evaluation.consistency import Consistency, by_formula, published


def stretches(predicted: list[list[int]], wanted: list[list[int]], length: int) -> list[list[int]]:
    found = Consistency((length,))
    for said, true in zip(predicted, wanted, strict=True):
        found.add(np.array([said]), np.array([true]))
    return found.stretches[length]


def test_by_hand() -> None:
    """Of 4 pixels over 3 frames, two have the same truth throughout; one of these changes its prediction at the end."""
    wanted = [[1, 1, 2, 3], [1, 1, 3, 3], [1, 1, 3, 2]]
    predicted = [[7, 7, 7, 7], [7, 7, 7, 7], [7, 8, 7, 7]]
    assert stretches(predicted, wanted, 3) == [[1, 2]]
    assert stretches(predicted, wanted, 2) == [[3, 3], [2, 3]]  # frames 1, 2: all but the third; 2, 3: all but the last
    assert published([[[3, 3], [2, 3]]]) == 1  # without the last stretch
    assert by_formula([[[3, 3], [2, 3]]]) == pytest.approx((1 + 2 / 3) / 2)


def test_a_wrong_class_is_as_consistent_as_a_right_one() -> None:
    assert stretches([[5], [5]], [[1], [1]], 2) == [[1, 1]]


def test_a_return_is_no_stay() -> None:
    """The program compares with the first frame of a stretch: 1, 2, 1 is not the same for three frames."""
    assert stretches([[1], [2], [1]], [[0], [0], [0]], 3) == [[0, 1]]


def test_means() -> None:
    """Videos of two and of one counted stretch: over stretches 2/3, over videos 3/4 (their last ones are all 1)."""
    videos = [[[0, 1], [1, 1], [1, 1]], [[1, 1], [1, 1]]]
    assert published(videos) == pytest.approx(2 / 3)
    assert by_formula(videos) == pytest.approx((2 / 3 + 1) / 2)
    assert math.isnan(published([[[1, 1]], []]))  # one stretch: 8 frames, and the program wants more than 8
    assert by_formula([[[1, 1]], []]) == 1
    assert published([[[0, 0], [1, 2], [1, 1]]]) == 0.5  # no common area says nothing


def test_sizes() -> None:
    found = Consistency()
    found.add(np.zeros((2, 2), int), np.zeros((2, 2), int))
    with pytest.raises(UsageError, match="one size"):
        found.add(np.zeros((2, 3), int), np.zeros((2, 3), int))
    with pytest.raises(UsageError, match="at least 2 frames"):
        Consistency((1,))


_VIDEO = arrays(np.int8, (7, 3), elements=st.integers(0, 1))


@settings(max_examples=60)
@given(_VIDEO, _VIDEO)
def test_equals_plain_loops(said: NDArray[np.int8], true: NDArray[np.int8]) -> None:
    for length in (2, 3, 5):
        found = Consistency((length,))
        for frame in range(7):
            found.add(said[frame], true[frame])
        wanted = []
        for start in range(7 - length + 1):
            part = slice(start, start + length)
            common = (true[part] == true[start]).all(0)
            wanted.append([int((common & (said[part] == said[start]).all(0)).sum()), int(common.sum())])
        assert found.stretches[length] == wanted
