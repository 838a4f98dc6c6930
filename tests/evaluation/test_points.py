"""Mean IoU over points, by hand and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.evaluation.points import ClassPoints, mask_at, point_miou


def points(name: str, *inside: bool) -> ClassPoints:
    return ClassPoints(name, np.full((len(inside), 2), 0.5), np.array(inside, bool))


def test_a_point_is_inside_where_the_scaled_map_is_at_least_half() -> None:
    heat = np.array([[1, 2], [3, 5]], np.float32)  # scaled: 0, .25, .5, 1
    at = ClassPoints("cup", np.array([[0, 0], [0.9, 0.4], [0.49, 0.5], [1, 1]]), np.ones(4, bool))
    assert mask_at(heat, at).tolist() == [False, False, True, True]
    assert mask_at(heat, at, 0.2).tolist() == [False, True, True, True]
    assert not mask_at(np.ones((2, 2), np.float32), at).any()


@pytest.mark.parametrize("xy", [[[1.1, 0.5]], [[0.5, -0.1]], [[np.nan, 0.5]]])
def test_points_outside_are_refused(xy: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="in \\[0, 1\\]"):
        mask_at(np.eye(2, dtype=np.float32), ClassPoints("cup", np.array(xy), np.ones(1, bool)))
    with pytest.raises(UsageError, match="not numbers"):
        mask_at(np.full((2, 2), np.nan, np.float32), points("cup", True))


def test_by_hand() -> None:
    """Cup: 1 of 2 in the first image (IoU 1/3 with a false one), 2 of 2 in the second: pooled 3/5. Key: 0 of 1."""
    results = [
        (points("cup", True, True, False, False), np.array([True, False, True, False])),
        (points("cup", True, True), np.array([True, True])),
        (points("key", True, False), np.array([False, False])),
    ]
    found = point_miou(results)
    assert found.per_class == pytest.approx((3 / 5 + 0) / 2)
    assert found.per_image == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert (found.classes, found.images) == (2, 3)


def test_a_class_that_is_nowhere_does_not_count() -> None:
    nowhere = (points("cup", False), np.array([False]))
    found = point_miou([nowhere, (points("key", True), np.array([True]))])
    assert (found.per_class, found.classes, found.images) == (1.0, 1, 1)
    with pytest.raises(UsageError, match="nothing to measure"):
        point_miou([nowhere])
    with pytest.raises(UsageError, match="has 1 points and 2 results"):
        point_miou([(points("key", True), np.array([True, False]))])


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=5)),
        min_size=1,
        max_size=6,
    )
)
def test_equals_plain_loops(images: list[tuple[str, list[tuple[bool, bool]]]]) -> None:
    results = [(points(name, *[a for a, _ in rows]), np.array([b for _, b in rows])) for name, rows in images]
    ious = []
    for name in sorted({name for name, _ in images}):
        rows = [row for other, rows in images if other == name for row in rows]
        union = sum(a or b for a, b in rows)
        if union:
            ious.append(sum(a and b for a, b in rows) / union)
    if not ious:
        with pytest.raises(UsageError):
            point_miou(results)
        return
    assert point_miou(results).per_class == pytest.approx(sum(ious) / len(ious))
