"""A search with a first pass finds what one without it finds, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.records import Float32
from vidmem.store import scan
from vidmem.store.first_codes import COLUMNS, WIDE_COLUMNS, Codes, Table, Tables, columns_for, encode, train
from vidmem.store.first_pass import (
    BLOCK_ROWS,
    FirstPass,
    _packed,
    _Part,
    _put,
    build,
    columns_of,
    works,
)
from vidmem.store.first_passes import FirstPasses

THRESHOLDS = (-1.0, -0.2, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999, 1.0)
NONE = np.empty(0, np.int64)


def unit(x: NDArray[Any]) -> Float32:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    out: Float32 = np.divide(x, norm, out=np.zeros_like(x, np.float64), where=norm > 0).astype(np.float32)
    return out


def gaussian(n: int, dim: int, seed: int = 0) -> Float32:
    return unit(np.random.default_rng(seed).standard_normal((n, dim)))


def clustered(n: int, dim: int, seed: int = 0) -> Float32:
    rng = np.random.default_rng(seed)
    return unit(gaussian(20, dim, seed)[rng.integers(0, 20, n)] + 0.5 * gaussian(n, dim, seed + 1))


def skewed(n: int, dim: int, seed: int = 0) -> Float32:
    """A steep spectrum and a mean far from 0, as encoders give."""
    scale = np.arange(1, dim + 1) ** -1.0
    return unit(np.random.default_rng(seed).standard_normal((n, dim)) * scale + 0.5 * scale)


def duplicated(n: int, dim: int, seed: int = 0) -> Float32:
    return gaussian(7, dim, seed)[np.arange(n) % 7]


def equal(n: int, dim: int, seed: int = 0) -> Float32:
    return np.repeat(gaussian(1, dim, seed), n, axis=0)


def opposite(n: int, dim: int, seed: int = 0) -> Float32:
    return gaussian(1, dim, seed) * np.where(np.arange(n) % 2, 1, -1)[:, None].astype(np.float32)


def nearly_equal(n: int, dim: int, seed: int = 0) -> Float32:
    return unit(equal(n, dim, seed) + 1e-3 * gaussian(n, dim, seed + 1))


def zero(n: int, dim: int, seed: int = 0) -> Float32:
    return np.zeros((n, dim), np.float32)


def some_zero(n: int, dim: int, seed: int = 0) -> Float32:
    out = gaussian(n, dim, seed)
    out[::3] = 0
    return out


def sparse(n: int, dim: int, seed: int = 0) -> Float32:
    """Vectors along single axes, and one direction that no other has."""
    return np.eye(dim, dtype=np.float32)[np.arange(n) * np.arange(n) % dim]


SETS: tuple[Callable[..., Float32], ...] = (
    gaussian, clustered, skewed, duplicated, equal, opposite, nearly_equal, zero, some_zero, sparse,
)  # fmt: skip


def queries(half: NDArray[np.float16], seed: int = 5) -> Float32:
    """A row, near a row, opposite to a row, and a random direction."""
    rng = np.random.default_rng(seed)
    rows = half[rng.integers(0, len(half), 2)].astype(np.float32)
    dim = half.shape[1]
    every = np.concatenate([rows, unit(rows + 0.4 * gaussian(2, dim, seed)), -rows[:1], gaussian(1, dim, seed)])
    return unit(every[np.linalg.norm(every, axis=1) > 0])


def ready(half: NDArray[np.float16], width: int | None = None) -> FirstPass:
    made = build(half, width)
    assert made is not None
    return FirstPass.of(made)


def upper(codes: Codes, half: NDArray[np.float16], query: Float32) -> NDArray[np.float64]:
    """The bound of every row."""
    columns, _ = encode(codes, half)
    question = Tables(codes).of(query)
    sums = np.take_along_axis(question.entries.T, columns, axis=0).sum(axis=1, dtype=np.float64)
    return np.asarray(question.base + sums / question.scale)


@pytest.fixture(autouse=True)
def never_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are looked at however many pass: otherwise few of these searches would use codes."""
    monkeypatch.setattr("vidmem.store.first_pass.MOST", 10.0)


