"""Scores of masks: worked by hand, equal to slow loops, and their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from vidmem.errors import UsageError
from vidmem.evaluation.masks import (
    THRESHOLDS,
    Mask,
    box_accuracy,
    ciou,
    class_accuracy,
    class_iou,
    confusion,
    giou,
    miou,
    no_target,
    overlaps,
    pixel_accuracy,
    precision,
)

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def row(text: str) -> Mask:
    return np.array([[c == "#" for c in text]])


@st.composite
def pair_lists(draw: st.DrawFn) -> list[tuple[Mask, Mask]]:
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=5))
    return [(draw(hnp.arrays(np.bool_, s)), draw(hnp.arrays(np.bool_, s))) for s in shapes]


def test_by_hand() -> None:
    # IoU 2/4, 1/1, and a target that is missed: 0/4
    counted = overlaps([(row("###......."), row(".###......")), (row("#"), row("#")), (row("...."), row("####"))])
    assert counted.both.tolist() == [2, 1, 0]
    assert counted.either.tolist() == [4, 1, 4]
    assert ciou(counted) == pytest.approx(3 / 9)
    assert giou(counted) == pytest.approx((0.5 + 1 + 0) / 3)
    assert [precision(counted, t) for t in THRESHOLDS] == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3])


def test_no_target_by_hand() -> None:
    # no target: one recognised, one not (3 pixels); a target: one seen, one taken for absent
    counted = overlaps(
        [(row("...."), row("....")), (row("###."), row("....")), (row("#..."), row("##..")), (row("...."), row("#..."))]
    )
    assert no_target(counted) == (0.5, 0.5)
    assert no_target(counted, least=2) == (0.5, 0)  # one pixel is too few to be a thing
    assert no_target(counted, least=4) == (1, 0)
    assert giou(counted) == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert ciou(counted) == pytest.approx(1 / (0 + 3 + 2 + 1))  # a false mask adds to the union, an empty pair nothing
    assert precision(counted) == 0.5  # over the two questions with a target


def test_nothing_is_no_number() -> None:
    none, empty = overlaps([]), overlaps([(row("."), row("."))])
    assert all(math.isnan(f(none)) for f in (ciou, giou, precision))
    assert math.isnan(ciou(empty))
    assert giou(empty) == 1
    assert math.isnan(precision(empty))
    assert no_target(empty)[0] == 1
    assert math.isnan(no_target(empty)[1])
    assert all(map(math.isnan, no_target(none)))
    assert math.isnan(box_accuracy([(row("#"), row("."))]))


def test_masks_of_a_pair_have_one_size() -> None:
    with pytest.raises(UsageError, match=r"pair 1: the masks have different sizes, \(1, 1\) and \(1, 2\)"):
        overlaps([(row("#"), row("#")), (row("#"), row("##"))])


@given(pair_lists())
def test_equal_to_a_slow_loop(pairs: list[tuple[Mask, Mask]]) -> None:
    both = either = 0
    ious = []
    for predicted, wanted in pairs:
        b = sum(p and w for p, w in zip(predicted.flat, wanted.flat, strict=True))
        e = sum(p or w for p, w in zip(predicted.flat, wanted.flat, strict=True))
        both, either = both + b, either + e
        ious.append(b / e if e else 1.0)
    counted = overlaps(pairs)
    assert giou(counted) == pytest.approx(sum(ious) / len(ious))
    assert ciou(counted) == pytest.approx(both / either) if either else math.isnan(ciou(counted))


@given(pair_lists())
def test_symmetric_bounded_and_one_for_equal_masks(pairs: list[tuple[Mask, Mask]]) -> None:
    counted, swapped = overlaps(pairs), overlaps([(w, p) for p, w in pairs])
    assert giou(counted) == giou(swapped)
    assert 0 <= giou(counted) <= 1
    if counted.either.sum():
        assert 0 <= ciou(counted) == ciou(swapped) <= 1
    same = overlaps([(w, w) for _, w in pairs])
    assert giou(same) == 1
    if same.wanted.any():
        assert ciou(same) == precision(same, 1) == 1
    assert all(math.isnan(share) or share == 1 for share in no_target(same))


def test_boxes_around_masks() -> None:
    wanted = np.zeros((10, 10), bool)
    wanted[2:6, 2:6] = True
    corners = np.zeros_like(wanted)
    corners[2, 2] = corners[5, 5] = True  # other pixels, the same box
    half = np.zeros_like(wanted)
    half[2:6, 2:4] = True  # IoU exactly .5: not above
    assert box_accuracy([(corners, wanted)]) == 1
    assert box_accuracy([(half, wanted), (np.zeros_like(wanted), wanted)]) == 0
    assert box_accuracy([(half, wanted)], 0.49) == 1


def test_semantic_by_hand() -> None:
    wanted = np.array([[0, 0, 0, 1], [1, 2, 255, -1]])
    predicted = np.array([[0, 0, 1, 1], [-1, 7, 0, 0]])
    matrix = confusion(predicted, wanted, 4)
    assert matrix.tolist() == [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(class_iou(matrix), [2 / 3, 1 / 3, 0, np.nan])
    assert miou(matrix) == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)  # the fourth class is nowhere
    assert pixel_accuracy(matrix) == 0.5
    assert class_accuracy(matrix) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_semantic_of_nothing() -> None:
    matrix = confusion(np.zeros((2, 2), int), np.full((2, 2), 255), 3)
    assert not matrix.any()
    assert all(math.isnan(f(matrix)) for f in (miou, pixel_accuracy, class_accuracy))


def test_semantic_labels_must_be_classes() -> None:
    with pytest.raises(UsageError, match="class 3 is in the labels and there are 3 classes"):
        confusion(np.zeros((1, 1), int), np.array([[3]]), 3)
    with pytest.raises(UsageError, match="different sizes"):
        confusion(np.zeros((1, 2), int), np.zeros((2, 1), int), 3)
    with pytest.raises(UsageError, match="at least one class"):
        confusion(np.zeros((1, 1), int), np.zeros((1, 1), int), 0)
    assert confusion(np.full((1, 1), 255), np.full((1, 1), 255), 256, ignore=None)[255, 255] == 1


@given(
    SHAPES.flatmap(
        lambda s: st.tuples(*(hnp.arrays(np.int16, s, elements=st.sampled_from([-1, 0, 1, 2, 9])) for _ in "ab"))
    )
)
def test_semantic_equals_a_slow_loop(pictures: tuple[NDArray[np.int16], NDArray[np.int16]]) -> None:
    predicted, wanted = pictures
    matrix = confusion(predicted, wanted, 3, ignore=9)
    counts = (wanted >= 0) & (wanted != 9)
    for c in range(3):
        p, w = (predicted == c) & counts, (wanted == c) & counts
        union = np.count_nonzero(p | w)
        iou = class_iou(matrix)[c]
        assert iou == pytest.approx(np.count_nonzero(p & w) / union) if union else math.isnan(iou)
    assert matrix.sum() == counts.sum()
    both = confusion(np.hstack([predicted, predicted]), np.hstack([wanted, wanted]), 3, ignore=9)
    np.testing.assert_array_equal(both, matrix + matrix)  # matrices of several pictures add up


def test_boxes_of_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="pair 0: the masks have different sizes"):
        box_accuracy([(np.ones((4, 4), bool), np.ones((8, 8), bool))])
