from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidmem.errors import StoreError, UsageError
from vidmem.records import Float32
from vidmem.store import Store, VectorCache, cache_build, cache_file
from vidmem.store.lock import holding

from .making import DT, DV, MODEL, add, info, track

N = 300


@pytest.fixture
def full(store: Store) -> Store:
    """300 tracks, one without direction."""
    row = store.begin_source(info())
    tracks = [track(i) for i in range(N)]
    tracks[7] = track(7, visual=np.zeros(DV, np.float32), text=np.zeros(DT, np.float32))
    add(store, row.id, tracks)
    return store


def query(seed: int = 1, dim: int = DV) -> Float32:
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)


def brute(store: Store, vector: Float32) -> Float32:
    """Cosines in float64 from the rows of SQLite themselves."""
    wide = np.array([t.visual for t in store.source_tracks(1)], np.float64)
    norms = np.maximum(np.linalg.norm(wide, axis=1), 1e-30)
    cosines: Float32 = (wide @ (vector / np.linalg.norm(vector)) / norms).astype(np.float32)
    return cosines


def test_a_memory_that_was_opened_empty_and_filled_by_another(folder: Path) -> None:
    with Store.open(folder, create=True) as writer, Store.open(folder) as reader:
        cache = VectorCache(reader)
        assert len(cache) == 0
        writer.set_model(MODEL)
        cache = cache.refreshed()
        add(writer, writer.begin_source(info()).id, [track(i) for i in range(3)])
        cache = cache.refreshed()
        assert cache.scores("visual", query(), np.arange(3)).shape == (3,)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(seed=st.integers(0, 10**6), threshold=st.floats(-1.1, 1.1))
def test_range_search_equals_brute_force(full: Store, seed: int, threshold: float) -> None:
    cache, want = VectorCache(full), brute(full, query(seed))
    rows, scores = cache.range_search("visual", query(seed), threshold)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_allclose(scores, want[rows], atol=1e-6)
    surely = np.abs(want - threshold) > 1e-6
    assert set(rows[surely[rows]]) == set(np.flatnonzero(surely & (want > threshold)))


