"""The film of the demo shows what its script says, and is part of the package."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vidmem.cli.demo_film import FILM, SCRIPT, Film, Shot, script
from vidmem.cli.demo_run import QUESTIONS, WALK, ask_film
from vidmem.memory import Memory

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def film() -> Film:
    return script()


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """All frames at an eighth of their size, float32."""
    with av.open(str(FILM)) as file:
        small = (f.reformat(120, 68, "rgb24").to_ndarray() for f in file.decode(video=0))
        return [image.astype(np.float32) for image in small]


def test_the_film_is_as_long_and_large_as_its_script_says(film: Film, frames: list[np.ndarray]) -> None:
    with av.open(str(FILM)) as file:
        video = file.streams.video[0]
        assert (video.width, video.height) == film.size
        assert video.average_rate == film.fps
        assert video.codec_context.name == "h264"
    assert len(frames) == film.seconds * film.fps
    assert 20 <= film.seconds <= 40
    assert FILM.stat().st_size <= 1_000_000


def test_it_cuts_where_its_script_says(film: Film, frames: list[np.ndarray]) -> None:
    change = [float(np.abs(b - a).mean()) for a, b in pairwise(frames)]
    cuts = {round(shot.start_s * film.fps) - 1 for shot in film.shots[1:]}
    assert min(change[i] for i in cuts) > 2 * max(change[i] for i in set(range(len(change))) - cuts)


def test_every_question_can_be_answered_from_the_script(film: Film) -> None:
    texts = [question.text for question in film.questions]
    assert len(set(texts)) == len(texts)
    there = [question for question in film.questions if question.thing is not None]
    assert len(there) >= 10
    assert len(film.questions) - len(there) >= 5
    for question in there:
        assert question.thing is not None
        shot = film.last(question.thing)
        for share in (0.5, 1):  # in view, and large enough, in the second half of the shot at the latest
            x0, y0, x1, y1 = shot.box(question.thing, shot.start_s + share * shot.seconds, film.size)
            assert x1 - x0 >= 20, question
            assert y1 - y0 >= 20, question
    shown = {thing for shot in film.shots for thing in shot.things}
    assert not shown & {question.text for question in film.questions if question.thing is None}


def test_a_thing_seen_twice_is_asked_for(film: Film) -> None:
    """The last appearance counts; the first would be wrong."""
    last = film.last("cup")
    assert sum("cup" in shot.things for shot in film.shots) == 2
    first = film.shots[0]
    assert "cup" in first.things
    assert first.end_s < last.start_s
    with pytest.raises(KeyError):
        film.last("violin")


def test_a_window_glides_and_boxes_go_with_it() -> None:
    shot = Shot("a.png", 10, 2, (0, 0, 100), (50, 20, 50), {"mug": (50, 20, 100, 45)})
    assert shot.end_s == 12
    assert shot.window(0, (200, 100)) == (0, 0, 100, 50)
    assert shot.window(1, (200, 100)) == (25, 10, 100, 47.5)
    assert shot.window(5, (200, 100)) == shot.window(2, (200, 100)) == (50, 20, 100, 45)
    assert shot.box("mug", 10, (200, 100)) == (100, 40, 200, 90)
    assert shot.box("mug", 12, (200, 100)) == (0, 0, 200, 100)


def test_the_film_ships_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert "vidmem.cli" in settings["packages"]
    data = {path for pattern in settings["package-data"]["vidmem"] for path in (ROOT / "vidmem").glob(pattern)}
    assert {ROOT / "vidmem" / "cli" / "demo_data" / path.name for path in (FILM, SCRIPT, WALK, QUESTIONS)} <= data


def test_every_picture_of_the_film_is_named_with_its_licence(film: Film) -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    for shot in film.shots:
        assert shot.picture.split(".")[0] in notice


@pytest.mark.slow
def test_tiny_answers_as_the_script_says(tmp_path: Path) -> None:
    """All answers are right except the known failures, and each known failure still fails."""
    with Memory.open(tmp_path / "memory") as memory:
        questions = ask_film(memory, tmp_path, lambda text: None)
    verdicts = {question.text: question.right for question in questions}
    assert verdicts == {question.text: question.wrong is None for question in questions}
    for question in questions:
        assert (question.sheet is not None) == bool(question.answer)
