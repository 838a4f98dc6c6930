"""A search on a GPU finds what a scan of all finds, to the last bit. An index in RAM stands in for the GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem import Memory
from vidmem.records import Float32
from vidmem.store import Store, VectorCache, gpu_scan, scan
from vidmem.store.first_passes import FirstPasses
from vidmem.store.gpu_scan import MOST_ROWS, GpuScan, gpu_for, upload

from .making import DT, DV, add, info, track
from .test_first_pass import SETS, clustered, gaussian

NONE, NO_SCORES = np.empty(0, np.int64), np.empty(0, np.float32)
THRESHOLDS = (-1.0, -0.2, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999, 1.0)


class Processor:
    """FAISS's flat index in RAM, whose sums are wrong by `wrong` times what those of a GPU may be, up or down."""

    def __init__(self, dim: int, wrong: float = 1.0) -> None:
        import faiss

        self.index, self.dim, self.wrong = faiss.IndexFlatIP(dim), dim, wrong
        self.asked: list[int] = []
        self.longest = 0.0
        self.rng = np.random.default_rng(0)

    def add(self, wide: Float32) -> None:
        self.index.add(wide)
        self.longest = max(self.longest, float(np.linalg.norm(wide, axis=1).max()))

    def search(self, queries: Float32, count: int) -> tuple[Float32, NDArray[np.int64]]:
        assert count <= MOST_ROWS  # more is an error on a GPU
        assert np.array_equal(queries, queries.astype(np.float16).astype(np.float32))
        self.asked.append(count)
        dots, rows = self.index.search(queries, self.index.ntotal)
        slack = self.wrong * self.dim * 2.0**-22 * self.longest * float(np.linalg.norm(queries))
        dots = dots + self.rng.choice([-slack, slack], dots.shape).astype(np.float32)
        order = np.argsort(-dots[0], kind="stable")[:count]
        return dots[:, order], rows[:, order]


def scanner(half: NDArray[np.float16], wrong: float = 0.95) -> GpuScan:
    return GpuScan(Processor(half.shape[1], wrong), half)


def same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one[0], other[0]) and one[1].tobytes() == other[1].tobytes())


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("dim", [1, 24, 130])
def test_a_search_finds_the_same_to_the_last_bit(make: Callable[..., Float32], dim: int) -> None:
    half = make(500, dim).astype(np.float16)
    gpu = scanner(half)
    for query in np.concatenate([gaussian(3, dim, 7), make(2, dim, 3)]):
        for threshold in THRESHOLDS:
            found = gpu.at_least(half, query, threshold, NONE)
            assert found is not None
            assert same(found, scan.at_least(half, query, threshold))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 400), make=st.sampled_from(SETS), data=st.data())
def test_a_search_whose_limit_is_a_product_finds_the_same(
    seed: int, n: int, make: Callable[..., Float32], data: st.DataObject
) -> None:
    half = make(n, 24, seed).astype(np.float16)
    query = gaussian(1, 24, seed + 2)[0]
    _, dots = scan.best(half, query, n)
    edge = np.float32(data.draw(st.sampled_from(dots.tolist())))
    limit = float(np.nextafter(edge, np.float32(data.draw(st.sampled_from([-2, 2])))))
    changed = np.unique(data.draw(st.lists(st.integers(0, n - 1), max_size=5))).astype(np.int64)
    old = half.copy()
    old[changed] = 0
    known = data.draw(st.integers(1, n))
    others = np.union1d(changed, np.arange(known, n))
    for least in (float(edge), limit):
        found = scanner(old[:known]).at_least(half, query, least, others)
        assert found is not None
        assert same(found, scan.at_least(half, query, least))


def test_rows_would_be_lost_without_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    half, lost = gaussian(2000, 130).astype(np.float16), 0
    rounded = GpuScan._rounded
    monkeypatch.setattr(GpuScan, "_rounded", lambda self, query: (rounded(self, query)[0], 0.0))
    gpu = scanner(half)
    for query in gaussian(20, 130, 7):
        limit = float(np.nextafter(scan.best(half, query, 50)[1][-1], np.float32(-2)))
        found = gpu.at_least(half, query, limit, NONE)
        lost += found is not None and len(found[0]) < 50
    assert lost


def test_the_margin_is_small() -> None:
    """A margin of a hundredth would make every search look at many rows."""
    query = gaussian(1, 256, 3)[0]
    _, margin = scanner(gaussian(300, 256).astype(np.float16))._rounded(query)
    assert margin < 5e-4


def test_a_search_asks_for_more_rows_until_one_does_not_answer() -> None:
    half = np.repeat(gaussian(1, 16), 3000, axis=0).astype(np.float16)
    half[1000:] = clustered(2000, 16, 5)
    index = Processor(16)
    gpu = GpuScan(index, half)
    query = half[0].astype(np.float32)
    found = gpu.at_least(half, query, 0.999, NONE)
    assert found is not None
    assert len(found[0]) >= 1000
    assert index.asked == [128, 512, 2048]


