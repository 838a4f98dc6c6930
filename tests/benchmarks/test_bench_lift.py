"""The fit behind `probability.lift` finds the numbers that made its samples."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.lift import fit, logit


def test_the_fit_finds_what_made_the_samples() -> None:
    rng = np.random.default_rng(4)
    p, u = rng.uniform(0.1, 0.5, 20_000), rng.uniform(0, 1, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(logit(p) + 4.7 * u - 0.4)))
    assert fit(np.c_[logit(p), u], right).tolist() == pytest.approx([1, 4.7, -0.4], abs=0.25)


def test_what_does_not_tell_has_no_slope() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(5_000, 1))
    slope, constant = fit(x, rng.random(5_000) < 0.5)
    assert abs(slope) < 0.1
    assert abs(constant) < 0.1
