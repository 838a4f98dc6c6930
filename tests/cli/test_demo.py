"""`vidmem demo`: the walk, the film, and clips of the user."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem.cli.demo_film import Film, FilmQuestion, Shot
from vidmem.cli.demo_run import overlap

from .conftest import SCENE, Run

WALK = (("green", 4, 11.9), ("blue", 1, 5.9), ("red", 8, 10.9))
SIZE = (fakes.WIDTH, fakes.HEIGHT)


Asked = tuple[str, float, float]


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the walk by coloured squares, with these questions and one about an absent thing."""
    monkeypatch.setattr("vidmem.memory.DEFAULT", "colours")
    folder = tmp_path_factory.mktemp("walk")
    monkeypatch.setattr("vidmem.cli.demo_run.WALK", fakes.squares(folder / "video.mp4", SCENE, 12))
    monkeypatch.setattr("vidmem.cli.demo_run.QUESTIONS", folder / "walk.json")

    def set_questions(asked: tuple[Asked, ...]) -> None:
        rows = [{"ask": name, "start_ns": int(a * 1e9), "end_ns": int(b * 1e9)} for name, a, b in asked]
        rows.append({"ask": "brown", "start_ns": None, "end_ns": None})
        (folder / "walk.json").write_text(json.dumps({"questions": rows}))

    return set_questions


@pytest.fixture(autouse=True)
def film(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the film by squares: red at the left, later at the right; cyan is absent.

    Call the fixture to replace the two default questions, one of which is about an absent thing.
    """
    path = fakes.squares(tmp_path_factory.mktemp("made") / "film.mp4", [("red", 0, 1.5, 8), ("red", 4.5, 7, 112)], 7)
    whole = (0.0, 0.0, float(fakes.WIDTH))
    shots = (
        Shot("a.png", 0, 3.5, whole, whole, {"left": (8, 32, 40, 64), "red": (8, 32, 40, 64)}),
        Shot("b.png", 3.5, 3.5, whole, whole, {"red": (112, 32, 144, 64), "elsewhere": (0, 0, 60, 96)}),
    )

    def set_questions(*asked: FilmQuestion) -> None:
        monkeypatch.setattr("vidmem.cli.demo_run.FILM", path)
        monkeypatch.setattr("vidmem.cli.demo_run.script", lambda: Film(SIZE, 10, shots, asked))

    set_questions(FilmQuestion("red", "red"), FilmQuestion("brown", None))
    return set_questions


def test_demo(run: Run, world: Any, tmp_path: Path) -> None:
    world(WALK)
    for _ in range(2):  # the second time in the same folder
        result = run("demo", tmp_path / "demo")
        assert result.exit_code == 0, result.stdout
        lines = result.stdout.splitlines()
        assert len(lines) == 6
        assert all(line.startswith("right") for line in lines)
        assert lines[2].startswith("right   red: video.mp4 at 8.0 to 10.8 s (truth: 8.0 to 10.9 s)")
        assert "brown: not found (truth: never there)" in lines[3]
        assert lines[4].startswith("right   red: film.mp4 at 4.6 to 6.8 s (truth: 3.5 to 7.0 s)")
        assert lines[5] == "right   brown: not found (truth: never there)"
        saved = {p.name for p in (tmp_path / "demo").glob("*.png")}
        assert saved == {"red.png", "blue.png", "green.png", "film-red.png"}
        assert "6 of 6 answers are right\n" in result.stderr


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (FilmQuestion("red", "left"), "red: film.mp4 at 4.6 to 6.8 s (truth: 0.0 to 3.5 s"),  # seen, but not last
        (
            FilmQuestion("red", "elsewhere"),
            "red: film.mp4 at 4.6 to 6.8 s (truth: 3.5 to 7.0 s",
        ),  # not where the box is
        (FilmQuestion("blue", "red"), "blue: not found (truth: 3.5 to 7.0 s"),
        (FilmQuestion("red", None), "red: film.mp4 at 4.6 to 6.8 s (truth: never there"),
    ],
)
def test_demo_fails_when_an_answer_about_the_film_is_wrong(
    run: Run, world: Any, film: Any, tmp_path: Path, asked: FilmQuestion, line: str
) -> None:
    world(WALK)
    film(FilmQuestion("red", "red"), asked)
    result = run("demo", tmp_path / "demo")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[5].startswith(f"WRONG   {line})")
    assert "5 of 6 answers are right\n" in result.stderr
    film(FilmQuestion("red", "red"), FilmQuestion(asked.text, asked.thing, "a reason"))
    result = run("demo", tmp_path / "demo")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[5].startswith(f"known   {line}; a reason)")
    assert "5 of 6 answers are right, 1 are known failures\n" in result.stderr


def test_what_was_known_to_be_wrong_may_be_right(run: Run, world: Any, film: Any, tmp_path: Path) -> None:
    world(WALK)
    film(FilmQuestion("red", "red", "a reason"), FilmQuestion("brown", None, "a reason"))
    result = run("demo", tmp_path / "demo")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["right"] * 6
    assert "6 of 6 answers are right\n" in result.stderr


def test_demo_asks_real_clips_too(run: Run, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world(WALK)
    clips = tmp_path / "clips"
    clips.mkdir()
    fakes.squares(clips / "walk.mp4", SCENE, 12)
    monkeypatch.setattr("vidmem.cli.demo_run.WORDS", ("blue", "brown"))
    result = run("demo", tmp_path / "demo", "--clips", clips)
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert lines[6].startswith("guess   blue: walk.mp4 at 1.0 to 5.")
    assert lines[7] == "guess   brown: not found"
    assert (tmp_path / "demo" / "clips-blue.png").exists()


def test_demo_fails_on_clips_that_are_not_there(run: Run, world: Any, tmp_path: Path) -> None:
    world(WALK)
    assert run("demo", tmp_path / "demo", "--clips", tmp_path / "none").exit_code == 4  # a source that is missing


def test_demo_fails_when_an_answer_is_wrong(run: Run, world: Any, tmp_path: Path) -> None:
    world((("red", 0, 2.9), ("blue", 1, 5.9), ("green", 4, 11.9)))
    result = run("demo", tmp_path / "demo")
    assert result.exit_code == 1
    assert "WRONG   red: video.mp4 at 8.0 to 10.8 s (truth: 0.0 to 2.9 s)" in result.stdout


def test_demo_leaves_other_folders_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_text("mine")
    assert run("demo", tmp_path).exit_code == 2
    assert os.listdir(tmp_path) == ["video.mp4"]


def test_overlap() -> None:
    assert overlap((0, 10), (5, 15)) == pytest.approx(1 / 3)
    assert overlap((0, 10), (20, 30)) == 0
