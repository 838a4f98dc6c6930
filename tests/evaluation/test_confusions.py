"""Confusion matrices as short lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.evaluation.confusions import cells, total
from vidmem.evaluation.masks import confusion, miou


def test_by_hand() -> None:
    """Class 0: 2 right, 1 as class 1. Class 1: 1 right, 1 as none. IoU 2/3 and 1/3."""
    matrix = confusion(np.array([[0, 0, 1, 1, -1]]), np.array([[0, 0, 0, 1, 1]]), 2)
    assert cells(matrix) == [[0, 0, 2], [0, 1, 1], [1, 1, 1], [1, 2, 1]]
    assert miou(total([cells(matrix)], 2)) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert total([[], []], 2).sum() == 0
    with pytest.raises(UsageError, match="class beyond 2"):
        total([[[2, 0, 1]]], 2)
    with pytest.raises(UsageError, match="class beyond 2"):
        total([[[0, 3, 1]]], 2)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), min_size=1, max_size=20), min_size=1, max_size=4
    )
)
def test_the_sum_is_that_of_the_matrices(pictures: list[list[tuple[int, int]]]) -> None:
    matrices = []
    for pixels in pictures:
        truth, said = np.array(pixels).T
        matrices.append(confusion(said, truth, 4))
    np.testing.assert_array_equal(total([cells(m) for m in matrices], 4), sum(matrices))