def test_faiss_does_what_is_expected_of_it() -> None:
    assert works(COLUMNS)
    assert works(WIDE_COLUMNS)


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("dim", [1, 3, 24, 130])
def test_no_row_is_above_its_bound(make: Callable[..., Float32], dim: int) -> None:
    half = make(300, dim).astype(np.float16)
    codes = train(half)
    _, odd = encode(codes, half)
    for query in queries(half):
        exact = half.astype(np.float64) @ query
        assert (upper(codes, half, query) >= exact)[~odd].all()


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    dim=st.integers(1, 40),
    scale=st.floats(0.0, 1.0),
    width=st.sampled_from([8, 16, 80]),
)
def test_the_bound_holds_for_vectors_that_codes_were_not_learned_of(
    seed: int, dim: int, scale: float, width: int
) -> None:
    codes = train(skewed(200, dim, seed).astype(np.float16), width)
    half = (gaussian(100, dim, seed + 1) * np.float32(scale)).astype(np.float16)
    _, odd = encode(codes, half)
    for query in gaussian(3, dim, seed + 2):
        exact = half.astype(np.float64) @ query
        assert (upper(codes, half, query) >= exact)[~odd].all()


def worst(codes: Codes, half: NDArray[np.float16]) -> Float32:
    """For each row the query that its bound is tightest for: the direction of what the codes leave out of it."""
    columns, _ = encode(codes, half)
    left = (half.astype(np.float64) - codes.mean) @ codes.rotation.T.astype(np.float64)
    for group, (start, size) in enumerate(codes.groups):
        chosen = columns[:, int(np.flatnonzero(codes.columns == group)[0])]
        left[:, start : start + size] -= codes.centroids[group, chosen, :size]
    return unit(left @ codes.rotation)


@pytest.mark.parametrize("make", [gaussian, clustered, skewed])
def test_the_bound_holds_where_it_is_tightest(make: Callable[..., Float32]) -> None:
    half = make(400, 96).astype(np.float16)
    codes = train(half, 8)
    over = [
        upper(codes, half[i : i + 1], q)[0] - half[i].astype(np.float64) @ q for i, q in enumerate(worst(codes, half))
    ]
    assert 0 <= min(over) < 0.02


@pytest.mark.parametrize("make", [gaussian, clustered, skewed])
def test_a_bound_that_is_smaller_by_a_twentieth_would_be_seen(make: Callable[..., Float32]) -> None:
    half = make(400, 96).astype(np.float16)
    codes = train(half, 8)
    short = replace(codes, levels=codes.levels * np.float32(0.95))
    columns, _ = encode(codes, half)
    below = 0
    for row, query in enumerate(worst(codes, half)):
        question = Tables(short).of(query)
        bound = question.base + question.entries[np.arange(8), columns[row]].sum() / question.scale
        below += bool(bound < half[row].astype(np.float64) @ query)
    assert below > 0


def test_the_bound_is_close() -> None:
    half = gaussian(3000, 128).astype(np.float16)
    codes = train(half)
    for query in queries(half):
        over = upper(codes, half, query) - half.astype(np.float64) @ query
        assert over.min() >= 0
        assert over.mean() < 0.36  # measured: .34


@pytest.mark.parametrize("make", SETS)
def test_a_search_finds_the_same_to_the_last_bit(make: Callable[..., Float32]) -> None:
    half = make(700, 48).astype(np.float16)
    first = ready(half)
    for query in queries(half):
        for threshold in THRESHOLDS:
            rows, dots = scan.at_least(half, query, threshold)
            found = first.at_least(half, query, threshold, NONE)
            if found is None:  # every row may pass
                assert Tables(first.codes).of(query).below(threshold) < 0
                continue
            np.testing.assert_array_equal(found[0], rows)
            assert found[1].tobytes() == dots.tobytes()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), n=st.integers(64, 200), make=st.sampled_from(SETS), data=st.data())
