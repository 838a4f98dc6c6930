"""Pairs of rows that look alike, by hand: which, in what order, and how many of a crowd."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.query import similar
from vidmem.query.similar import similar_pairs
from vidmem.records import Float32


def turned(*degrees: float) -> Float32:
    """Unit vectors in a plane at these angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def pairs(vectors: Float32, min_cosine: float) -> list[tuple[int, int]]:
    a, b = similar_pairs(vectors, min_cosine)
    assert a.dtype == b.dtype == np.intp
    return list(zip(a.tolist(), b.tolist(), strict=True))


def test_the_best_pair_comes_first_and_the_lower_row_of_a_pair() -> None:
    assert pairs(turned(0, 30, 40, 90), 0.8) == [(1, 2), (0, 1)]
    assert pairs(turned(40, 90, 30, 0), 0.8) == [(0, 2), (2, 3)]
    assert pairs(turned(0, 30, 40, 90), 0.76) == [(1, 2), (0, 1), (0, 2)]


def test_equal_pairs_come_in_the_order_of_rows() -> None:
    assert pairs(turned(0, 20, 40, 60), 0.9) == [(0, 1), (1, 2), (2, 3)]
    assert pairs(turned(20, 0, 40), 0.9) == [(0, 1), (0, 2)]


def test_the_minimum_itself_is_in_and_a_row_is_not_paired_with_itself() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert pairs(vectors, 1.0) == [(0, 1)]
    assert pairs(vectors, 0.0) == [(0, 1), (0, 2), (1, 2)]
    assert pairs(vectors, -1.0) == [(0, 1), (0, 2), (1, 2)]


def test_one_row_has_no_pairs() -> None:
    assert pairs(turned(5), -1.0) == []


def test_the_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = turned(*(7 * n * n for n in range(13)))
    whole = pairs(vectors, 0.7)
    assert len(whole) > 5
    monkeypatch.setattr(similar, "_BLOCK", 4)
    assert pairs(vectors, 0.7) == whole


def test_of_a_crowd_each_row_keeps_its_best_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "NEIGHBOURS", 1)
    assert pairs(turned(0, 10, 25, 45), 0.7) == [(0, 1), (1, 2), (2, 3)]  # each one's nearest
    monkeypatch.setattr(similar, "NEIGHBOURS", 2)
    assert pairs(turned(0, 10, 25, 45), 0.7) == [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]
    monkeypatch.setattr(similar, "NEIGHBOURS", 3)
    assert len(pairs(turned(0, 10, 25, 45), 0.7)) == 6


def clumps(count: int, each: int, dim: int = 300) -> tuple[Float32, NDArray[np.intp]]:
    """Vectors around orthogonal axes, and the clump of each, mixed."""
    which = np.random.default_rng(0).permutation(np.repeat(np.arange(count), each))
    noise = 0.02 * np.random.default_rng(1).standard_normal((len(which), dim))
    vectors = np.eye(dim)[which] + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), which


@pytest.mark.parametrize("block", [5, 1024])
def test_in_cells_all_pairs_of_clumps_are_found_best_first(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    vectors, which = clumps(4, 10)
    exact = pairs(vectors, 0.7)
    assert len(exact) == 4 * 45
    monkeypatch.setattr(similar, "EXACT", len(vectors) - 1)
    monkeypatch.setattr(similar, "CELL_NEIGHBOURS", 100)
    monkeypatch.setattr(similar, "_BLOCK", block)
    monkeypatch.setattr(similar, "CELL", 4)
    monkeypatch.setattr(similar, "CELLS_EACH", 10)  # all of the cells: none is missed
    monkeypatch.setattr(similar, "SKETCH", 1000)
    assert pairs(vectors, 0.7) == exact
    assert all(which[a] == which[b] for a, b in exact)


def test_in_cells_a_crowd_keeps_fewer_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = clumps(1, 40)
    monkeypatch.setattr(similar, "EXACT", 10)
    monkeypatch.setattr(similar, "CELL", 40)  # one cell
    monkeypatch.setattr(similar, "CELLS_EACH", 1)
    monkeypatch.setattr(similar, "CELL_NEIGHBOURS", 1)
    found = pairs(vectors, 0.0)
    cosines = vectors @ vectors.T - 3 * np.eye(40)
    best = {(min(i, int(j)), max(i, int(j))) for i, j in enumerate(cosines.argmax(1))}
    assert set(found) == best


def test_a_track_is_in_the_cells_of_its_nearest_centres_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Centres at 0, 60 and 120 degrees: with one cell each, neighbours across a border share none."""
    vectors = turned(0, 28, 60, 32, 120)
    monkeypatch.setattr(similar, "EXACT", 1)
    monkeypatch.setattr(similar, "CELL", 2)
    monkeypatch.setattr(similar, "CELLS_EACH", 1)
    assert pairs(vectors, 0.85) == [(0, 1), (2, 3)]
    monkeypatch.setattr(similar, "CELLS_EACH", 2)
    assert pairs(vectors, 0.85) == [(1, 3), (0, 1), (2, 3)]


def test_up_to_the_limit_all_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = turned(0, 28, 60, 32, 120)
    monkeypatch.setattr(similar, "EXACT", 5)
    monkeypatch.setattr(similar, "CELL", 2)
    monkeypatch.setattr(similar, "CELLS_EACH", 1)
    assert pairs(vectors, 0.85)[0] == (1, 3)


def test_no_more_than_four_threads_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)), raising=False)
    assert similar._cores() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {pid, 3}, raising=False)
    assert similar._cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert similar._cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert similar._cores() == 1


def test_cosines_that_differ_by_rounding_alone_are_equal() -> None:
    """They may have been multiplied in blocks of another size."""
    vectors = np.zeros((3, 3), np.float32)
    vectors[0, 0] = 1
    for i, cosine in ((1, 0.5), (2, 0.500003)):
        vectors[i, 0], vectors[i, i] = cosine, np.sqrt(1 - cosine**2)
    assert pairs(vectors, 0.4) == [(0, 1), (0, 2)]
    vectors[2] = (0.50003, 0, np.sqrt(1 - 0.50003**2))
    assert pairs(vectors, 0.4) == [(0, 2), (0, 1)]


def test_of_a_large_crowd_each_row_keeps_its_best_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "NEIGHBOURS", 5)
    vectors = np.random.default_rng(3).standard_normal((400, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.argsort(-(vectors @ vectors.T - 3 * np.eye(400)), axis=1)[:, :5].tolist()
    best = {(min(i, j), max(i, j)) for i, row in enumerate(nearest) for j in row}
    assert set(pairs(vectors, -1.0)) == best
