"""Connected components: which pairs a sketch leaves open, which are tested, and what is joined."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.indexer import components as module
from vidmem.indexer.components import BLOCK, FEW, blocks, link, link_similar, sketch_bound
from vidmem.records import Float32

Pairs = list[tuple[int, int]]


def open_pairs(sketch: Float32, bound: Float32) -> Pairs:
    found: Pairs = []
    for start, pairs in blocks(sketch, bound):
        assert (pairs.dtype, pairs.shape[1]) == (np.bool_, len(sketch) - start)
        i, j = np.nonzero(pairs)
        found += zip((i + start).tolist(), (j + start).tolist(), strict=True)
    return found


def every_pair(n: int) -> Pairs:
    return [(i, j) for i in range(n) for j in range(i + 1, n)]


class Watched:
    """An edge test that keeps the pairs it was given."""

    def __init__(self, edges: NDArray[np.bool_]) -> None:
        self.edges = edges
        self.calls: list[Pairs] = []

    def __call__(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        assert (np.diff(i) >= 0).all()
        assert (j > i).all()
        self.calls.append(list(zip(i.tolist(), j.tolist(), strict=True)))
        return np.asarray(self.edges[i, j])

    @property
    def pairs(self) -> Pairs:
        return [pair for call in self.calls for pair in call]


def nothing_ruled_out(n: int) -> tuple[Float32, Float32]:
    return np.ones((n, 1), np.float32), np.zeros(n, np.float32)


def test_a_bound_is_half_of_the_threshold_less_half_of_what_the_sketch_leaves_out() -> None:
    sketch = np.array([[3, 0], [0, 0], [3, 4]], np.float32)
    bound = sketch_bound(sketch, np.array([25, 4, 25], np.float32), np.array([10, 1, 10], np.float32))
    assert bound.dtype == np.float32
    # And a hundred-thousandth of the squared norm less, for the error of sums.
    assert bound.tolist() == pytest.approx([10 - 8 - 25e-5, 1 - 2 - 4e-5, 10 - 25e-5], rel=1e-6)


def test_a_pair_at_its_bound_is_ruled_out() -> None:
    sketch = np.array([[1], [2], [3]], np.float32)
    bound = np.array([0.5, 1.5, 2.5], np.float32)  # 2 = .5 + 1.5; 3 = .5 + 2.5; 6 > 1.5 + 2.5
    assert open_pairs(sketch, bound) == [(1, 2)]


@pytest.mark.parametrize("n", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_each_pair_is_open_once_and_no_row_with_itself(n: int) -> None:
    assert open_pairs(*nothing_ruled_out(n)) == every_pair(n)


def test_blocks_are_of_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    assert [(start, pairs.shape) for start, pairs in blocks(*nothing_ruled_out(5))] == [
        (0, (2, 5)),
        (2, (2, 3)),
        (4, (1, 1)),
    ]


@pytest.mark.parametrize(
    ("edges", "roots"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        ([(1, 2)], [0, 1, 1, 3, 4, 5]),
        ([(4, 5), (3, 4), (2, 3), (1, 2), (0, 1)], [0] * 6),
        ([(0, 5), (2, 5), (3, 4)], [0, 1, 0, 3, 3, 0]),
        ([(1, 5), (2, 5), (0, 2)], [0, 0, 0, 3, 4, 0]),
    ],
)
def test_the_root_of_a_component_is_its_smallest_row(edges: Pairs, roots: list[int]) -> None:
    out = np.arange(6)
    link(out, np.array([i for i, _ in edges], np.intp), np.array([j for _, j in edges], np.intp))
    assert out.tolist() == roots


def test_components_that_exist_are_joined_whole() -> None:
    roots = np.array([0, 0, 2, 2, 4, 4])
    link(roots, np.array([3]), np.array([5]))
    assert roots.tolist() == [0, 0, 2, 2, 2, 2]
    link(roots, np.array([1]), np.array([4]))
    assert roots.tolist() == [0] * 6


@pytest.mark.parametrize("n", [2, 40, BLOCK + 60])
def test_pairs_without_an_edge_are_all_tested_once(n: int) -> None:
    test, roots = Watched(np.zeros((n, n), bool)), np.arange(n)
    link_similar(roots, *nothing_ruled_out(n), test)
    assert roots.tolist() == list(range(n))
    assert set(test.pairs) == set(every_pair(n))
    # The first pair of each row comes again.
    assert len(test.pairs) <= len(every_pair(n)) + n


def test_what_the_sketch_rules_out_is_not_tested() -> None:
    test, roots = Watched(np.ones((4, 4), bool)), np.arange(4)
    sketch = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    link_similar(roots, sketch, np.full(4, 0.25, np.float32), test)
    assert roots.tolist() == [0, 1, 0, 1]
    assert set(test.pairs) == {(0, 2), (1, 3)}


@pytest.mark.parametrize("n", [50, BLOCK + 60])
def test_in_one_large_group_a_few_pairs_a_row_are_tested(n: int) -> None:
    test, roots = Watched(np.ones((n, n), bool)), np.arange(n)
    link_similar(roots, *nothing_ruled_out(n), test)
    assert roots.tolist() == [0] * n
    assert len(test.pairs) == len(set(test.pairs)) < 8 * n


def test_pairs_that_were_settled_are_dropped_even_where_few_are_open() -> None:
    n = 12
    test, roots = Watched(np.ones((n, n), bool)), np.arange(n)
    link_similar(roots, *nothing_ruled_out(n), test)
    assert len(test.pairs) == n - 1


def test_few_pairs_are_tested_before_the_settled_ones_are_dropped_then_twice_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FEW", 10)
    n = 30
    test = Watched(np.zeros((n, n), bool))
    link_similar(np.arange(n), *nothing_ruled_out(n), test)
    sizes = [len(call) for call in test.calls if call]
    # One a row (the 29 with another row behind it, in three parts), then all 435.
    rows, pairs = sizes[: sizes.index(max(sizes))], sizes
    assert sum(sizes) == 29 + 435
    assert rows[0] in range(10, 20)
    assert len(pairs) <= 9
    late = pairs[len(pairs) - next(k for k in range(1, len(pairs)) if sum(pairs[-k:]) == 435) :]
    assert late[0] in range(10, 20)
    assert late[1] in range(20, 40)


def test_pairs_settled_by_the_first_of_each_row_are_not_listed_in_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two walls: the first pair of each row joins them, and only pairs between the walls are left."""
    n = 60
    group = np.arange(n) % 2
    same = group[:, None] == group
    test, roots = Watched(same), np.arange(n)
    sketch = np.eye(2, dtype=np.float32)[group]
    link_similar(roots, sketch, np.full(n, 0.25, np.float32), test)
    assert roots.tolist() == group.tolist()
    assert len(test.pairs) == n - 2


def test_a_first_step_is_so_many_pairs() -> None:
    n = 100  # 4,950 pairs
    test = Watched(np.zeros((n, n), bool))
    link_similar(np.arange(n), *nothing_ruled_out(n), test)
    sizes = [len(call) for call in test.calls if call]
    assert sizes[0] == n - 1
    assert sizes[1] in range(FEW, 2 * FEW)