def test_a_search_whose_limit_is_a_product_finds_the_same(
    seed: int, n: int, make: Callable[..., Float32], data: st.DataObject
) -> None:
    half = make(n, 16, seed).astype(np.float16)
    first = ready(half)
    for query in queries(half, seed):
        _, dots = scan.at_least(half, query, -2.0)
        limit = float(dots[data.draw(st.integers(0, n - 1))])
        for least in (limit, float(np.nextafter(np.float32(limit), np.float32(-2)))):
            rows, dots_above = scan.at_least(half, query, least)
            found = first.at_least(half, query, least, NONE)
            if found is not None:
                np.testing.assert_array_equal(found[0], rows)
                assert found[1].tobytes() == dots_above.tobytes()


def test_a_search_loses_rows_with_a_bound_that_is_smaller_by_a_twentieth(monkeypatch: pytest.MonkeyPatch) -> None:
    half = gaussian(400, 96).astype(np.float16)
    first = ready(half, 8)
    questions = worst(first.codes, half)
    limits = [float(np.nextafter(scan.best(half, q, 1)[1][0], np.float32(-1))) for q in questions]

    def lost() -> int:
        found = [first.at_least(half, q, limit, NONE) for q, limit in zip(questions, limits, strict=True)]
        return sum(one is not None and not len(one[0]) for one in found)

    assert lost() == 0
    monkeypatch.setattr(first, "_tables", Tables(replace(first.codes, levels=first.codes.levels * np.float32(0.95))))
    assert lost() > 0


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_nearest_rows_and_a_bound_of_the_others(
    make: Callable[..., Float32], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidmem.store.first_pass.PART", 4 * BLOCK_ROWS)
    monkeypatch.setattr(scan, "threads", lambda: threads)
    half = make(500, 32).astype(np.float16)
    first = ready(half)
    for query in queries(half):
        exact = half.astype(np.float64) @ query
        for count in (1, 16, 600):
            rows, bound = first.nearest(query, count, NONE)
            assert (np.diff(rows) > 0).all()
            assert (np.delete(exact, rows) <= bound).all()


@pytest.mark.parametrize("count", [1, 60, 80, 99, 100, 300])
def test_rows_whose_sums_are_0_are_not_taken_for_others(count: int) -> None:
    """FAISS gives the row -1 in place of these."""
    columns = np.random.default_rng(0).integers(0, 16, (100, 80)).astype(np.uint8)
    columns[::4] = 0
    entries = np.tile(np.arange(16) * 17, (80, 1)).astype(np.float32)
    sums = np.take_along_axis(entries.T, columns, axis=0).sum(axis=1)
    assert (sums[::4] == 0).all()
    rows, last = _Part(32, _packed(columns), 100).nearest(Table(entries, 0.0, 1.0), count)
    assert rows.min() >= 32
    assert len(set(rows.tolist())) == len(rows)
    assert (np.delete(sums, rows - 32) <= last).all()
    assert count < len(sums) or len(rows) == len(sums)


def test_codes_are_packed_and_read_again() -> None:
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 16, (77, 10)).astype(np.uint8)
    blocks = _packed(columns)
    np.testing.assert_array_equal(columns_of(blocks, np.arange(77)), columns)
    rows = np.array([0, 15, 16, 31, 32, 40, 76])
    new = rng.integers(0, 16, (7, 10)).astype(np.uint8)
    _put(blocks, rows, new)
    columns[rows] = new
    np.testing.assert_array_equal(columns_of(blocks, np.arange(77)), columns)


