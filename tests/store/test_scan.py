"""Scans of an fp16 matrix where it lies, by FAISS's kernels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.records import Float32
from vidmem.store import scan


def matrix(n: int, dim: int, seed: int = 0) -> NDArray[np.float16]:
    rows = np.random.default_rng(seed).standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def query(dim: int, seed: int = 1) -> Float32:
    return matrix(1, dim, seed)[0].astype(np.float32)


@pytest.fixture(params=[False, True], ids=["one thread", "parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(scan, "ONE_THREAD", 0)
        monkeypatch.setattr(scan, "threads", lambda: 3)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("dim", [1, 7, 128])  # the kernels take 8 or 16 numbers at a time
def test_both_scans_equal_a_product(dim: int) -> None:
    half, wanted = matrix(100, dim), query(dim)
    truth = half.astype(np.float64) @ wanted
    rows, dots = scan.at_least(half, wanted, 0.05)
    np.testing.assert_array_equal(rows, np.flatnonzero(truth > 0.05))
    np.testing.assert_allclose(dots, truth[rows], atol=1e-6)
    for k in (1, 10, 100):
        rows, dots = scan.best(half, wanted, k)
        assert (np.diff(dots) <= 0).all()
        np.testing.assert_allclose(dots, np.sort(truth)[::-1][:k], atol=1e-6)
        np.testing.assert_allclose(truth[rows], dots, atol=1e-6)


@pytest.mark.usefixtures("parts")
def test_nothing_is_above_the_limit() -> None:
    rows, dots = scan.at_least(matrix(50, 16), query(16), 2.0)
    assert (len(rows), rows.dtype, len(dots), dots.dtype) == (0, np.int64, 0, np.float32)


def test_a_mapped_file_is_read_where_it_lies(tmp_path: Path) -> None:
    half = matrix(64, 16)
    half.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float16, "r", shape=half.shape)
    assert scan.best(mapped, query(16), 3)[0].tolist() == scan.best(half, query(16), 3)[0].tolist()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), n=st.integers(1, 70))
def test_threads_search_at_the_same_time(seed: int, n: int) -> None:
    half = matrix(n, 32, seed)
    questions = [query(32, i) for i in range(8)]
    alone = [scan.at_least(half, q, 0.0)[1].tobytes() for q in questions]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda q: scan.at_least(half, q, 0.0)[1].tobytes(), questions)) == alone
