from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.errors import StoreError
from vidmem.fleet import bounds
from vidmem.fleet.bounds import Bounds, bounds_of
from vidmem.records import Float32
from vidmem.store import Store, VectorCache
from vidmem.store.cache_build import _inverse_norms, _weighed
from vidmem.store.cache_file import CacheData


def cache_of(vectors: NDArray[np.floating], confidence: Float32 | None = None) -> VectorCache:
    """A cache of these vectors, `(n, D)`, both as visual and as text vectors."""
    n = len(vectors)
    half = np.asarray(vectors, np.float16)
    text, scale = _weighed(half, np.ones(n, np.float32) if confidence is None else confidence)
    columns = np.zeros((6, n), np.int64)
    columns[0] = np.arange(n)
    data = CacheData("test", 1, columns, half, text, np.stack([_inverse_norms(half), scale]))
    return VectorCache(cast(Store, None), data)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros(vectors.shape), where=norms > 0)


def best(cache: VectorCache, kind: bounds.Kind, query: Float32) -> float:
    return float(cache.scores(kind, query, np.arange(len(cache))).max())


@st.composite
def caches(draw: st.DrawFn) -> tuple[VectorCache, np.random.Generator]:
    """Vectors in clusters of any tightness, some alike, some 0, some unsure."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    n, dim = draw(st.integers(1, 300)), draw(st.sampled_from([2, 3, 8, 33, 128]))
    things = rng.standard_normal((draw(st.integers(1, 12)), dim))
    spread = draw(st.sampled_from([0, 1e-4, 0.05, 0.3, 2]))
    vectors = unit(unit(things[rng.integers(0, len(things), n)]) + spread * rng.standard_normal((n, dim)) / dim**0.5)
    vectors[rng.random(n) < draw(st.sampled_from([0, 0.1, 1]))] = 0
    sure = draw(st.sampled_from([0, 0.5, 1]))
    confidence = np.where(rng.random(n) < sure, 1, rng.random(n)).astype(np.float32)
    return cache_of(vectors, confidence), rng


@settings(deadline=None, max_examples=150)
@given(caches())
def test_no_track_is_above_the_bound(made: tuple[VectorCache, np.random.Generator]) -> None:
    cache, rng = made
    found = bounds_of(cache)
    for kind in bounds.KINDS:
        dim = cache.dim(kind)
        rows = rng.integers(0, len(cache), 6)
        own = cache.reconstruct(kind, rows)
        near = own + 0.2 * rng.standard_normal(own.shape) / dim**0.5
        centres = found.kinds[kind].centres[:6]
        for query in unit(np.concatenate([rng.standard_normal((6, dim)), own, -own, near, centres, -centres])):
            if query.any():
                q = query.astype(np.float32)
                assert best(cache, kind, q) <= found.upper(kind, q)


def test_the_bound_of_tracks_that_are_all_alike_is_their_cosine() -> None:
    rng = np.random.default_rng(0)
    cache = cache_of(np.repeat(unit(rng.standard_normal((1, 64))), 50, 0))
    for query in unit(rng.standard_normal((20, 64))).astype(np.float32):
        assert bounds_of(cache).upper("visual", query) == pytest.approx(best(cache, "visual", query), abs=1e-3)


def test_the_bound_of_one_track() -> None:
    rng = np.random.default_rng(1)
    vector = unit(rng.standard_normal((1, 32)))
    found = bounds_of(cache_of(vector))
    assert found.tracks == 1
    assert found.upper("text", vector[0].astype(np.float32)) == pytest.approx(1, abs=1e-3)
    assert found.upper("text", -vector[0].astype(np.float32)) == pytest.approx(-1, abs=1e-3)


def test_tracks_without_a_direction_score_0_and_an_empty_shard_has_nothing() -> None:
    query = np.eye(8, dtype=np.float32)[0]
    assert 0 <= bounds_of(cache_of(np.zeros((5, 8)))).upper("visual", query) < 1e-3
    empty = bounds_of(cache_of(np.zeros((0, 8))))
    assert empty.tracks == 0
    assert empty.upper("visual", query) == -np.inf


def test_unsure_text_vectors_have_lower_bounds() -> None:
    vectors = np.repeat(np.eye(16)[:1], 9, 0)
    found = bounds_of(cache_of(vectors, np.full(9, 0.25, np.float32)))
    query = np.eye(16, dtype=np.float32)[0]
    assert found.upper("text", query) == pytest.approx(0.25, abs=1e-3)
    assert found.upper("visual", query) == pytest.approx(1, abs=1e-3)


def test_shards_of_other_places_are_pruned() -> None:
    rng = np.random.default_rng(2)
    places = unit(rng.standard_normal((2, 6, 128)))

    def shard(things: NDArray[np.float64]) -> VectorCache:
        return cache_of(unit(things[rng.integers(0, 6, 400)] + 0.3 * rng.standard_normal((400, 128)) / 128**0.5))

    here, there = shard(places[0]), shard(places[1])
    for query in places[0].astype(np.float32):
        assert bounds_of(here).upper("visual", query) > 0.9
        assert bounds_of(there).upper("visual", query) < 0.6


def test_a_bound_that_is_lower_by_a_tenth_would_be_wrong() -> None:
    """The other tests of this file can fail: bounds are not far above what they bound."""
    rng = np.random.default_rng(3)
    cache = cache_of(unit(rng.standard_normal((40, 64))))
    found, queries = bounds_of(cache), cache.reconstruct("visual", np.arange(40))
    assert sum(best(cache, "visual", q) > found.upper("visual", q) - 0.1 for q in queries) == 40


def test_the_same_tracks_give_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    vectors = unit(rng.standard_normal((500, 48)))
    for name in ("a", "b"):
        bounds_of(cache_of(vectors)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_bounds_come_back_from_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for n in (0, 3, 200):
        made = bounds_of(cache_of(unit(rng.standard_normal((n, 24)))))
        made.save(tmp_path / "bounds")
        back = Bounds.load(tmp_path / "bounds")
        assert back.tracks == n
        query = unit(rng.standard_normal(24)).astype(np.float32)
        assert back.upper("visual", query) == made.upper("visual", query)
    with pytest.raises(ValueError, match="shape"):
        back.upper("visual", np.ones(5, np.float32))


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "nan", "shape"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "bounds"
    bounds_of(cache_of(unit(np.random.default_rng(6).standard_normal((30, 8))))).save(path)
    arrays = load_file(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "other":
        arrays["head"][0] = 9
        save_file(arrays, path)
    elif damage == "nan":
        arrays["text.rest"][0] = np.nan
        save_file(arrays, path)
    else:
        arrays["visual.radius"] = arrays["visual.radius"][:-1]
        save_file(arrays, path)
    with pytest.raises(StoreError, match="seal it again"):
        Bounds.load(path)