@pytest.mark.parametrize("threads", [False, True])
def test_range_search_includes_the_boundary(full: Store, threads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if threads:
        monkeypatch.setattr("vidmem.store.scan.ONE_THREAD", 0)
    cache = VectorCache(full)
    every = np.arange(N)
    for seed in range(2):
        exact = cache.scores("visual", query(seed), every)
        for row in range(0, N, 97 if threads else 11):  # threads are slow beside other work
            at, _ = cache.range_search("visual", query(seed), float(exact[row]))
            above, _ = cache.range_search("visual", query(seed), float(np.nextafter(exact[row], np.float32(2))))
            np.testing.assert_array_equal(at, np.flatnonzero(exact >= exact[row]))
            np.testing.assert_array_equal(above, np.flatnonzero(exact > exact[row]))


@pytest.mark.parametrize("dim", [511, 512, 768])
def test_scores_decide_what_is_found_however_long_vectors_are(store: Store, dim: int) -> None:
    """Sums of numbers of one size, in another order, differ the more the longer they are."""
    rng = np.random.default_rng(0)
    signs = np.sign(rng.standard_normal((80, dim))).astype(np.float16) / np.float16(dim**0.5)
    scale = np.repeat(cache_build._inverse_norms(signs)[None], 2, axis=0)
    columns = np.tile(np.arange(len(signs)), (6, 1))
    cache = VectorCache(store, cache_file.CacheData("m", 1, columns, signs, signs, scale))
    for row in range(8):
        vector = signs[row].astype(np.float32)
        scores = cache.scores("visual", vector, np.arange(len(cache)))
        for threshold in (float(scores[row]), float(np.nextafter(scores[row], np.float32(2))), 1.0, 1.0 - 1e-6):
            wanted = np.flatnonzero(scores >= np.float32(threshold))
            np.testing.assert_array_equal(cache.range_search("visual", vector, threshold)[0], wanted)
            np.testing.assert_array_equal(cache.range_search_many("visual", vector[None], threshold)[0][0], wanted)


def test_a_track_without_direction_scores_zero(full: Store) -> None:
    cache = VectorCache(full)
    assert 7 in cache.range_search("visual", query(), 0.0)[0]
    assert 7 not in cache.range_search("visual", query(), 1e-6)[0]
    assert len(cache.range_search("text", query(dim=DT), -1.0)[0]) == N


@pytest.mark.parametrize("k", [0, 1, 5, N, N + 9])
def test_top_equals_brute_force(full: Store, k: int) -> None:
    cache = VectorCache(full)
    exact = cache.scores("visual", query(), np.arange(N))
    rows, scores = cache.top("visual", query(), k)
    np.testing.assert_array_equal(rows, np.argsort(-exact, kind="stable")[:k])
    np.testing.assert_array_equal(scores, exact[rows])


def test_the_best_of_many_that_are_nearly_alike(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their products with fp16 vectors are in another order than their cosines: one scan does not settle it."""
    rng = np.random.default_rng(3)
    middle = query(5).astype(np.float64)
    rows = middle / np.linalg.norm(middle) + 2e-4 * rng.standard_normal((N, DV))
    half = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    norms = np.linalg.norm(half.astype(np.float32), axis=1)
    old = VectorCache(full)._data
    cache = VectorCache(full, replace(old, visual=half, scale=np.stack([1 / norms, old.scale[1]])))
    exact = cache.scores("visual", query(5), np.arange(N))
    scans = counted(monkeypatch)
    for k in (1, 5, 40):
        found, scores = cache.top("visual", query(5), k)
        np.testing.assert_array_equal(found, np.argsort(-exact, kind="stable")[:k])
        np.testing.assert_array_equal(scores, exact[found])
    assert len(scans) == 3


def test_one_scan_settles_the_best(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, scans = VectorCache(full), counted(monkeypatch)
    cache.top("visual", query(), 1)
    assert not scans


def counted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The thresholds of the range searches from here on."""
    scans: list[float] = []
    search = VectorCache.range_search

    def counting(self: VectorCache, kind: Any, vector: Float32, threshold: float) -> Any:
        scans.append(threshold)
        return search(self, kind, vector, threshold)

    monkeypatch.setattr(VectorCache, "range_search", counting)
    return scans


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(seed=st.integers(0, 10**6), low=st.floats(-1.1, 0.5), row=st.integers(0, N - 1), up=st.booleans())
def test_a_search_narrowed_is_the_search_itself(full: Store, seed: int, low: float, row: int, up: bool) -> None:
    cache = VectorCache(full)
    high = float(cache.scores("visual", query(seed), np.array([row]))[0])  # on the very edge, or just above it
    high = float(np.nextafter(np.float32(high), np.float32(2))) if up else high
    wide = cache.range_search("visual", query(seed), min(low, high))
    kept = wide[1].copy()
    found = cache.narrowed("visual", query(seed), wide, high)
    for mine, direct in zip(found, cache.range_search("visual", query(seed), high), strict=True):
        np.testing.assert_array_equal(mine, direct)
    np.testing.assert_array_equal(wide[1], kept)


def test_scores_do_not_depend_on_the_other_rows(full: Store) -> None:
    cache = VectorCache(full)
    together = cache.scores("visual", query(), np.arange(N))
    alone = [cache.scores("visual", query(), np.array([i]))[0] for i in range(N)]
    np.testing.assert_array_equal(together, alone)


def test_reconstruct_gives_unit_vectors(full: Store) -> None:
    cache = VectorCache(full)
    rows = np.array([5, 0, 5, 7])
    got = cache.reconstruct("visual", rows)
    want = np.array([full.tracks([r + 1])[0].visual for r in rows])
    np.testing.assert_allclose(got, want, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert cache.dim("text") == DT


def test_columns_and_rows_of(full: Store) -> None:
    cache = VectorCache(full)
    columns = cache.columns
    assert len(columns) == len(cache) == N
    for i in (0, 17):
        t = full.tracks([i + 1])[0]
        got = [
            int(c[i])
            for c in (
                columns.ids,
                columns.source_ids,
                columns.ordinals,
                columns.start_ns,
                columns.end_ns,
                columns.frames,
            )
        ]
        assert got == [t.id, t.source_id, t.ordinal, t.start_ns, t.end_ns, t.frames]
    assert cache.rows_of(np.array([3, 1, 0, 999, -5])).tolist() == [2, 0, -1, -1, -1]


def test_an_empty_memory_answers(store: Store) -> None:
    cache = VectorCache(store)
    assert len(cache) == 0
    assert cache.range_search("visual", query(), 0.1)[0].tolist() == []
    assert cache.top("text", query(dim=DT), 3)[0].tolist() == []
    assert cache.rows_of(np.array([1])).tolist() == [-1]


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((1, DV))])
def test_a_query_of_another_length_fails(full: Store, bad: Float32) -> None:
    cache = VectorCache(full)
    for ask in (cache.range_search, cache.top):
        with pytest.raises(ValueError, match="query"):
            ask("visual", bad.astype(np.float32), 1)


@pytest.mark.parametrize("bad", [np.zeros(DV), np.full(DV, np.nan)])
def test_a_query_without_direction_fails(full: Store, bad: Float32) -> None:
    cache = VectorCache(full)
    for ask in (cache.range_search, cache.top):
        with pytest.raises(UsageError, match="no vector to compare with"):
            ask("visual", bad.astype(np.float32), 1)


def answers(store: Store) -> tuple[list[int], list[float]]:
    rows, scores = VectorCache(store).range_search("visual", query(), 0.2)
    return rows.tolist(), scores.tolist()


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "foreign":
        path.write_bytes(os.urandom(len(data)))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(data[:-100])
    elif how == "header only":
        path.write_bytes(data[:4096])
    else:
        data[{"flipped in header": 30, "flipped in payload": len(data) - 9, "flipped ids": 4100}[how]] ^= 4
        path.write_bytes(data)


@pytest.mark.parametrize(
    "how",
    [
        "deleted",
        "foreign",
        "empty",
        "truncated",
        "header only",
        "flipped in header",
        "flipped in payload",
        "flipped ids",
    ],
)
def test_a_damaged_file_is_rebuilt(full: Store, how: str, caplog: pytest.LogCaptureFixture) -> None:
    want = answers(full)
    path = full.cache_folder / cache_file.CACHE_FILE_NAME
    sound = path.read_bytes()
    damage(path, how)
    with caplog.at_level(logging.INFO, "vidmem.store"):
        assert answers(full) == want
    assert "rebuilt" in caplog.text
    assert path.read_bytes() == sound


def test_a_file_of_another_memory_is_not_trusted(full: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path / "other", create=True) as other:
        other.set_model(MODEL)
        row = other.begin_source(info())
        add(other, row.id, [track(i, seed=i + 1000) for i in range(N)])
        VectorCache(other)
        want = answers(full)
        shutil.copy(other.cache_folder / cache_file.CACHE_FILE_NAME, full.cache_folder)
    assert answers(full) == want


def test_a_sound_file_is_used(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    want = answers(full)

    def fail(*_: object) -> Iterator[None]:
        pytest.fail("read SQLite")
        yield

    monkeypatch.setattr("vidmem.store.reader.raw_tracks", fail)
    assert answers(full) == want


def assert_like_rebuilt(cache: VectorCache, store: Store) -> None:
    shutil.rmtree(store.cache_folder, ignore_errors=True)
    fresh = VectorCache(store)
    assert cache.generation == fresh.generation == store.extent()[0]
    for name in ("columns", "visual", "text", "scale"):
        np.testing.assert_array_equal(getattr(cache._data, name), getattr(fresh._data, name))


def test_refresh_takes_in_new_and_changed_tracks(full: Store) -> None:
    cache = VectorCache(full)
    assert cache.refreshed() is cache
    add(full, 1, [track(3, seed=999), track(N - 1, seed=998), track(N), track(N + 1)])
    before, cache = cache, cache.refreshed()
    assert (len(before), len(cache)) == (N, N + 2)  # whoever asks the one of before is not disturbed
    assert cache.top("visual", track(3, seed=999).visual, 1)[0].tolist() == [3]
    assert_like_rebuilt(cache, full)


def test_a_slightly_stale_file_is_kept_and_a_very_stale_one_is_written(full: Store) -> None:
    path = full.cache_folder / cache_file.CACHE_FILE_NAME
    VectorCache(full)
    before = path.read_bytes()
    add(full, 1, [track(N)])
    assert len(VectorCache(full)) == N + 1
    assert path.read_bytes() == before
    add(full, 1, [track(i) for i in range(N, 2 * N)])
    assert len(VectorCache(full)) == 2 * N
    assert path.read_bytes() != before


def test_refresh_after_a_removal(full: Store) -> None:
    cache = VectorCache(full)
    row = full.begin_source(info("b.mp4", "b"))
    add(full, row.id, [track(0), track(1)])
    full.remove_source(1)
    cache = cache.refreshed()
    assert cache.columns.ids.tolist() == [N + 1, N + 2]
    assert_like_rebuilt(cache, full)


def test_a_database_restored_under_its_cache(full: Store, folder: Path, tmp_path: Path) -> None:
    full.close()
    shutil.copy(folder / "memory.sqlite", tmp_path / "backup")
    with Store.open(folder, write=True) as store:
        add(store, 1, [track(i) for i in range(N, 2 * N)])
        VectorCache(store)
    shutil.copy(tmp_path / "backup", folder / "memory.sqlite")
    with Store.open(folder) as store:
        assert len(VectorCache(store)) == N


def test_what_was_forgotten_while_the_cache_was_built_is_not_written(full: Store, folder: Path) -> None:
    with Store.open(folder) as reader:
        stale = VectorCache(reader)
        full.remove_source(1)
        cache_build._write(reader, stale._data)
    assert not (full.cache_folder / cache_file.CACHE_FILE_NAME).exists()


def test_a_cache_that_another_process_is_writing_is_built_in_memory(full: Store) -> None:
    with holding(full.cache_lock):
        assert len(VectorCache(full)) == N
    assert not full.cache_folder.exists()


def test_what_a_killed_process_left_is_cleared(full: Store) -> None:
    full.cache_folder.mkdir()
    (full.cache_folder / "old.tmp").write_bytes(b"half a cache")
    VectorCache(full)
    assert [path.name for path in full.cache_folder.iterdir()] == [cache_file.CACHE_FILE_NAME]


def test_vectors_of_unequal_length_fail(full: Store) -> None:
    assert full._conn is not None
    full._conn.execute("UPDATE tracks SET visual = x'0000' WHERE id = 5")
    with pytest.raises(StoreError, match="unequal length"):
        VectorCache(full)


def test_importing_the_store_is_light() -> None:
    code = "import sys, vidmem.store; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "faiss", "sqlite_utils", "safetensors"} & set(out.split())


@pytest.mark.slow
def test_100_000_tracks_equal_brute_force(tmp_path: Path) -> None:
    with Store.open(tmp_path / "m", create=True) as store:
        store.set_model(MODEL)
        row = store.begin_source(info())
        rng = np.random.default_rng(0)
        for first in range(0, 100_000, 10_000):
            visual = rng.standard_normal((10_000, DV), dtype=np.float32)
            add(store, row.id, [track(first + i, seed=0, visual=v) for i, v in enumerate(visual)])
        cache = VectorCache(store)
        exact = cache.scores("visual", query(), np.arange(100_000))
        for threshold in (0.0, 0.3, 0.6):
            rows, _ = cache.range_search("visual", query(), threshold)
            np.testing.assert_array_equal(rows, np.flatnonzero(exact >= np.float32(threshold)))
