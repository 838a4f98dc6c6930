"""From scores to probabilities: the curve that made the data comes back, and what it tells is true."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidmem.encoders.probability import Curve, Probabilities, Samples, brier, check_fit, fit, leave_one_out, reliability
from vidmem.errors import UsageError

CURVE = Curve(-6.0, 10.0, 0.7, 1, 1, 1)


def made(n: int, seed: int = 0, curve: Curve = CURVE, per_question: int = 1) -> Samples:
    """Candidates that are right as often as the curve says."""
    rng = np.random.default_rng(seed)
    score, share = rng.uniform(0.1, 0.9, n), rng.uniform(0.02, 0.98, n)
    right = rng.random(n) < curve.at(score, share)
    return Samples(score, share, right, np.arange(n) // per_question)


def test_the_curve_comes_back() -> None:
    curve = fit(made(40_000))
    assert curve.bias == pytest.approx(CURVE.bias, abs=0.2)
    assert curve.score == pytest.approx(CURVE.score, abs=0.3)
    assert curve.share == pytest.approx(CURVE.share, abs=0.04)
    assert curve.questions == 40_000


def test_what_it_tells_is_true_elsewhere() -> None:
    curve, new = fit(made(300)), made(20_000, seed=1)
    told = curve.at(new.score, new.share)
    for held in reliability(told, new.right, 10):
        assert held.mean == pytest.approx(held.right, abs=0.1)
    best = brier(CURVE.at(new.score, new.share), new.right)
    assert best <= brier(told, new.right) < best + 0.01
    assert brier(told, new.right) < 0.15 < brier(np.full(len(new), new.right.mean()), new.right)


def test_a_question_weighs_as_much_as_another() -> None:
    few = made(400)
    assert few.share is not None
    held = np.concatenate([np.arange(400), np.zeros(500, int)])
    many = Samples(few.score[held], few.share[held], few.right[held], few.question[held])
    one, two = fit(few), fit(many)
    assert (one.bias, one.score, one.share) == pytest.approx((two.bias, two.score, two.share), rel=1e-3)


def test_weights_move_the_base_rate() -> None:
    samples = made(2000)
    weight = np.where(samples.right, 0.2, 1.0)
    assert fit(samples, weight).at(np.array([0.5]), np.array([0.5])) < fit(samples).at(np.array([0.5]), np.array([0.5]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 5.0, -5.0]), st.sampled_from([0.0, 1.0, -1.0]))
def test_it_never_falls(seed: int, slope: float, share: float) -> None:
    """Also where the data say so: a higher score that is less often right is noise."""
    samples = made(60, seed, Curve(0.0, slope, share, 1, 1, 1))
    if min(samples.right.sum(), (~samples.right).sum()) < 3:
        return
    curve = fit(samples)
    assert curve.score >= 0
    assert curve.share >= 0
    grid = np.linspace(-1, 1, 50)
    told = curve.at(grid, np.full(50, 0.3))
    assert (np.diff(told) >= 0).all()
    assert ((told >= 0) & (told <= 1)).all()


def test_parted_data_stay_finite() -> None:
    score = np.concatenate([np.linspace(0.1, 0.3, 10), np.linspace(0.7, 0.9, 10)])
    curve = fit(Samples(score, None, score > 0.5, np.arange(20)))
    assert np.isfinite([curve.bias, curve.score]).all()
    assert curve.share == 0
    told = curve.at(np.array([0.2, 0.8]), None)
    assert told[0] < 0.2 < 0.8 < told[1] < 1


def test_shares_at_the_ends_stay_finite() -> None:
    told = CURVE.at(np.array([0.5, 0.5]), np.array([0.0, 1.0]))
    assert np.isfinite(told).all()
    assert told[0] < told[1]


@pytest.mark.parametrize("right", [[True] * 20, [False] * 20, [True] * 2 + [False] * 18, []])
def test_too_few_of_either_fail(right: list[bool]) -> None:
    n = len(right)
    samples = Samples(np.linspace(0.2, 0.8, n), None, np.array(right, bool), np.arange(n))
    with pytest.raises(UsageError, match="too few to calibrate with"):
        fit(samples)


def test_each_question_is_told_by_the_others() -> None:
    samples = made(60, per_question=5)
    told = leave_one_out(samples)
    first = samples.question == 0
    expected = fit(samples.take(~first)).at(samples.score[first], samples.share[first])  # type: ignore[index]
    np.testing.assert_allclose(told[first], expected)
    few = Samples(np.array([0.1, 0.2, 0.3, 0.8, 0.9, 0.7]), None, np.array([0, 0, 0, 1, 1, 1], bool), np.arange(6))
    assert np.isnan(leave_one_out(few)).all()  # one less of either is not enough


def test_bins_and_brier() -> None:
    told = np.array([0.1, 0.15, 0.9, 1.0])
    right = np.array([False, True, True, True])
    low, high = reliability(told, right, 5)
    assert (low.low, low.high, low.count, low.right) == (0.0, 0.2, 2, 0.5)
    assert (high.count, high.mean, high.right) == (2, 0.95, 1.0)
    assert brier(told, right) == pytest.approx((0.01 + 0.7225 + 0.01 + 0) / 4)


def test_there_and_back() -> None:
    curves = Probabilities(text=CURVE, product=dataclasses.replace(CURVE, bias=1.5))
    assert Probabilities.from_dict(curves.as_dict()) == curves
    assert curves
    assert not Probabilities()
    assert Probabilities.from_dict({}) == Probabilities()


@pytest.mark.parametrize(
    "data",
    [
        {"words": {}},
        {"text": 3},
        {"text": {"bias": 1}},
        {"text": {**dataclasses.asdict(CURVE), "bias": float("nan")}},
        {"text": {**dataclasses.asdict(CURVE), "score": "1"}},
        {"text": {**dataclasses.asdict(CURVE), "more": 1}},
    ],
)
def test_what_is_no_curve_fails(data: Any) -> None:
    with pytest.raises(ValueError, match="curve"):
        Probabilities.from_dict(data)


def test_a_curve_that_tells_nothing_is_refused() -> None:
    rng = np.random.default_rng(3)
    score, question = rng.random(60), np.repeat(np.arange(30), 2)

    def samples(right: Any) -> Samples:
        return Samples(score, None, np.asarray(right, bool), question)

    check_fit(samples(score > 0.5))
    with pytest.raises(UsageError, match=r"no better than a constant \.5 \(Brier score 0\.\d+ against 0\.25\)"):
        check_fit(samples(np.arange(60) % 2 == 0))
    with pytest.raises(UsageError, match=r"worse than a constant 0\.10, the share of right candidates"):
        check_fit(samples(np.arange(60) % 10 == 0))
    few = Samples(np.arange(6.0), None, np.arange(6) > 2, np.arange(6))
    with pytest.raises(UsageError, match="too few questions to check the curve"):
        check_fit(few)
