"""Scores by hand: one factor or the product of both, the threshold itself, ties, and which rows may answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store.making import DT, DV, MODEL, add, info, only, track

from vidmem.query.scores import Hits, hits_of, joined, nearest, scored
from vidmem.records import Float32
from vidmem.store import Store, VectorCache

TEXT, VISUAL = np.eye(DT, dtype=np.float32)[0], np.eye(DV, dtype=np.float32)[0]


def leaning(dim: int, cosine: float) -> Float32:
    """A vector with this cosine to the first axis; eighths are exact in fp16 before the norm is taken."""
    vector = np.zeros(dim, np.float32)
    vector[0], vector[1] = cosine, np.sqrt(1 - cosine**2)
    return vector


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VectorCache]:
    """Cosines to TEXT: .9, .5, .9, -.5, .2; to VISUAL: .5, .9, .9, -.5, .9."""
    with Store.open(tmp_path / "m", create=True) as store:
        store.set_model(MODEL)
        pairs = [(0.9, 0.5), (0.5, 0.9), (0.9, 0.9), (-0.5, -0.5), (0.2, 0.9)]
        tracks = [track(i, text=leaning(DT, t), visual=leaning(DV, v)) for i, (t, v) in enumerate(pairs)]
        add(store, store.begin_source(info()).id, tracks)
        yield VectorCache(store)


def floats(values: list[float]) -> Float32:
    return np.array(values, np.float32)


def test_one_factor_is_the_score() -> None:
    rows, cosines = np.array([4, 7]), floats([0.5, -0.25])
    hits = hits_of(rows, cosines, None)
    assert hits.rows is rows
    assert hits.score is hits.text is cosines
    assert hits.visual is hits.probability is None
    hits = hits_of(rows, None, cosines)
    assert hits.score is hits.visual is cosines
    assert hits.text is None


def test_the_product_of_two_negative_factors_is_negative() -> None:
    text, visual = floats([0.5, -0.5, -0.5, 0.5, 0.0]), floats([0.25, 0.25, -0.25, -0.25, -0.25])
    hits = hits_of(np.arange(5), text, visual)
    assert hits.score.tolist() == [0.125, -0.125, -0.125, -0.125, 0]
    assert hits.score.dtype == np.float32
    assert hits.text is text
    assert hits.visual is visual


def test_hits_are_ranked_by_the_probability_where_there_is_one() -> None:
    rows, score, probability = np.array([1, 2]), floats([0.5, 0.25]), floats([0.1, 0.9])
    assert Hits(rows, score).ranking is score
    assert Hits(rows, score, probability=probability).ranking is probability
    assert len(Hits(rows, score)) == 2


@pytest.mark.parametrize("index", [np.array([2, 0]), np.array([True, False, True])])
def test_taking_hits_takes_all_that_is_known_of_them(index: np.ndarray) -> None:
    hits = Hits(np.array([3, 5, 8]), floats([1, 2, 3]), floats([4, 5, 6]), floats([7, 8, 9]), floats([0, 0.5, 1]))
    some = hits.take(index)
    order = [2, 0] if index.dtype != bool else [0, 2]
    for name in ("rows", "score", "text", "visual", "probability"):
        assert getattr(some, name).tolist() == getattr(hits, name)[order].tolist()
    bare = Hits(np.array([3, 5, 8]), floats([1, 2, 3])).take(index)
    assert bare.text is bare.visual is bare.probability is None


def test_joined_hits_keep_what_is_known_of_both() -> None:
    a = Hits(np.array([3]), floats([1]), floats([2]), floats([3]), floats([0.5]))
    b = Hits(np.array([1]), floats([4]), floats([5]), floats([6]), floats([0.25]))
    both = joined(a, b)
    assert both.rows.tolist() == [3, 1]
    assert both.score.tolist() == [1, 4]
    assert both.text is not None
    assert both.visual is not None
    assert both.probability is not None
    assert (both.text.tolist(), both.visual.tolist(), both.probability.tolist()) == ([2, 5], [3, 6], [0.5, 0.25])
    for x, y in ((a, Hits(b.rows, b.score)), (Hits(a.rows, a.score), b)):
        bare = joined(x, y)
        assert bare.score.tolist() == [1, 4]
        assert bare.text is bare.visual is bare.probability is None


def test_by_one_vector_all_with_the_score_are_found(cache: VectorCache) -> None:
    hits = scored(cache, TEXT, None, 0.4)
    assert hits.rows.tolist() == [0, 1, 2]
    assert hits.text is not None
    np.testing.assert_allclose(hits.text, [0.9, 0.5, 0.9], atol=1e-3)
    assert hits.visual is None
    hits = scored(cache, None, VISUAL, 0.8, only([True, False, True, True, True]))
    assert hits.rows.tolist() == [2, 4]
    assert hits.text is None
    assert hits.visual is not None


def test_by_both_vectors_each_factor_and_the_product_have_the_score(cache: VectorCache) -> None:
    hits = scored(cache, TEXT, VISUAL, 0.4)
    assert hits.rows.tolist() == [0, 1, 2]  # .45, .45 and .81; of -.5 and -.5 the product is no match
    np.testing.assert_allclose(hits.score, [0.45, 0.45, 0.81], atol=1e-3)
    assert scored(cache, TEXT, VISUAL, 0.47).rows.tolist() == [2]  # each factor of the others is more
    assert scored(cache, TEXT, VISUAL, 0.4, only([True, False, True, True, True])).rows.tolist() == [0, 2]
    assert scored(cache, TEXT, VISUAL, 0.1).rows.tolist() == [0, 1, 2, 4]
    exact = scored(cache, TEXT, VISUAL, 0.4).score[1]
    assert 1 in scored(cache, TEXT, VISUAL, float(exact)).rows


def test_with_a_low_threshold_a_factor_below_it_is_still_no_match(cache: VectorCache) -> None:
    """The product of -.5 and -.5 counts as -.25, and each factor is less than that."""
    assert scored(cache, TEXT, VISUAL, -0.3).rows.tolist() == [0, 1, 2, 4]
    assert scored(cache, TEXT, VISUAL, -0.6).rows.tolist() == [0, 1, 2, 3, 4]


def test_the_nearest_come_best_first_and_of_equals_the_older(cache: VectorCache) -> None:
    hits = nearest(cache, TEXT, None, 3)
    assert hits.rows.tolist() == [0, 2, 1]
    assert hits.score is hits.text
    assert hits.visual is None
    assert nearest(cache, None, VISUAL, 2).rows.tolist() == [1, 2]
    assert nearest(cache, TEXT, None, 2, only([False, True, False, True, True])).rows.tolist() == [1, 4]
    hits = nearest(cache, TEXT, VISUAL, 9)
    assert hits.rows.tolist() == [2, 0, 1, 4, 3]
    assert hits.text is not None
    assert hits.visual is not None
    np.testing.assert_allclose(hits.score, hits.text * np.abs(hits.visual), atol=1e-6)
    assert nearest(cache, TEXT, VISUAL, 9, only([False, True, False, True, False])).rows.tolist() == [1, 3]
    assert nearest(cache, TEXT, None, 2, only([False] * 5)).rows.tolist() == []


def test_of_many_equal_scores_the_older_come_first(tmp_path: Path) -> None:
    with Store.open(tmp_path / "many", create=True) as store:
        store.set_model(MODEL)
        tracks = [track(i, text=leaning(DT, 0.5), visual=leaning(DV, 0.5)) for i in range(60)]
        add(store, store.begin_source(info()).id, tracks)
        cache = VectorCache(store)
    assert nearest(cache, TEXT, VISUAL, 40).rows.tolist() == list(range(40))
    odd = only(np.arange(60) % 2 == 1)
    assert nearest(cache, TEXT, None, 20, odd).rows.tolist() == list(range(1, 41, 2))
    assert nearest(cache, TEXT, VISUAL, 20, odd).rows.tolist() == list(range(1, 41, 2))


def test_one_vector_without_rows_is_searched_in_the_index(cache: VectorCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not look at every track."""
    monkeypatch.delattr(VectorCache, "scores")
    assert nearest(cache, TEXT, None, 3).rows.tolist() == [0, 2, 1]
    assert nearest(cache, None, VISUAL, 1).rows.tolist() == [1]


def test_the_product_beside_a_factor_of_nothing_is_nothing() -> None:
    hits = hits_of(np.arange(2), floats([0.0, -0.5]), floats([-0.5, 0.0]))
    assert hits.score.tolist() == [0, 0]