def test_where_more_rows_may_answer_than_a_gpu_gives_the_processor_answers() -> None:
    half = gaussian(3000, 16).astype(np.float16)
    index = Processor(16)
    assert GpuScan(index, half).at_least(half, gaussian(1, 16, 9)[0], -0.9, NONE) is None
    assert index.asked == [128, 512, 2048]
    assert GpuScan(index, half).nearest(gaussian(1, 16, 9)[0], MOST_ROWS + 1, NONE) is None


@pytest.mark.parametrize("make", SETS)
def test_the_nearest_rows_and_a_bound_of_the_others(make: Callable[..., Float32]) -> None:
    half = make(300, 24).astype(np.float16)
    query, others = gaussian(1, 24, 4)[0], np.array([5, 299])
    found = scanner(half).nearest(query, 40, others)
    assert found is not None
    rows, bound = found
    assert set(others.tolist()) <= set(rows.tolist())
    left = np.setdiff1d(np.arange(300), rows)
    assert (half[left].astype(np.float64) @ query <= bound).all()


def test_a_gpu_that_fails_gives_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    half = gaussian(300, 16).astype(np.float16)
    index = Processor(16)
    gpu = GpuScan(index, half)

    def fails(queries: Float32, count: int) -> Any:
        raise RuntimeError("Error in allocMemory\nat GpuResources.cpp")

    index.search = fails  # type: ignore[method-assign]
    assert gpu.at_least(half, gaussian(1, 16)[0], 0.5, NONE) is None
    assert not gpu.sound
    assert "Error in allocMemory)" in caplog.text
    del index.search  # type: ignore[misc]
    assert gpu.nearest(gaussian(1, 16)[0], 5, NONE) is None


@pytest.mark.parametrize(
    ("device", "gpu"),
    [(None, 0), ("cuda", 0), ("cuda:1", 1), ("cpu", None), ("mps", None), ("cuda:x", None), ("cuda:-1", None)],
)
def test_which_gpu_searches(device: str | None, gpu: int | None) -> None:
    assert gpu_for(device) == gpu


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> list[Processor]:
    """A machine with one GPU; the indexes that were made on it."""
    made: list[Processor] = []

    def index(dim: int, gpu: int) -> Processor:
        made.append(Processor(dim))
        return made[-1]

    monkeypatch.setattr(gpu_scan, "_gpus", lambda: 1)
    monkeypatch.setattr(gpu_scan, "_index", index)
    monkeypatch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 64)
    monkeypatch.setattr("vidmem.store.first_passes.PATIENCE", 2)
    return made


@pytest.mark.usefixtures("one_gpu")
def test_the_bytes_on_gpus_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vidmem")
    half = gaussian(300, 16).astype(np.float16)
    gc.collect()
    monkeypatch.setattr(gpu_scan, "MOST_BYTES", gpu_scan._held + half.nbytes)
    first = upload(half, 0)
    assert first is not None
    assert upload(half, 0) is None
    assert "too many for the GPU's share" in caplog.text
    del first
    gc.collect()
    assert upload(half, 0) is not None


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_that_does_not_take_the_vectors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(dim: int, gpu: int) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_scan, "_index", full)
    gc.collect()
    held = gpu_scan._held
    assert upload(gaussian(300, 16).astype(np.float16), 0) is None
    assert "the GPU does not take the vectors (out of memory)" in caplog.text
    assert gpu_scan._held == held
    assert upload(gaussian(300, 16).astype(np.float16), 1) is None  # there is no second GPU


def test_vectors_are_copied_after_some_searches(one_gpu: list[Processor]) -> None:
    half = gaussian(100, 16).astype(np.float16)
    passes = FirstPasses()
    assert passes.on_gpu(0, half, 0) is None  # nothing is known of them
    passes.up_to_date((half, half))
    assert [passes.on_gpu(0, half, 0) is None for _ in range(5)] == [True, True, False, False, False]
    assert passes.on_gpu(1, half, 0) is None  # each kind by itself
    assert passes.on_gpu(0, half.copy(), 0) is None
    assert len(one_gpu) == 1


def test_a_memory_that_is_written_to_between_questions_is_not_copied(one_gpu: list[Processor]) -> None:
    half = gaussian(400, 16).astype(np.float16)
    passes = FirstPasses()
    passes.up_to_date((half[:100], half[:100]))
    for n in range(101, 300):
        some = half[:n]
        passes = passes.changed(NONE, (some, some))
        assert passes.on_gpu(0, some, 0) is None
    assert not one_gpu


