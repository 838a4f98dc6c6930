"""`vidmem calibrate`, and probabilities in answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run

KNOWN = """name,source,when
red,walk.mp4,0-3
red,walk.mp4,8-11
blue,walk.mp4,1-6
green,walk.mp4,4-12
red green,walk.mp4,absent
yellow blue,walk.mp4,absent
red cyan,*,absent
green white,walk.mp4,absent
"""
"""A name with two colours is somewhat similar to both."""


@pytest.fixture
def known(tmp_path: Path) -> Path:
    path = tmp_path / "known.csv"
    path.write_text(KNOWN)
    return path


def test_not_calibrated(run: Run, indexed: Path) -> None:
    head = run("where", "red", "-m", indexed).stdout.splitlines()[0].split()
    assert head == ["when", "from", "to", "score", "frame", "box", "source"]
    assert json.loads(run("where", "red", "--json", "-m", indexed).stdout)["sightings"][0]["probability"] is None
    for command in (("where", "red"), ("timeline", "red")):
        result = run(*command, "--min-probability", "0.5", "-m", indexed)
        assert result.exit_code == 2
        assert "`vidmem calibrate FILE` does it" in result.stderr


def test_calibrated(run: Run, copy: Path, known: Path) -> None:
    result = run("calibrate", known, "--json", "-m", copy)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["asked"], document["questions"]) == (7, 7)
    assert (document["right"], document["wrong"]) == (4, 7)
    assert document["curve"]["score"] > 0
    assert 0 <= document["brier"] < 0.25
    assert sum(b["candidates"] for b in document["reliability"]) == 9  # without both of red, right ones are too few
    assert "fewer than 30 questions" in result.stderr
    sure = json.loads(run("where", "red", "--json", "-m", copy).stdout)["sightings"][0]["probability"]
    torn = json.loads(run("where", "red", "green", "--threshold", "0.5", "--json", "-m", copy).stdout)
    assert torn["sightings"][0]["probability"] < 0.5 < sure
    head, line = (row.split() for row in run("where", "red", "-m", copy).stdout.splitlines())
    assert float(line[head.index("prob") + 1]) == pytest.approx(sure, abs=0.006)  # the date has two words
    assert run("where", "red", "--min-probability", "0.5", "-m", copy).exit_code == 0
    assert run("where", "red", "green", "--min-probability", "0.5", "-m", copy).exit_code == 1
    things = json.loads(run("timeline", "red", "--min-probability", "0.5", "--json", "-m", copy).stdout)["things"]
    assert things[0]["sightings"][0]["probability"] == pytest.approx(sure)
    names = known.with_name("names.txt")
    names.write_text("red\nred green\n")
    rows = json.loads(run("watch-list", names, "--min-probability", "0.5", "--json", "-m", copy).stdout)
    assert [(r["found"], r["probability"]) for r in rows] == [(True, pytest.approx(sure)), (False, None)]


def test_reset(run: Run, copy: Path, known: Path) -> None:
    run("calibrate", known, "-m", copy)
    assert " prob " in run("where", "red", "-m", copy).stdout
    assert run("calibrate", "--reset", "-m", copy).exit_code == 0
    assert " prob " not in run("where", "red", "-m", copy).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "give a FILE of questions, or --reset"), (("x.csv", "--reset"), "give a FILE of questions, or --reset")],
)
def test_misused_fails(run: Run, copy: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run("calibrate", *arguments, "-m", copy)
    assert result.exit_code == 2
    assert message in result.stderr


WRONG = """red,walk.mp4,absent
blue,walk.mp4,absent
green,walk.mp4,absent
red green,walk.mp4,0-12
yellow blue,walk.mp4,0-12
red cyan,walk.mp4,0-12
green white,walk.mp4,0-12
red,*,absent
"""
"""Reversed answers: the track most similar to the question is never right."""


def test_a_worthless_curve_is_refused(run: Run, copy: Path, known: Path) -> None:
    def sure() -> float | None:
        return json.loads(run("where", "red", "--json", "-m", copy).stdout)["sightings"][0]["probability"]

    wrong = known.with_name("wrong.csv")
    wrong.write_text(WRONG)
    result = run("calibrate", wrong, "-m", copy)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no better than a constant .5 (Brier score 0." in result.stderr
    assert sure() is None
    assert run("calibrate", known, "-m", copy).exit_code == 0
    before = sure()
    assert run("calibrate", wrong, "-m", copy).exit_code == 2
    assert before == sure() is not None


def test_bad_questions_fail(run: Run, copy: Path, known: Path, tmp_path: Path) -> None:
    known.write_text("red,walk.mp4,0-3\n")
    result = run("calibrate", known, "-m", copy)
    assert result.exit_code == 2
    assert "too few to calibrate with" in result.stderr
    known.write_text("teapot,walk.mp4,0-3\n")
    assert run("calibrate", known, "-m", copy).exit_code == 2
    assert run("calibrate", tmp_path / "none.csv", "-m", copy).exit_code == 4
    result = run("calibrate", known, "-m", tmp_path / "nowhere")
    assert result.exit_code == 4
    assert not (tmp_path / "nowhere").exists()
    for value in ("1.5", "nan", "-1"):
        assert run("where", "red", "--min-probability", value, "-m", copy).exit_code == 2
    result = run("where", "red", "--min-probability", "0.5", "--threshold", "0.5", "-m", copy)
    assert "two tests; give one of them" in result.stderr
