"""Which tracks count as found, by hand: by thresholds, by shares, by probabilities, and one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeing import axis
from store.making import DT, DV, MODEL, add, frame, info, only, track

from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.query import probable, search
from vidmem.query.probable import curve_of, deciding, probabilities, share
from vidmem.query.question import Phrase, Question
from vidmem.query.scores import Hits
from vidmem.query.search import among, find, find_each, found_in_span, loose, name_tracks, nearest_in_span
from vidmem.records import Float32
from vidmem.store import Store, VectorCache, Within

TEXT, VISUAL = axis(DT, 0), axis(DV, 0)
PLAIN = Calibration(0.5, 0.0, 0.6, 0.4, temperature=0.5)
WORDS = Curve(-5.0, 10.0, 0.0, 9, 9, 9)
""".5 at a score of .5, .73 at .6, .27 at .4."""
FITTED = replace(PLAIN, same_thing=0.9, probability=Probabilities(WORDS, Curve(-6, 10, 0, 9, 9, 9), WORDS))


def leaning(dim: int, cosine: float, to: int = 1) -> Float32:
    vector = np.zeros(dim, np.float32)
    vector[0], vector[to] = cosine, np.sqrt(1 - cosine**2)
    return vector


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "m", create=True) as opened:
        opened.set_model(MODEL)
        yield opened


def memory(store: Store, *cosines: tuple[float, float], **more: Any) -> VectorCache:
    """A source of tracks with these cosines to TEXT and VISUAL; each looks like itself alone."""
    row = store.begin_source(info(str(len(store.sources())), str(len(store.sources()))))
    tracks = [
        track(i, text=leaning(DT, t), visual=leaning(DV, v, i + 1), start_ns=10 * i, end_ns=10 * i + 5)
        for i, (t, v) in enumerate(cosines)
    ]
    add(store, row.id, tracks, state="done", **more)
    return VectorCache(store)


def floats(*values: float) -> Float32:
    return np.array(values, np.float32)


def logistic(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))


def test_each_kind_of_question_has_its_threshold(store: Store) -> None:
    cache = memory(store, (0.7, 0.7), (0.55, 0.55), (0.3, 0.7), (0.7, 0.3), (0.55, 0.75))
    assert find(cache, PLAIN, TEXT, None).rows.tolist() == [0, 1, 3, 4]
    assert find(cache, PLAIN, None, VISUAL).rows.tolist() == [0, 2, 4]
    assert find(cache, PLAIN, TEXT, VISUAL).rows.tolist() == [0, 4]
    assert find(cache, PLAIN, TEXT, None, threshold=0.6).rows.tolist() == [0, 3]
    assert find(cache, PLAIN, TEXT, None, threshold=0.0, min_probability=None).rows.tolist() == [0, 1, 2, 3, 4]


def test_only_what_is_allowed_may_answer(store: Store) -> None:
    cache = memory(store, (0.7, 0.7), (0.65, 0.65))
    second = only([False, True])
    for calibration in (PLAIN, FITTED):
        for text, visual in ((TEXT, None), (None, VISUAL), (TEXT, VISUAL)):
            assert find(cache, calibration, text, visual, allowed=second).rows.tolist() == [1]
        assert find(cache, calibration, TEXT, None, threshold=0.1, allowed=second).rows.tolist() == [1]


def test_a_share_is_tested_where_the_calibration_asks_for_it(store: Store) -> None:
    """Against one contrast phrase at a right angle: logit (t - sqrt(1 - t^2)) / T."""
    cache = memory(store, (0.6, 0.9), (0.9, 0.9))
    contrast = axis(DT, 1)[None]
    strict = replace(PLAIN, contrast_probability=0.5)
    assert find(cache, strict, TEXT, None, contrast).rows.tolist() == [1]
    assert find(cache, strict, TEXT, None).rows.tolist() == [0, 1]
    assert find(cache, strict, TEXT, VISUAL, contrast).rows.tolist() == [0, 1]
    both = replace(PLAIN, contrast_probability_product=0.5)
    assert find(cache, both, TEXT, VISUAL, contrast).rows.tolist() == [1]
    assert find(cache, both, TEXT, None, contrast).rows.tolist() == [0, 1]
    (exact, _) = share(cache, find(cache, PLAIN, TEXT, None), contrast, 0.5)
    assert exact == pytest.approx(logistic((0.6 - 0.8) / 0.5), abs=2e-3)
    for limit, rows in ((float(exact), [0, 1]), (float(np.nextafter(exact, np.float32(1))), [1])):
        assert find(cache, replace(PLAIN, contrast_probability=limit), TEXT, None, contrast).rows.tolist() == rows
    assert find(cache, strict, axis(DT, 5), None, contrast).rows.tolist() == []


def test_probabilities_decide_where_a_curve_is_fitted(store: Store) -> None:
    cache = memory(store, (0.45, 0.55), (0.52, 0.62), (0.7, 0.7))
    for text, visual, expected in (
        (TEXT, None, [logistic(0.2), logistic(2)]),
        (None, VISUAL, [logistic(0.2), logistic(1)]),
    ):
        hits = find(cache, FITTED, text, visual)
        assert hits.rows.tolist() == [1, 2]
        assert hits.probability is not None
        np.testing.assert_allclose(hits.probability, expected, atol=3e-3)
        assert hits.probability.dtype == np.float32
        assert find(cache, FITTED, text, visual, min_probability=0.6).rows.tolist() == [2]
        assert find(cache, FITTED, text, visual, min_probability=0.35).rows.tolist() == [0, 1, 2]
        assert find(cache, FITTED, text, visual, min_probability=0.0).rows.tolist() == [0, 1, 2]
    hits = find(cache, FITTED, TEXT, VISUAL)  # the picture decides: -5 + 10 s
    assert hits.rows.tolist() == [0, 1, 2]
    assert hits.probability is not None
    np.testing.assert_allclose(hits.probability, [logistic(0.5), logistic(1.2), logistic(2)], atol=3e-3)
    assert hits.text is not None
    np.testing.assert_allclose(hits.text, [0.45, 0.52, 0.7], atol=1e-3)


def test_the_floor_itself_is_found(store: Store) -> None:
    cache = memory(store, (0.45, 0.5), (0.52, 0.5))
    hits = find(cache, FITTED, TEXT, None, min_probability=0.0)
    assert hits.probability is not None
    for row, p in enumerate(hits.probability):
        above = float(np.nextafter(p, np.float32(1)))
        assert row in find(cache, FITTED, TEXT, None, min_probability=float(p)).rows
        assert row not in find(cache, FITTED, TEXT, None, min_probability=above).rows


def test_the_curve_is_that_of_what_was_asked(store: Store) -> None:
    text, visual, both = (Curve(float(i), 1, 0, 9, 9, 9) for i in range(3))
    fitted = replace(PLAIN, probability=Probabilities(text, visual, both))
    assert curve_of(fitted, True, False) is text
    assert curve_of(fitted, False, True) is visual
    assert curve_of(fitted, True, True) is both
    assert curve_of(PLAIN, True, True) is None
    words = replace(PLAIN, probability=Probabilities(text))
    assert curve_of(words, False, True) is curve_of(words, True, True) is None


def test_the_picture_decides_where_there_is_one() -> None:
    hits = Hits(np.arange(2), floats(0.1, 0.2), floats(0.3, 0.4), floats(0.5, 0.6))
    assert deciding(hits) is hits.visual
    assert deciding(replace(hits, visual=None)) is hits.score


def test_a_share_is_a_softmax_in_blocks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = memory(store, *[(t, 0.5) for t in (0.1, 0.6, 0.8, 0.9, 1.0)])
    hits = find(cache, PLAIN, TEXT, None, threshold=0.5)
    contrast = np.stack([axis(DT, 1), axis(DT, 2)])
    cosines = np.array([0.6, 0.8, 0.9, 1.0])
    own, first = np.exp(cosines / 0.5), np.exp(np.sqrt(1 - cosines**2) / 0.5)
    expected = own / (own + first + 1)
    np.testing.assert_allclose(share(cache, hits, contrast, 0.5), expected, atol=2e-3)
    monkeypatch.setattr(probable, "_BLOCK", 3)
    np.testing.assert_allclose(share(cache, hits, contrast, 0.5), expected, atol=2e-3)
    assert share(cache, hits, np.empty((0, DT), np.float32), 0.5).tolist() == [1, 1, 1, 1]


def test_a_share_at_a_temperature_near_zero_is_no_overflow(store: Store) -> None:
    cache = memory(store, (0.1, 0.5), (0.9, 0.5))
    hits = find(cache, PLAIN, TEXT, None, threshold=0.0)
    with np.errstate(over="raise"):
        low, high = share(cache, hits, axis(DT, 1)[None], 1e-4)
    assert 0 < low < 1e-30
    assert high == 1


def test_probabilities_are_beside_the_best_of_these_hits_unless_another_is_given(store: Store) -> None:
    cache = memory(store, (0.4, 0.5), (0.8, 0.5))
    fitted = replace(PLAIN, probability=Probabilities(Curve(0, 0, 0, 9, 9, 9, best=2.0)))
    hits = find(cache, PLAIN, TEXT, None, threshold=0.1)
    found = probabilities(cache, fitted, hits, None)
    assert found is not None
    np.testing.assert_allclose(found, [logistic(-1), 0.5], atol=2e-3)
    found = probabilities(cache, fitted, hits, None, 1.6)
    assert found is not None
    np.testing.assert_allclose(found, [logistic(-1.5), logistic(-1)], atol=2e-3)
    found = probabilities(cache, fitted, hits, None, hits.score)
    assert found is not None
    np.testing.assert_allclose(found, [0.5, 0.5], atol=1e-6)
    assert probabilities(cache, PLAIN, hits, None) is None
    empty = probabilities(cache, fitted, hits.take(np.array([], np.intp)), None)
    assert empty is not None
    assert empty.shape == (0,)


def test_a_share_moves_a_probability_by_its_logit(store: Store) -> None:
    cache = memory(store, (0.6, 0.5))
    fitted = replace(PLAIN, probability=Probabilities(Curve(0, 0, 2.0, 9, 9, 9)))
    hits = find(cache, PLAIN, TEXT, None)
    found = probabilities(cache, fitted, hits, axis(DT, 1)[None])
    assert found is not None
    assert found[0] == pytest.approx(logistic(2 * (0.6 - 0.8) / 0.5), abs=2e-3)
    found = probabilities(cache, fitted, hits, None)  # of nothing else: a share of 1, clipped
    assert found is not None
    assert found[0] > 0.999


def test_beside_a_much_better_one_a_track_is_not_found(store: Store) -> None:
    """Found at .6 or more of the best score that may answer."""
    best = replace(PLAIN, probability=Probabilities(*[Curve(4, 0, 0, 9, 9, 9, best=10.0)] * 3))
    cache = memory(store, (0.5, 0.5), (0.58, 0.58), (0.9, 0.9))
    for text, visual in ((TEXT, None), (None, VISUAL), (TEXT, VISUAL)):
        assert find(cache, best, text, visual).rows.tolist() == [1, 2]
        assert find(cache, best, text, visual, allowed=only([True, True, False])).rows.tolist() == [0, 1]


def test_with_a_picture_the_share_is_that_of_the_words(store: Store) -> None:
    cache = memory(store, (0.6, 0.9), (0.95, 0.9))
    both = replace(PLAIN, temperature=0.1, probability=Probabilities(product=Curve(0, 0, 1, 9, 9, 9)))
    contrast = axis(DT, 1)[None]
    assert find(cache, both, TEXT, VISUAL, contrast).rows.tolist() == [1]
    assert find(cache, both, TEXT, VISUAL).rows.tolist() == [0, 1]
    assert find(cache, both, TEXT, VISUAL, np.empty((0, DT), np.float32)).rows.tolist() == [0, 1]
    assert find(cache, both, TEXT, VISUAL, TEXT[None]).rows.tolist() == [0, 1]  # no direction: a share of a half


def test_by_words_alone_a_contrast_that_is_the_phrase_itself_narrows_nothing(store: Store) -> None:
    cache = memory(store, (0.6, 0.9), (0.95, 0.9))
    words = replace(PLAIN, probability=Probabilities(Curve(0, 0, 1, 9, 9, 9)))
    assert find(cache, words, TEXT, None, TEXT[None]).rows.tolist() == [0, 1]
    assert find(cache, words, TEXT, None, np.empty((0, DT), np.float32)).rows.tolist() == [0, 1]
    assert find(cache, words, TEXT, None, axis(DT, 1)[None]).rows.tolist() == [1]
    assert find(cache, words, TEXT, None, axis(DT, 1)[None], allowed=only([True, False])).rows.tolist() == []


def test_many_phrases_find_what_each_finds(store: Store) -> None:
    cache = memory(store, (0.6, 0.9), (0.9, 0.9), (0.3, 0.9))
    phrases = [Phrase(TEXT, axis(DT, 1)[None]), Phrase(axis(DT, 1)), Phrase(axis(DT, 7), axis(DT, 1)[None])]
    strict = replace(PLAIN, contrast_probability=0.5)
    for calibration, floor in ((strict, None), (FITTED, None), (FITTED, 0.9), (FITTED, 0.2)):
        for allowed in (None, only([True, False, True])):
            many = find_each(cache, calibration, phrases, floor, allowed)
            assert len(many) == 3
            for phrase, hits in zip(phrases, many, strict=True):
                alone = find(
                    cache, calibration, phrase.text, None, phrase.contrast, min_probability=floor, allowed=allowed
                )
                assert hits.rows.tolist() == alone.rows.tolist()
                np.testing.assert_allclose(hits.score, alone.score, atol=1e-6)
                assert hits.text is not None
                np.testing.assert_array_equal(hits.text, hits.score)
                assert hits.visual is None
                assert (hits.probability is None) == (alone.probability is None)
    assert find_each(cache, strict, phrases)[0].rows.tolist() == [1]
    with pytest.raises(Exception, match="not calibrated with this encoder"):
        find_each(cache, PLAIN, phrases, 0.5)


def test_among_some_tracks_each_is_judged_by_itself(store: Store) -> None:
    cache = memory(store, (0.9, 0.9), (0.3, 0.9), (0.6, 0.9), (0.52, 0.9))
    rows = np.array([3, 1, 2])
    hits, found = among(cache, PLAIN, rows, Phrase(TEXT))
    assert hits.rows is rows
    np.testing.assert_allclose(hits.score, [0.52, 0.3, 0.6], atol=1e-3)
    assert hits.text is hits.score
    assert (found.tolist(), found.dtype) == ([True, False, True], np.bool_)
    strict = replace(PLAIN, contrast_probability=logistic(-0.5))  # .4 for .6, less for .52
    assert among(cache, strict, rows, Phrase(TEXT, axis(DT, 1)[None]))[1].tolist() == [False, False, True]
    assert among(cache, strict, rows, Phrase(TEXT))[1].tolist() == [True, False, True]
    assert among(cache, PLAIN, rows, Phrase(TEXT, axis(DT, 1)[None]))[1].tolist() == [True, False, True]
    assert among(cache, strict, rows, Phrase(axis(DT, 7), axis(DT, 1)[None]))[1].tolist() == [False] * 3
    best = replace(FITTED, probability=Probabilities(Curve(-5, 10, 0, 9, 9, 9, best=100.0)))
    assert among(cache, best, rows, Phrase(TEXT, axis(DT, 1)[None]))[1].tolist() == [True, False, True]


def test_the_thresholds_of_candidates_are_lower(store: Store) -> None:
    calibration = Calibration(0.5, 0.25, 0.75, 0.125, 0.5, 0.03, 0.7, Probabilities(WORDS))
    assert loose(calibration) == Calibration(0.3, 0, pytest.approx(0.45), 0.075, 0, 0.03)


def test_a_track_of_which_no_frame_lies_in_the_span_is_no_best_one(store: Store) -> None:
    """The better track is out of view at just the time asked for; what was found beside it is found without it."""
    row = store.begin_source(info())
    tracks = [
        track(i, text=leaning(DT, t), visual=axis(DV, i), start_ns=0, end_ns=90) for i, t in enumerate((0.95, 0.55))
    ]
    frames = [frame(t, [0, 1] if t != 50 else [1]) for t in (0, 50, 90)]
    add(store, row.id, tracks, frames, state="done")
    cache = VectorCache(store)
    best = replace(PLAIN, probability=Probabilities(Curve(4, 0, 0, 9, 9, 9, best=10.0)))
    every, allowed = found_in_span(store, cache, best, Question(TEXT))
    assert (every.hits.rows.tolist(), allowed) == ([0], None)
    some, allowed = found_in_span(store, cache, best, Question(TEXT, spans={row.id: (40, 60)}))
    assert some.hits.rows.tolist() == [1]
    assert allowed is not None
    assert cache.rows_within(allowed).tolist() == [1]
    assert (some.columns.start_ns[0], some.columns.end_ns[0]) == (50, 50)
    near = nearest_in_span(store, cache, Question(TEXT, spans={row.id: (40, 60)}), Within({row.id: (40, 60)}))
    assert near.hits.rows.tolist() == [1]
    assert (near.columns.start_ns[0], near.columns.end_ns[0]) == (50, 50)


def test_the_filters_pass_the_tests_that_the_question_asks_for(store: Store) -> None:
    cache = memory(store, (0.9, 0.55), (0.7, 0.9))
    spans = {1: (0, 100)}
    for given, rows in (
        ({"threshold": 0.8}, [0]),
        ({"visual": VISUAL, "threshold": 0.6}, [1]),
        ({"contrast": axis(DT, 1)[None]}, [0, 1]),
    ):
        question = Question(TEXT, **given)  # type: ignore[arg-type]
        assert found_in_span(store, cache, PLAIN, question)[0].hits.rows.tolist() == rows
        assert found_in_span(store, cache, PLAIN, replace(question, spans=spans))[0].hits.rows.tolist() == rows
    likely = Question(TEXT, min_probability=0.95)
    assert found_in_span(store, cache, FITTED, likely)[0].hits.rows.tolist() == [0]
    strict = replace(PLAIN, contrast_probability=0.6)
    shares = Question(TEXT, contrast=axis(DT, 1)[None])
    assert found_in_span(store, cache, strict, shares)[0].hits.rows.tolist() == [0]


def test_near_misses_are_made_of_the_best_tracks_that_may_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = memory(store, (0.1, 0.9), (0.4, 0.2), (0.3, 0.8), (0.2, 0.7))
    monkeypatch.setattr(search, "_NEAREST_TRACKS", 2)
    assert nearest_in_span(store, cache, Question(TEXT), None).hits.rows.tolist() == [1, 2]
    assert nearest_in_span(store, cache, Question(visual=VISUAL), None).hits.rows.tolist() == [0, 2]
    assert nearest_in_span(store, cache, Question(TEXT, VISUAL), None).hits.rows.tolist() == [2, 3]
    some = Question(TEXT, spans={1: (0, 100)})
    assert nearest_in_span(store, cache, some, only([True, False, True, False])).hits.rows.tolist() == [2, 0]


def test_of_several_labels_the_best_names_a_track(store: Store) -> None:
    cache = memory(store, (0.9, 0.5), (0.6, 0.5), (0.3, 0.5))
    memory(store, (0.9, 0.5))
    phrases = [Phrase(axis(DT, 1)), Phrase(TEXT), Phrase(TEXT)]
    found = name_tracks(cache.refreshed(), PLAIN, 1, phrases)
    assert {track: named.label for track, named in found.items()} == {1: 1, 2: 0, 3: 0}
    assert found[1].score == pytest.approx(0.9, abs=1e-3)
    assert found[2].probability is None
    likely = name_tracks(cache, FITTED, 1, phrases)
    assert likely[1].probability == pytest.approx(logistic(4), abs=3e-3)
    assert likely[1].score == pytest.approx(0.9, abs=1e-3)
    assert name_tracks(cache, PLAIN, 9, phrases) == {}


def test_a_weak_track_is_raised_by_the_surest_that_it_looks_like(store: Store) -> None:
    """At a cosine of 1 its log odds grow by 4.26, but not above those of the sure one."""
    row = store.begin_source(info())
    near = leaning(DV, 0.95)
    looks = [VISUAL, VISUAL, near, axis(DV, 5), leaning(DV, 0.85)]
    cosines = (0.62, 0.38, 0.45, 0.45, 0.45)
    tracks = [track(i, text=leaning(DT, t), visual=v) for i, (t, v) in enumerate(zip(cosines, looks, strict=True))]
    add(store, row.id, tracks, state="done")
    hits = find(VectorCache(store), FITTED, TEXT, None)
    assert hits.rows.tolist() == [0, 1, 2]  # the fourth looks otherwise, the last not enough alike
    assert hits.probability is not None
    expected = [logistic(1.2), logistic(1.2), logistic(1.2)]
    np.testing.assert_allclose(hits.probability, expected, atol=4e-3)
    strict = find(VectorCache(store), FITTED, TEXT, None, min_probability=0.8)
    assert strict.rows.tolist() == []


def test_raising_in_blocks_is_raising(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    row = store.begin_source(info())
    looks = [leaning(DV, 0.99, i + 1) for i in range(9)]
    tracks = [track(i, text=leaning(DT, 0.6 if i == 4 else 0.45), visual=v) for i, v in enumerate(looks)]
    add(store, row.id, tracks, state="done")
    cache = VectorCache(store)
    whole = find(cache, FITTED, TEXT, None)
    assert whole.rows.tolist() == [4, 0, 1, 2, 3, 5, 6, 7, 8]
    monkeypatch.setattr(probable, "_BLOCK", 2)
    parts = find(cache, FITTED, TEXT, None)
    assert parts.rows.tolist() == whole.rows.tolist()
    np.testing.assert_allclose(parts.probability, whole.probability, atol=1e-6)  # type: ignore[arg-type]


def test_the_most_probable_are_the_ones_that_others_are_compared_with(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = store.begin_source(info())
    tracks = [
        track(i, text=leaning(DT, t), visual=v)
        for i, (t, v) in enumerate([(0.55, axis(DV, 5)), (0.7, VISUAL), (0.45, VISUAL), (0.45, axis(DV, 5))])
    ]
    add(store, row.id, tracks, state="done")
    cache = VectorCache(store)
    assert find(cache, FITTED, TEXT, None).rows.tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(probable, "ANCHORS", 1)
    assert find(cache, FITTED, TEXT, None).rows.tolist() == [0, 1, 2]


def test_by_words_the_index_is_searched_from_the_bound_of_the_share_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(text - m) v >= T (log n + logit s) by Jensen's inequality, for the share of what is raised: s = .4 x .9."""
    cache = memory(store, (0.9, 0.5), (0.6, 0.5))
    words = replace(PLAIN, probability=Probabilities(Curve(0.0, 0.0, 1.0, 9, 9, 9)))
    contrast = np.stack([axis(DT, 1), axis(DT, 2)])
    asked: list[tuple[Float32, float]] = []
    whole = VectorCache.range_search

    def range_search(self: VectorCache, kind: Any, query: Float32, threshold: float, *within: Any) -> Any:
        asked.append((query, threshold))
        return whole(self, kind, query, threshold, *within)

    monkeypatch.setattr(VectorCache, "range_search", range_search)
    find(cache, words, TEXT, None, contrast, min_probability=0.9)
    ((vector, bound),) = asked  # one search for what is sure and for what may be raised
    logit = np.log(0.36 / 0.64)
    length = np.sqrt(1.5)  # of text less the mean of the two
    np.testing.assert_allclose(vector[:4], np.array([1, -0.5, -0.5, 0]) / length, atol=1e-6)
    assert vector.dtype == np.float32
    assert bound == pytest.approx(0.5 * (np.log(2) + logit) / length, abs=1e-3)
    assert bound < 0.5 * (np.log(2) + logit) / length