@pytest.mark.parametrize("changed", [[], [3], [0, 130, 131, 299]])
@pytest.mark.parametrize("more", [0, 1, 31, 200])
def test_changed_and_new_rows_get_codes(changed: list[int], more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_pass.PART", 4 * BLOCK_ROWS)
    half = clustered(300, 32).astype(np.float16)
    first = ready(half)
    new = np.concatenate([half, gaussian(more, 32, 9).astype(np.float16)])
    new[changed] = gaussian(len(changed), 32, 8).astype(np.float16)
    rows = np.array([*changed, *range(300, 300 + more)], np.int64)
    after = first.encoded(new, rows)
    assert len(after) == len(new)
    # The same as codes that were made at once.
    columns, odd = encode(first.codes, new)
    stored = after.stored()
    np.testing.assert_array_equal(columns_of(stored.blocks, np.arange(len(new))), columns)
    np.testing.assert_array_equal(after.odd, np.flatnonzero(odd))
    # Before they have codes, they are found because they are looked at always.
    for query in unit(new[rows].astype(np.float32)) if len(rows) else []:
        truth = scan.at_least(new, query, 0.4)
        for found in (first.at_least(new, query, 0.4, rows), after.at_least(new, query, 0.4, NONE)):
            assert found is not None
            np.testing.assert_array_equal(found[0], truth[0])
            assert found[1].tobytes() == truth[1].tobytes()


def test_the_same_vectors_give_the_same_codes() -> None:
    half = clustered(500, 24).astype(np.float16)
    one, two = build(half), build(half)
    assert one is not None
    assert two is not None
    assert one.blocks.tobytes() == two.blocks.tobytes()
    assert one.codes.centroids.tobytes() == two.codes.centroids.tobytes()


def test_too_few_vectors_have_no_first_pass() -> None:
    assert build(gaussian(20, 8).astype(np.float16)) is None
    assert build(np.empty((0, 8), np.float16)) is None


def test_a_low_threshold_is_left_to_a_scan_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_pass.MOST", 1 / 16)
    half = gaussian(3000, 32).astype(np.float16)
    first = ready(half)
    assert first.at_least(half, gaussian(1, 32, 7)[0], -0.5, NONE) is None
    assert first.at_least(half, gaussian(1, 32, 7)[0], 0.05, NONE) is None
    assert first.at_least(half, gaussian(1, 32, 7)[0], 0.95, NONE) is not None


def test_bytes_a_vector() -> None:
    assert columns_for(256) // 2 + 8 <= 48  # FAISS keeps the number of each row beside the codes


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """First passes for small matrices, used from the first scan on."""
    monkeypatch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 64)
    monkeypatch.setattr("vidmem.store.first_passes.PATIENCE", 0)


@pytest.mark.usefixtures("at_once")
def test_a_first_pass_is_taken_into_ram_after_some_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_passes.PATIENCE", 2)
    half, text = gaussian(100, 16).astype(np.float16), gaussian(100, 8).astype(np.float16)
    passes = FirstPasses()
    assert passes.of(0, half) is None
    assert passes.up_to_date((half, text)) is not None
    assert [passes.of(0, half) is None for _ in range(4)] == [True, True, False, False]
    assert passes.of(1, text) is None  # each kind by itself
    assert passes.of(0, half.copy()) is None  # other vectors, for all it knows
    monkeypatch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 101)
    assert passes.of(0, half) is None


@pytest.mark.usefixtures("at_once")
def test_new_rows_wait_for_codes_until_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_passes.FEW_NEW", 0.02)
    half = gaussian(1000, 16).astype(np.float16)
    old, some = half[:900], half[:910]
    passes = FirstPasses()
    passes.up_to_date((old, old))
    few = passes.changed(np.array([3]), (some, some))
    known = few.of(0, some)
    assert known is not None
    assert known[1].tolist() == [3, *range(900, 910)]
    many = few.changed(NONE, (half, half))
    known = many.of(0, half)
    assert known is not None
    assert (len(known[0]), len(known[1])) == (1000, 0)
    known = few.of(0, some)  # the older state is as it was
    assert known is not None
    assert len(known[0]) == 900


@pytest.mark.usefixtures("at_once")
def test_codes_are_learned_anew_when_a_memory_has_doubled() -> None:
    half = gaussian(400, 16).astype(np.float16)
    small, more = half[:200], half[:300]
    passes = FirstPasses()
    passes.up_to_date((small, small))
    kept = passes.changed(NONE, (more, more)).up_to_date((more, more))
    assert kept is not None
    assert [kind.trained for kind in kept] == [200, 200]
    anew = passes.changed(NONE, (half, half)).up_to_date((half, half))
    assert anew is not None
    assert [kind.trained for kind in anew] == [400, 400]


@pytest.mark.usefixtures("at_once")
def test_another_faiss_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.store.first_passes.works", lambda width: False)
    half = gaussian(100, 16).astype(np.float16)
    assert FirstPasses().up_to_date((half, half)) is None
