"""What the benchmarks fit and count of probabilities, without videos."""

import json

import numpy as np
import pytest

from benchmarks import calibrate, calibrate_probability, lostfound
from benchmarks.calibrate_probability import Candidates, fit_all, samples_of
from benchmarks.reliability_plot import plot
from vidmem.encoders.base import Calibration
from vidmem.encoders.tiny.text import _calibration
from vidmem.probability import Curve, Probabilities

CALIBRATION = Calibration(0.4, 0.3, 0.6, 0.3)


def made(worlds=4, questions=60, seed=0):
    rng = np.random.default_rng(seed)
    curve = Curve(-5, 9, 0.8, 1, 1, 1)
    out = []
    for world in range(worlds):
        for number in range(questions):
            score, share = rng.uniform(0.2, 0.9, 5), rng.uniform(0.05, 0.95, 5)
            absent = number % 2 == 0
            right = (rng.random(5) < curve.at(score, share)) & (not absent)
            out.append(Candidates(world, "text", absent, np.sort(score)[::-1], share, right))
    return out


def test_one_question_in_four_counts_as_absent():
    asked = made()
    samples, weight, world = samples_of(asked, "text", 0.0)
    absent = np.array([one.absent for one in asked])[samples.question]
    per_question = weight / 5
    assert per_question[absent].sum() / per_question.sum() == pytest.approx(calibrate_probability.ABSENT_SHARE)
    assert sorted(set(world.tolist())) == [0, 1, 2, 3]
    cut, _, _ = samples_of(asked, "text", 0.5)
    assert cut.score.min() >= 0.5


def test_worlds_are_told_by_the_others():
    curves, facts = fit_all(made(), CALIBRATION)
    assert curves.text is not None
    assert curves.visual is curves.product is None
    assert not facts["visual"]["fitted"]
    assert "too few" in facts["visual"]["why"]
    assert facts["text"]["brier_elsewhere"] < 0.2
    assert sum(b["count"] for b in facts["text"]["reliability_elsewhere"]) == facts["text"]["candidates"]
    json.dumps(facts)


def test_the_card_holds_both_and_is_read(tmp_path, monkeypatch):
    card = tmp_path / "weights" / "tiny.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"knows": "little", "calibration": {}}))
    monkeypatch.setattr(calibrate, "files", lambda package: tmp_path)
    curves = Probabilities(text=Curve(1.0, 2.0, 3.0, 4, 5, 6))
    calibrate.write(CALIBRATION, curves)
    facts = json.loads(card.read_text())
    assert facts["knows"] == "little"
    assert "probability" not in facts["calibration"]
    read = _calibration(facts)
    assert read.probability == curves
    assert read.text_threshold == 0.4
    assert _calibration({"calibration": facts["calibration"]}).probability is None


def test_reliability_of_answers(tmp_path):
    rows = [
        {"text": "cup", "picture": None, "told": [(0.9, True), (0.2, False)]},
        {"text": "key", "picture": None, "told": [(0.7, False)]},
        {"text": "hat", "picture": None},  # not found
        {"text": None, "picture": "a.png", "told": [(0.5, True)]},
    ]
    found = lostfound.probabilities(rows)
    assert found.keys() == {"text, newest", "text, all sightings", "visual, newest", "visual, all sightings"}
    assert (found["text, newest"]["count"], found["text, newest"]["right"]) == (2, 0.5)
    assert found["text, newest"]["brier"] == pytest.approx((0.01 + 0.49) / 2)
    assert found["text, all sightings"]["count"] == 3
    plot(tmp_path / "p.png", found, "test")
    assert (tmp_path / "p.png").stat().st_size > 5000
    assert lostfound.probabilities([{"text": "cup", "picture": None, "told": []}]) == {}
