"""Questions with known answers, their candidates, and what counts as found by probability."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seeing import axis, seen, source
from store.making import DT, DV, MODEL

from vidmem.encoders import Calibration
from vidmem.encoders.probability import MAX_CANDIDATES, Curve, Probabilities
from vidmem.errors import MediaError, UsageError
from vidmem.query.calibrate import SLACK_NS, Known, candidates, fit_curve, load_known
from vidmem.query.probable import probabilities
from vidmem.query.question import Phrase, Question
from vidmem.query.search import find, find_each
from vidmem.query.where import each, where
from vidmem.store import Store, VectorCache
from vidmem.timecode import NS

CALIBRATION = Calibration(0.7, 0.0, 0.7, 0.6)
CURVE = Curve(-8.0, 12.0, 0.0, 9, 9, 9)  # .5 at a score of .667
FITTED = dataclasses.replace(CALIBRATION, probability=Probabilities(text=CURVE))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    path.write_text(
        "name,source,when\n# by eye\numbrella,walk.mp4,0:12-15.5s\n\numbrella,walk.mp4,1:02-1:10\n"
        '"mug, red",b.mp4,3\nteapot,walk.mp4,Absent\nviolin,*,absent\n'
    )
    assert load_known(str(path)) == [
        Known("umbrella", "walk.mp4", ((12 * NS, 15 * NS + NS // 2), (62 * NS, 70 * NS))),
        Known("mug, red", "b.mp4", ((3 * NS, 3 * NS),)),
        Known("teapot", "walk.mp4", ()),
        Known("violin", "*", ()),
    ]
    path.write_text("зонт\twalk.mp4\t1-2\n")
    assert load_known(str(path)) == [Known("зонт", "walk.mp4", ((NS, 2 * NS),))]


def test_what_a_line_may_look_like(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    lines = [
        "name,source",
        "  # indented",
        "   ",
        "mug, red\tb.mp4\t5-5",
        "name,source,1",
        "cup , a.mp4 , ABSENT",
        "cup,b.mp4,2",
    ]
    path.write_text("\n".join(lines), "utf-8-sig")
    assert load_known(str(path)) == [
        Known("mug, red", "b.mp4", ((5 * NS, 5 * NS),)),
        Known("name", "source", ((NS, NS),)),  # a header is in the first line
        Known("cup", "a.mp4", ()),
        Known("cup", "b.mp4", ((2 * NS, 2 * NS),)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no question"),
        ("# only\n", "there is no question"),
        ("umbrella,walk.mp4\n", "line 1 is not name"),
        ("umbrella,walk.mp4,\n", "line 1 is not name"),
        (",walk.mp4,1\n", "line 1 is not name"),
        ("a,b,1,2\n", "line 1 is not name,source,from-to, or name,source,absent: .*known.csv"),
        ("a,b,1-2\n\na,b,1-\n", "line 3: '' is not a time"),
        ("a,b,absent\nc,*,absent\na,b,1-2\n", "'a' is absent from b and in view there"),
        ("a,b,1-2\nc,d,soon\n", "line 2: 'soon' is not a time"),
        ("a,b,9-2\n", "line 1 ends before it begins"),
        ("a,*,1-2\n", "line 1 names no source"),
        ("a,b,1-2\na,b,absent\n", "'a' is absent from b and in view there"),
    ],
)
def test_bad_files_fail(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "known.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_known(str(path))
    with pytest.raises(MediaError, match="cannot be read"):
        load_known(str(tmp_path / "none.csv"))
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(MediaError, match="not UTF-8"):
        load_known(str(path))


def phrase(name: str) -> Phrase:
    return Phrase(axis(DT, int(name)), np.stack([axis(DT, 9)]))


def test_candidates(store: Store) -> None:
    source(store, "a.mp4", [seen(i, 0, 10 * i, 10 * i + 4, 0.1 * i) for i in range(8)])
    source(store, "b.mp4", [seen(0, 0, 3, 5), seen(1, 1, 3, 5)])
    cache = VectorCache(store)
    known = [
        Known("0", "a.mp4", ((0, 3 * NS), (12 * NS, 13 * NS))),
        Known("0", "b.mp4", ()),
        Known("1", "*", ()),
        Known("2", "*", ()),
    ]
    found = candidates(store, cache, CALIBRATION, known, phrase)
    assert found.question.tolist() == [0] * MAX_CANDIDATES + [1, 2]  # nothing is like 2
    assert found.right.tolist() == [True, True] + [False] * 5  # evidence at 2, 12, 22 ...
    assert (np.diff(found.score[:MAX_CANDIDATES]) < 0).all()
    assert found.share is not None
    assert found.share.min() > 0.99
    with pytest.raises(UsageError, match=r"no source is called 'c\.mp4'"):
        candidates(store, cache, CALIBRATION, [Known("0", "c.mp4", ())], phrase)
    with pytest.raises(UsageError, match="nothing in the memory is like any"):
        candidates(store, cache, CALIBRATION, known[3:], phrase)


def test_candidates_have_score_share_and_the_best_score_of_their_question(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 0, 4), seen(1, 0, 10, 14, 0.5), seen(2, 1, 20, 24, 0.5), seen(3, 0, 30, 34, 9)])
    shared = dataclasses.replace(CALIBRATION, temperature=0.5)

    def rival(name: str) -> Phrase:
        return Phrase(axis(DT, int(name)), np.eye(DT, dtype=np.float32)[-1:])

    found = candidates(
        store, VectorCache(store), shared, [Known("5", "*", ()), Known("0", "*", ()), Known("1", "*", ())], rival
    )
    near, far = 1 / 1.25**0.5, 0.5 / 1.25**0.5  # cosines of a track that leans by half
    assert found.score == pytest.approx([1, near, near], abs=2e-3)  # a score of .11 is too low
    half = 1 / (1 + np.exp((far - near) / 0.5))
    assert found.share == pytest.approx([1 / (1 + np.exp(-2)), half, half], abs=2e-3)
    assert found.best == pytest.approx([1, 1, near], abs=2e-3)
    assert found.question.tolist() == [1, 1, 2]  # nothing is like the first
    assert [a.dtype for a in (found.score, found.share, found.best, found.right, found.question)] == [
        np.float64,
        np.float64,
        np.float64,
        bool,
        np.int64,
    ]


def test_a_curve_is_fitted_to_the_candidates_and_must_be_worth_something(store: Store) -> None:
    leans = [0.0, 0.9]
    tracks = [
        seen(2 * what + k, what, 20 * what + 9 * k, 20 * what + 9 * k + 2, leans[k])
        for what in range(8)
        for k in (0, 1)
    ]
    source(store, "a.mp4", tracks)
    cache = VectorCache(store)
    right = [Known(str(what), "a.mp4", ((20 * what * NS, (20 * what + 2) * NS),)) for what in range(8)]
    curve, samples = fit_curve(store, cache, CALIBRATION, right, phrase)
    assert (curve.questions, curve.right, curve.wrong) == (8, 8, 8)
    assert (int(samples.right.sum()), len(samples)) == (8, 16)
    at = curve.at(samples.score, samples.share, samples.best)
    assert at[samples.right].min() > 0.5 > at[~samples.right].max()
    with pytest.raises(UsageError, match="too few to calibrate with"):
        fit_curve(store, cache, CALIBRATION, right[:2], phrase)
    # Right and wrong as chance has it: nothing is learnt from them.
    mixed = [
        Known(k.name, k.source, k.spans if i % 2 else ((k.spans[0][0] + 9 * NS, k.spans[0][1] + 9 * NS),))
        for i, k in enumerate(right)
    ]
    with pytest.raises(UsageError, match="check the answers, or add questions"):
        fit_curve(store, cache, CALIBRATION, mixed, phrase)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("beyond", "right"), [(0, True), (1, False)])
def test_evidence_half_a_second_outside_of_a_span_is_right(store: Store, side: int, beyond: int, right: bool) -> None:
    assert SLACK_NS == NS // 2
    source(store, "a.mp4", [seen(0, 0, 8, 12)])  # evidence at 10 s
    edge = 10 * NS - side * (SLACK_NS + beyond)
    span = (edge - 3 * NS, edge) if side > 0 else (edge, edge + 3 * NS)
    found = candidates(store, VectorCache(store), CALIBRATION, [Known("0", "a.mp4", (span,))], phrase)
    assert found.right.tolist() == [right]


def test_probability_decides_alone(store: Store) -> None:
    """Tests of .7 and a contrast that speaks against all; leaning tracks have cosines of 1, .89, .71, .55, .45, .32."""
    leans = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    tracks = [seen(i, 0, 10 * i, 10 * i + 1, lean) for i, lean in enumerate(leans)]
    source(store, "a.mp4", [dataclasses.replace(t, visual=axis(DV, t.ordinal)) for t in tracks])  # no two look alike
    cache, text = VectorCache(store), axis(DT, 0)
    strict = dataclasses.replace(FITTED, contrast_probability=0.99)
    contrast = np.stack([text])
    asked = Question(text, contrast=contrast)
    assert len(where(store, cache, strict, asked, top=None)) == 3  # more likely meant than not
    tests = dataclasses.replace(strict, probability=None)  # not fitted: the tests decide
    assert not where(store, cache, tests, asked, top=None)
    for least, count in ((0.95, 1), (0.5, 3), (0.2, 4), (0.0, 6)):
        answer = where(store, cache, strict, dataclasses.replace(asked, min_probability=least), top=None)
        assert len(answer) == count
        assert all(s.probability is not None and s.probability >= least for s in answer)
    near = where(store, cache, strict, dataclasses.replace(asked, min_probability=0.99)).near_misses
    assert near[0].probability == pytest.approx(float(CURVE.at(np.array([1.0]), None)[0]), abs=1e-3)


@given(
    st.floats(-20, 20),
    st.floats(0, 40),
    st.floats(0, 4),
    st.floats(0, 1),
    st.floats(-1, 1),
    st.floats(0, 1),
)
def test_no_track_below_the_least_score_is_likely_enough(
    bias: float, slope: float, share: float, least: float, score: float, held: float
) -> None:
    curve = Curve(bias, slope, share, 9, 9, 9)
    likely = float(curve.at(np.array([score]), np.array([held]))[0])
    if likely >= least + 1e-6:  # a probability within rounding of the floor may go either way
        assert score >= curve.min_score(least)


def test_without_a_fit_it_is_refused(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 1, 2)])
    cache = VectorCache(store)
    for calibration, question in ((CALIBRATION, Question(axis(DT, 0))), (FITTED, Question(visual=axis(DV, 0)))):
        with pytest.raises(UsageError, match=r"not calibrated.*`vidmem calibrate FILE`"):
            where(store, cache, calibration, dataclasses.replace(question, min_probability=0.5))
        (sighting,) = where(store, cache, calibration, question)
        assert sighting.probability is None


def test_the_share_counts(store: Store) -> None:
    source(store, "a.mp4", [seen(0, 0, 1, 2)])
    cache, text = VectorCache(store), axis(DT, 0)
    shared = Calibration(0.5, 0, 0.5, 0.5, probability=Probabilities(text=Curve(0.0, 0.0, 1.0, 1, 1, 1)))
    hits = find(cache, shared, text, None)
    assert probabilities(cache, shared, hits, np.stack([text]))[0] == pytest.approx(0.5, abs=1e-3)  # type: ignore[index]
    assert probabilities(cache, shared, hits, np.stack([axis(DT, 1)]))[0] > 0.99  # type: ignore[index]


@pytest.mark.parametrize("least", [None, 0.3])
def test_many_questions_are_as_each_alone(store: Store, least: float | None) -> None:
    rng = np.random.default_rng(5)
    tracks = [seen(i, i % 6, i, i + 1, float(rng.uniform(0, 2))) for i in range(300)]
    source(store, "a.mp4", tracks)
    cache = VectorCache(store)
    strict = dataclasses.replace(FITTED, contrast_probability=0.4, temperature=0.3)
    texts = np.stack([*(axis(DT, i) for i in range(8)), *rng.standard_normal((20, DT)).astype(np.float32)])
    contrasts = [rng.standard_normal((int(rng.integers(0, 4)), DT)).astype(np.float32) for _ in texts]
    together = find_each(cache, strict, [Phrase(*pair) for pair in zip(texts, contrasts, strict=True)], least)
    questions = [
        Question(text, contrast=contrast, min_probability=least)
        for text, contrast in zip(texts, contrasts, strict=True)
    ]
    answers = each(store, cache, strict, questions, top=None)
    for question, hits, answer in zip(questions, together, answers, strict=True):
        alone = find(cache, strict, question.text, None, question.contrast, None, least)
        np.testing.assert_array_equal(hits.rows, alone.rows)
        np.testing.assert_allclose(hits.score, alone.score, atol=2e-6)
        expected = where(store, cache, strict, question, top=None)
        assert [s.tracks for s in answer] == [s.tracks for s in expected]
        assert answer.total == expected.total
    assert any(map(len, together))
    assert not all(map(len, together))