def test_what_was_copied_serves_later_states(one_gpu: list[Processor]) -> None:
    half = gaussian(1000, 16).astype(np.float16)
    old, more, many = half[:900], half[:910], half.copy()
    old_state = FirstPasses()
    old_state.up_to_date((old, old))
    for _ in range(3):
        old_state.on_gpu(0, old, 0)
    state = old_state.changed(np.array([3]), (more, more))
    known = state.on_gpu(0, more, 0)
    assert known is not None
    assert known[1].tolist() == [3, *range(900, 910)]
    state = state.changed(NONE, (many, many))
    assert [state.on_gpu(0, many, 0) is None for _ in range(4)] == [True, True, False, False]  # a tenth is too much
    assert [index.index.ntotal for index in one_gpu] == [900, 1000]
    known = old_state.on_gpu(0, old, 0)
    assert known is not None
    assert len(known[0]) == 900


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from(THRESHOLDS), make=st.sampled_from(SETS))
def test_first_passes_answer_from_the_gpu_and_else_from_codes(
    one_gpu: list[Processor], seed: int, threshold: float, make: Callable[..., Float32]
) -> None:
    half = make(400, 24, seed).astype(np.float16)
    query = gaussian(1, 24, seed + 1)[0]
    passes = FirstPasses()
    passes.up_to_date((half, half))
    for _ in range(6):
        found = passes.at_least(0, half, query, threshold, 0)
        assert found is None or same(found, scan.at_least(half, query, threshold))
    assert one_gpu[-1].asked


@pytest.fixture
def full(store: Store) -> Store:
    tracks = [track(i, visual=gaussian(1, DV, i % 290)[0]) for i in range(300)]
    tracks[7] = track(7, visual=np.zeros(DV, np.float32), text=np.zeros(DT, np.float32))
    add(store, store.begin_source(info()).id, tracks)
    return store


def answers(cache: VectorCache) -> list[tuple[list[int], bytes]]:
    found = []
    for seed in range(4):
        visual, text = gaussian(1, DV, seed)[0], gaussian(1, DT, seed)[0]
        for threshold in (-1.0, 0.1, 0.4, 0.8, 1.0):
            found.append(cache.range_search("visual", visual, threshold))
            found.append(cache.range_search("text", text, threshold))
            rows, _ = cache.range_search_many("visual", visual[None], threshold)[0]
            found.append((rows, NO_SCORES))  # a product of matrices rounds scores differently
        found += [cache.top("visual", visual, k) for k in (1, 10, 1000)]
        found.append(cache.top_product(text, visual, 5))
    return [(rows.tolist(), scores.tobytes()) for rows, scores in found]


def test_a_memory_answers_the_same_with_a_gpu(
    full: Store, one_gpu: list[Processor], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VectorCache(full, gpu=0)
    first = [answers(cache), answers(cache)]
    assert [len(index.asked) > 20 for index in one_gpu] == [True, True]  # visual and text
    add(full, full.sources()[0].id, [track(i) for i in range(300, 310)])
    later = cache.refreshed()
    assert len(later) == 310
    asked = len(one_gpu[0].asked)
    second = answers(later)
    assert len(one_gpu) == 2
    assert len(one_gpu[0].asked) > asked
    first.append(answers(cache))
    with monkeypatch.context() as patch:
        patch.setattr("vidmem.store.first_passes.FIRST_PASS_FROM", 1 << 40)
        assert second == answers(later)
        assert first == [answers(cache)] * 3


def test_nothing_is_copied_without_leave(full: Store, one_gpu: list[Processor]) -> None:
    answers(VectorCache(full))
    assert not one_gpu


@pytest.mark.parametrize(("device", "gpu"), [(None, 0), ("cpu", None), ("cuda:1", 1)])
def test_a_memory_searches_where_it_computes(device: str | None, gpu: int | None, tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m", device=device) as memory:
        vectors = memory.query.cache()
        assert isinstance(vectors, VectorCache)
        assert vectors._gpu == gpu


@pytest.mark.gpu
def test_a_real_gpu_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    assert faiss.get_num_gpus(), "FAISS sees no GPU: install faiss-gpu after faiss-cpu"
    monkeypatch.setattr("vidmem.store.first_passes.PATIENCE", 0)
    for make, dim in ((gaussian, 256), (clustered, 512)):
        half = make(120_000, dim).astype(np.float16)
        gpu = upload(half, 0)
        assert gpu is not None
        for query in np.concatenate([gaussian(5, dim, 7), half[:5].astype(np.float32)]):
            for threshold in THRESHOLDS[3:]:
                found = gpu.at_least(half, query, threshold, NONE)
                assert found is None or same(found, scan.at_least(half, query, threshold))
            rows, dots = scan.best(half, query, 40)
            near = gpu.nearest(query, 40, NONE)
            assert near is not None
            assert set(rows[dots > near[1]].tolist()) <= set(near[0].tolist())
