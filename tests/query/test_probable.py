"""What makes a track probable: the words, the picture, both together, and looking like one that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.making import DT, DV, MODEL, add, info, only, track

from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities, lift
from vidmem.query.search import find
from vidmem.records import Float32
from vidmem.store import Store, VectorCache

WORDS = Curve(0.0, 0.0, 1.0, 9, 9, 9)
"""As probable as the share says."""
PICTURE = Curve(-4.0, 8.0, 0.0, 9, 9, 9)
BOTH = Curve(-4.0, 8.0, 0.4, 9, 9, 9)
CALIBRATION = Calibration(
    0.3, 0.0, 0.3, 0.2, temperature=0.2, same_thing=0.5, probability=Probabilities(WORDS, PICTURE, BOTH)
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def leaning(dim: int, cosine: float, side: int = 1) -> Float32:
    """A unit vector with this cosine to the first axis."""
    vector = np.zeros(dim, np.float32)
    vector[0], vector[side] = cosine, np.sqrt(1 - cosine**2)
    return vector


def memory(store: Store, *tracks: tuple[float, Float32]) -> VectorCache:
    """Each track: the cosine of its text token to the question's, and its looks."""
    row = store.begin_source(info())
    add(store, row.id, [track(i, text=leaning(DT, told), visual=looks) for i, (told, looks) in enumerate(tracks)])
    return VectorCache(store)


ASKED, OTHER = leaning(DT, 1.0), leaning(DT, 0.0)


def rows(cache: VectorCache, **more: object) -> list[int]:
    hits = find(cache, CALIBRATION, ASKED, None, OTHER[None], **more)  # type: ignore[arg-type]
    return sorted(hits.rows.tolist())


def test_what_looks_like_a_probable_one_is_found_with_it(store: Store) -> None:
    """Another view of the thing, whose own name is not sure: cosines .95, .55 and .55 to the words."""
    cache = memory(store, (0.95, leaning(DV, 1.0)), (0.6, leaning(DV, 0.9)), (0.6, leaning(DV, 0.1)))
    assert rows(cache) == [0, 1]


def test_what_looks_like_it_is_not_found_when_nothing_is_probable(store: Store) -> None:
    cache = memory(store, (0.65, leaning(DV, 1.0)), (0.6, leaning(DV, 0.9)))
    assert rows(cache) == []
    assert rows(cache, min_probability=0.3) == [0, 1]


def test_what_is_named_otherwise_is_not_found_however_it_looks(store: Store) -> None:
    cache = memory(store, (0.95, leaning(DV, 1.0)), (0.1, leaning(DV, 0.95)))
    assert rows(cache) == [0]


def test_what_may_not_answer_lifts_nothing(store: Store) -> None:
    cache = memory(store, (0.95, leaning(DV, 1.0)), (0.6, leaning(DV, 0.9)))
    assert rows(cache, allowed=only([False, True])) == []


def test_a_sure_picture_needs_no_name_that_is_known(store: Store) -> None:
    """By words nothing, by the picture the first; both together find it all the same."""
    cache = memory(store, (0.3, leaning(DV, 0.98)), (0.4, leaning(DV, 0.2)))
    looks = leaning(DV, 1.0)
    assert rows(cache) == []
    assert find(cache, CALIBRATION, None, looks).rows.tolist() == [0]
    assert find(cache, CALIBRATION, ASKED, looks, OTHER[None]).rows.tolist() == [0]


def test_a_name_decides_between_pictures_that_are_alike(store: Store) -> None:
    cache = memory(store, (0.95, leaning(DV, 0.52, 1)), (0.05, leaning(DV, 0.52, 2)))
    looks = leaning(DV, 1.0)
    assert len(find(cache, CALIBRATION, None, looks)) == 2
    assert find(cache, CALIBRATION, ASKED, looks, OTHER[None], min_probability=0.6).rows.tolist() == [0]


def test_many_are_held_against_the_likeliest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = memory(store, *[(0.95, leaning(DV, 0.1, 2))] * 3, (0.99, leaning(DV, 1.0)), (0.6, leaning(DV, 0.9)))
    assert rows(cache) == [0, 1, 2, 3, 4]
    monkeypatch.setattr("vidmem.query.probable.ANCHORS", 1)
    assert rows(cache) == [0, 1, 2, 3, 4]


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 0.95), st.floats(0, 1))
def test_likeness_never_lowers_and_more_of_it_lifts_no_less(
    p: float, a: float, b: float, same: float, sure: float
) -> None:
    """And what only looks like a thing is never surer than that."""
    low, high = min(a, b), max(a, b)
    less, more = lift(np.array([p, p]), np.array([[low], [high]]), np.array([sure]), same)
    assert np.float32(p) <= less <= more <= max(np.float32(p), np.float32(sure))
    same_looks = lift(np.array([p]), np.array([[same]]), np.array([sure]), same)
    assert same_looks[0] == pytest.approx(p, abs=1e-4)  # odds are clipped there