def test_with_a_picture_shares_are_computed_of_what_may_reach_the_floor_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = memory(store, *[(t, 0.9) for t in (0.99, 0.9, 0.5, 0.4, 0.3, 0.2)])
    both = replace(PLAIN, temperature=0.05, probability=Probabilities(product=Curve(0, 0, 1, 9, 9, 9)))
    looked: list[int] = []
    monkeypatch.setattr(probable, "share", lambda *args: looked.append(len(args[1])) or share(*args))
    assert find(cache, both, TEXT, VISUAL, axis(DT, 1)[None]).rows.tolist() == [0, 1]
    assert looked[0] == 2
    looked.clear()
    assert find(cache, both, TEXT, VISUAL, leaning(DT, 0.6)[None]).rows.tolist() == [0, 1]  # a nearer phrase
    assert looked[0] == 2


def test_the_best_of_a_picture_and_words_is_by_the_picture_and_in_view(store: Store) -> None:
    """The better looking one is named otherwise, and out of view at the time asked for; by the product it is worse."""
    row = store.begin_source(info())
    pairs = ((0.2, 0.95), (0.6, 0.6))
    tracks = [
        track(i, text=leaning(DT, t), visual=leaning(DV, v, i + 1), start_ns=0, end_ns=90)
        for i, (t, v) in enumerate(pairs)
    ]
    frames = [frame(t, [0, 1] if t != 50 else [1]) for t in (0, 50, 90)]
    add(store, row.id, tracks, frames, state="done")
    cache = VectorCache(store)
    both = replace(PLAIN, temperature=0.1, probability=Probabilities(product=Curve(5, 0, 2, 9, 9, 9, best=10.0)))
    question = Question(TEXT, VISUAL, axis(DT, 1)[None])
    assert found_in_span(store, cache, both, question)[0].hits.rows.tolist() == []
    hits = found_in_span(store, cache, both, replace(question, spans={row.id: (40, 60)}))[0].hits
    assert hits.rows.tolist() == [1]
    assert hits.probability is not None
    assert hits.probability[0] == pytest.approx(logistic(1), abs=1e-2)


def test_what_looks_alike_has_the_probability_of_its_own_share(store: Store) -> None:
    """Of .26, which is too little to be raised to the .7 that is asked for."""
    row = store.begin_source(info())
    tracks = [
        track(i, text=leaning(DT, t), visual=VISUAL, start_ns=99 * i, end_ns=99 * i) for i, t in enumerate((0.9, 0.4))
    ]
    add(store, row.id, tracks, state="done")
    cache = VectorCache(store)
    words = replace(PLAIN, same_thing=0.99, probability=Probabilities(Curve(0, 0, 1, 9, 9, 9)))
    question = Question(TEXT, contrast=axis(DT, 1)[None], min_probability=0.7)
    result = search.found(store, cache, words, question)
    assert result.near.hits.rows.tolist() == [0]
    both = search.with_similar(store, cache, words, question, result).hits
    assert both.rows.tolist() == [0, 1]
    assert both.probability is not None
    assert both.probability[1] == pytest.approx(logistic((0.4 - np.sqrt(0.84)) / 0.5), abs=5e-3)
