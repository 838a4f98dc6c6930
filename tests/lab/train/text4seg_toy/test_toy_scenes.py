"""Scenes and questions: the same seed gives the same, and every question has the answer that it claims."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lab.train.text4seg_toy.questions import (
    ASKED,
    BESIDE,
    HELD,
    KINDS,
    LONGEST,
    MOST_EXTREME,
    THING,
    WORDS,
    Question,
    ask,
)
from lab.train.text4seg_toy.scenes import COLOURS, PAIRS, SIDE, Scene, Thing, draw, inside


def test_a_scene_follows_from_its_seed() -> None:
    assert np.array_equal(draw(7).picture, draw(7).picture)
    assert draw(7).things == draw(7).things
    assert not np.array_equal(draw(7).picture, draw(8).picture)


def test_things_are_whole_apart_and_of_their_colour() -> None:
    for seed in range(30):
        scene = draw(seed)
        assert scene.picture.shape == (SIDE, SIDE, 3)
        assert scene.picture.dtype == np.uint8
        for number, thing in enumerate(scene.things):
            shown = scene.index == number
            assert np.array_equal(shown, inside(thing))  # nothing lies over it
            assert shown.sum() > 50
            off = scene.picture[shown].mean(0) - np.array(COLOURS[thing.colour])
            assert np.abs(off).max() < 60


@pytest.mark.parametrize(("shape", "area"), [("circle", 3.14), ("square", 3.03), ("triangle", 1.87), ("cross", 2.58)])
def test_a_shape_has_its_area(shape: str, area: float) -> None:
    assert inside(Thing("red", shape, 32, 32, 12, 0.2)).sum() / 144 == pytest.approx(area, rel=0.05)


def _meant(scene: Scene, words: tuple[str, ...]) -> list[int]:
    """The things that a question means, by a reading of its words that shares nothing with how they were made."""
    text = " ".join(words)
    for place, (axis, way) in BESIDE.items():
        first, found, second = text.partition(f" {place} ")
        if found:
            (other,) = _meant(scene, tuple(second.split()))
            there = scene.things[other]
            return [
                n
                for n in _meant(scene, tuple(first.split()))
                if n != other and way * (_at(scene.things[n], axis) - _at(there, axis)) > 0
            ]
    found_ = [
        n
        for n, thing in enumerate(scene.things)
        if all(w in ("the", THING, *MOST_EXTREME) or w in (thing.colour, thing.shape) for w in words)
    ]
    if found_ and words[1] in MOST_EXTREME:
        axis, way = MOST_EXTREME[words[1]]
        return [max(found_, key=lambda n: way * _at(scene.things[n], axis))]
    return found_


def _at(thing: Thing, axis: int) -> float:
    return (thing.x, thing.y)[axis]


def _many(pairs: tuple[tuple[str, str], ...], count: int = 250) -> list[tuple[Scene, Question]]:
    rng = np.random.default_rng(0)
    made = [(scene, ask(scene, rng, pairs)) for scene in map(draw, range(count))]
    return [(scene, question) for scene, question in made if question is not None]


def test_questions_mean_what_they_claim() -> None:
    made = _many(ASKED)
    for scene, question in made:
        assert _meant(scene, question.words) == ([] if question.absent else [question.target]), str(question)
        assert len(question.words) <= LONGEST
        assert set(question.words) <= set(WORDS)
        assert question.mask(scene).any() == (not question.absent)
    assert set(Counter(question.kind for _, question in made)) == set(KINDS)
    assert 0.1 < np.mean([question.absent for _, question in made]) < 0.35


def test_held_pairs_are_asked_for_only_when_wanted() -> None:
    def named(question: Question) -> set[tuple[str, str]]:
        return {pair for pair in PAIRS if " ".join(pair) in str(question)}

    assert not any(named(question) & set(HELD) for _, question in _many(ASKED))
    held = _many(HELD)
    assert held
    assert all(named(question) & set(HELD) for _, question in held)
