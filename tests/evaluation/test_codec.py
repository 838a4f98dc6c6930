"""The bound of a grid: worked by hand, and what must hold for any mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vidmem.errors import UsageError
from vidmem.evaluation.codec import referring_bound, semantic_bound
from vidmem.evaluation.masks import Mask
from vidmem.export.textlayout import LAYOUTS


def square(side: int, low: int, high: int) -> Mask:
    mask = np.zeros((side, side), bool)
    mask[low:high, low:high] = True
    return mask


def test_by_hand() -> None:
    # On 2x2 cells of 8x8 pixels the centres are at 2 and 6: 0..4 is exactly one cell, 1..3 fills one cell of 16 pixels.
    made = referring_bound([("exact", square(8, 0, 4)), ("small", square(8, 1, 3))], (2, 2))
    assert made.ciou == pytest.approx((16 + 4) / (16 + 16))
    assert made.giou == pytest.approx((1 + 4 / 16) / 2)
    assert (made.masks, made.lost, made.precision, made.miou) == (2, 0, 0.5, None)
    assert made.cost["full"].runs == 4
    assert made.cost["image"].runs == 2
    assert made.cost["rows"].runs == 3  # one| others, and the other row
    assert made.cost["rows"].characters == len("exact *1| others *1\n others *2\n")
    assert made.cost["rows"].tokens is None


def test_what_is_smaller_than_a_cell_is_lost() -> None:
    made = referring_bound([("dot", square(8, 0, 1))], (2, 2))
    assert (made.lost, made.ciou, made.giou) == (1, 0, 0)
    assert referring_bound([("dot", square(8, 0, 1))], (8, 8)).ciou == 1


def test_tokens_are_counted() -> None:
    made = referring_bound([("a b", square(4, 0, 2))], (2, 2), tokens=lambda text: len(text.split()))
    assert made.cost["full"].tokens == len(["a", "b|", "others|", "others|", "others"])


def test_semantic_by_hand() -> None:
    # Left half sky, right half grass but for one pixel of unlabelled; a class of one pixel is lost.
    picture = np.zeros((4, 4), np.int64)
    picture[:, 2:] = 1
    picture[0, 3] = 255
    picture[3, 0] = 2
    made = semantic_bound([picture, np.full((4, 4), 255)], ["sky", "grass", "ant", "not here"], (2, 2))
    assert made.miou == pytest.approx((7 / 8 + 7 / 7 + 0) / 3)  # the unlabelled pixel does not count
    assert made.ciou == pytest.approx((7 + 7 + 0) / (8 + 8 + 1))  # here it is background, wrongly claimed
    assert (made.masks, made.lost) == (3, 1)
    assert made.cost["rows"].runs == 4


@given(hnp.arrays(np.int8, (8, 8), elements=st.integers(-1, 2)))
def test_a_grid_of_the_pixels_loses_nothing(picture: np.ndarray) -> None:
    if (picture < 0).all():
        with pytest.raises(UsageError, match="no mask to measure"):
            semantic_bound([picture], "abc", (8, 8))
        return
    made = semantic_bound([picture], "abc", (8, 8))
    assert made.ciou == made.giou == made.precision == 1
    assert made.miou == 1
    coarse = semantic_bound([picture], "abc", (4, 4))
    assert 0 <= coarse.ciou <= 1
    assert coarse.cost["image"].runs <= coarse.cost["rows"].runs <= coarse.cost["full"].runs == 16


def test_no_mask_is_no_bound() -> None:
    with pytest.raises(UsageError, match="no mask to measure"):
        referring_bound([], (2, 2))
    with pytest.raises(UsageError, match="a grid is 1 to"):
        referring_bound([("a", square(2, 0, 1))], (0, 2))
    assert set(referring_bound([("a", square(2, 0, 1))], (2, 2)).cost) == set(LAYOUTS)


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="same name"):
        semantic_bound([np.zeros((64, 64), np.int64)], ["cup", "cup"], (16, 16))
