"""What the benchmarks fit and count of probabilities, without videos."""

import json

import numpy as np
import pytest

from benchmarks import calibrate, lostfound
from benchmarks.calibrate_fit import LIMIT, Tried, fit_all, fit_mode, found, samples
from benchmarks.reliability_plot import plot
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.encoders.tiny.text import _calibration


def made(memories=4, questions=60, seed=0, group="walks", bias=-5.0):
    rng = np.random.default_rng(seed)
    curve = Curve(bias, 9, 0.8, 1, 1, 1)
    out = []
    for memory in range(memories):
        for number in range(questions):
            score, share = rng.uniform(0.2, 0.9, 5), rng.uniform(0.05, 0.95, 5)
            absent = number % 2 == 0
            right = (rng.random(5) < curve.at(score, share)) & (not absent)
            kind = "absent_word" if absent else "name"
            out.append(Tried(memory, group, kind, "text", absent, np.sort(score)[::-1], share, right))
    return out


def test_every_set_weighs_the_same_and_absent_ones_what_they_should():
    asked = made() + made(1, 10, 1, "clips")
    held, weight = samples(asked, 0.4)
    absent = np.array([one.absent for one in asked])[held.question]
    clips = np.array([one.group == "clips" for one in asked])[held.question]
    assert weight[absent].sum() / weight.sum() == pytest.approx(0.4)
    assert weight[clips].sum() / weight.sum() == pytest.approx(0.5)


def test_the_least_share_of_absent_questions_is_taken_that_keeps_the_limit():
    asked = made(bias=-3.0)
    loose, few = fit_mode(asked, {})
    strict, many = fit_mode(asked, LIMIT["text"])
    assert few < many
    absent = [one for one in asked if one.absent]
    assert np.mean([found(strict, one)[0] for one in absent]) < np.mean([found(loose, one)[0] for one in absent])


def test_memories_are_told_by_the_others():
    curves, facts = fit_all(made())
    assert curves.text is not None
    assert curves.visual is curves.product is None
    assert not facts["visual"]["fitted"]
    assert facts["text"]["brier_elsewhere"] < 0.25
    assert facts["text"]["elsewhere"].keys() == {"walks: name", "walks: absent_word"}
    json.dumps(facts)


def test_nothing_is_found_among_nothing():
    empty = Tried(0, "walks", "name", "text", False, np.empty(0), np.empty(0), np.empty(0, bool))
    assert found(Curve(9, 0, 0, 1, 1, 1), empty) == (False, False)


def test_the_card_holds_the_curves_and_is_read(tmp_path, monkeypatch):
    card = tmp_path / "weights" / "tiny.json"
    card.parent.mkdir()
    tests = {"text_threshold": 0.4, "contrast_probability": 0.3, "visual_threshold": 0.6, "product_threshold": 0.3}
    card.write_text(json.dumps({"knows": "little", "calibration": tests}))
    monkeypatch.setattr(calibrate, "files", lambda package: tmp_path)
    curves = Probabilities(text=Curve(1.0, 2.0, 3.0, 4, 5, 6))
    calibrate.write(curves)
    facts = json.loads(card.read_text())
    assert facts["knows"] == "little"
    read = _calibration(facts)
    assert read.probability == curves
    assert read.text_threshold == 0.4
    assert _calibration({"calibration": tests}).probability is None


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