@given(
    st.floats(-3, 3),
    st.floats(0, 6),
    st.floats(0.05, 2),
    st.floats(0, 4),
    st.floats(0.02, 0.98),
    st.floats(0.01, 1),
    st.lists(st.floats(-1, 1), min_size=1, max_size=8),
)
def test_no_score_below_the_least_one_reaches_the_probability(
    bias: float, score: float, share: float, best: float, least: float, top: float, scores: list[float]
) -> None:
    curve = Curve(bias, score, share, 9, 9, 9, best)
    held = np.array([min(s, top) for s in scores])
    told = curve.at(held, np.ones(len(held)), top)
    assert (held[told >= np.float32(least)] >= curve.min_score(least, top)).all()


def test_a_question_that_nobody_fitted_fails_with_a_floor(store: Store) -> None:
    cache = memory(store, (0.95, leaning(DV, 1.0)))
    bare = replace(CALIBRATION, probability=None)
    assert find(cache, bare, ASKED, None, OTHER[None]).rows.tolist() == [0]
    with pytest.raises(Exception, match="not calibrated"):
        find(cache, bare, ASKED, None, OTHER[None], min_probability=0.5)


def test_one_pass_over_the_tracks_finds_the_sure_and_the_weak(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = memory(store, (0.9, leaning(DV, 0.9)), (0.9, leaning(DV, 0.45)), (0.9, leaning(DV, 0.0)))
    scans: list[Any] = []
    search = VectorCache.range_search

    def counting(self: VectorCache, *arguments: Any) -> Any:
        scans.append(arguments)
        return search(self, *arguments)

    monkeypatch.setattr(VectorCache, "range_search", counting)
    hits = find(cache, CALIBRATION, None, leaning(DV, 1.0))
    assert sorted(hits.rows.tolist()) == [0, 1]  # .96, and .40 raised by its likeness
    assert len(scans) == 1


def test_what_is_less_probable_than_two_fifths_of_the_floor_is_not_raised(store: Store) -> None:
    """Shares by text cosine t against an axis at a right angle to it, at the temperature of .2."""

    def at(share: float) -> float:
        logit = 0.2 * float(np.log(share / (1 - share)))
        # cos a - sin a = logit
        return float(np.cos(np.arccos(logit / np.sqrt(2)) - np.pi / 4))

    looks = leaning(DV, 1.0)
    assert rows(memory(store, (at(0.99), looks), (at(0.22), looks), (at(0.18), looks))) == [0, 1]


@pytest.mark.parametrize("floor", [0.2, 0.5, 0.9])
def test_by_both_two_searches_find_what_one_by_the_picture_finds(
    store: Store, monkeypatch: pytest.MonkeyPatch, floor: float
) -> None:
    rng = np.random.default_rng(0)
    tracks = [(float(told), leaning(DV, float(alike))) for told, alike in rng.uniform(-1, 1, (300, 2))]
    cache = memory(store, *tracks)
    contrast = np.array([OTHER, leaning(DT, -0.2), leaning(DT, 0.1, 2)])
    found: list[dict[int, float]] = []
    kinds: list[list[str]] = []
    search = VectorCache.range_search

    def counting(self: VectorCache, *arguments: Any) -> Any:
        kinds[-1].append(arguments[0])
        return search(self, *arguments)

    monkeypatch.setattr(VectorCache, "range_search", counting)
    for gain in (0.05, 9.0):  # never worth it
        monkeypatch.setattr("vidmem.query.probable._GAIN", gain)
        kinds.append([])
        hits = find(cache, CALIBRATION, ASKED, leaning(DV, 1.0), contrast, min_probability=floor)
        assert hits.probability is not None
        found.append(dict(zip(hits.rows.tolist(), hits.probability.tolist(), strict=True)))
    assert kinds == [["text", "visual"], ["visual"]]
    assert found[0].keys() == found[1].keys()
    assert all(abs(found[0][row] - found[1][row]) < 1e-5 for row in found[0])
    assert len(found[0]) > 3


@given(
    st.floats(-6, 4),
    st.floats(0.1, 20),
    st.floats(0.05, 2),
    st.floats(0.02, 0.98),
    st.floats(0.01, 0.99),
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=8),
)
def test_no_score_below_the_least_one_of_a_share_reaches_the_probability(
    bias: float, score: float, share: float, least: float, most: float, tracks: list[tuple[float, float]]
) -> None:
    curve = Curve(bias, score, share, 9, 9, 9)
    held = np.array([min(s, most) for _, s in tracks])
    scores = np.array([s for s, _ in tracks])
    told = curve.at(scores, held)
    assert (scores[told >= np.float32(least)] >= curve.min_score(least, None, most)).all()
