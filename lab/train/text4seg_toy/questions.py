"""Questions about scenes: by colour, shape, both, place, and place beside another thing; also for what is not there.

A question is about exactly one thing or about none. Places are compared by the centres of things, and a question is
asked only where they differ by more than CLEAR pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scenes import COLOURS, PAIRS, SHAPES, Scene, Thing

CLEAR = 4.0
THING = "thing"
NOUNS = (*SHAPES, THING)
HELD = (("red", "cross"), ("blue", "square"), ("green", "circle"), ("yellow", "triangle"))
"""Pairs of colour and shape that no training question names."""
ASKED = tuple(pair for pair in PAIRS if pair not in HELD)
MOST_EXTREME = {"leftmost": (0, -1), "rightmost": (0, 1), "topmost": (1, -1), "bottommost": (1, 1)}
BESIDE = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
"""Words for a place: the axis (x, y) and its direction."""
KINDS = {"colour": 0.12, "shape": 0.12, "pair": 0.2, "extreme": 0.24, "relation": 0.32}
"""Kinds of question and how often they are asked, about."""
ABSENT = 0.2
"""The share of questions about things that are not there."""
TRIES = 40
"""Attempts at a question of one kind."""
LONGEST = 8
"""Words of the longest question."""
WORDS = ("the", *COLOURS, *NOUNS, *MOST_EXTREME, "left", "right", "of", "above", "below")

Pairs = Collection[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question in words, such as "the blue triangle left of the red circle".

    Attributes:
        words: The question, at most LONGEST words.
        noun: Its noun, which labels the mask.
        kind: One of KINDS.
        target: The number of the thing, or -1 if there is none.
    """

    words: tuple[str, ...]
    noun: str
    kind: str
    target: int

    @property
    def absent(self) -> bool:
        """Whether nothing in the scene is meant."""
        return self.target < 0

    def __str__(self) -> str:
        return " ".join(self.words)

    def mask(self, scene: Scene) -> NDArray[np.bool_]:
        """The pixels `(64, 64)` that are asked for."""
        return np.zeros(scene.index.shape, np.bool_) if self.absent else scene.index == self.target


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A colour and a shape; None where one is not named."""

    colour: str | None
    shape: str | None

    @property
    def noun(self) -> str:
        return self.shape or THING

    def words(self, place: str = "") -> list[str]:
        return ["the", *([place] if place else []), *([self.colour] if self.colour else []), self.noun]

    def fits(self, thing: Thing) -> bool:
        return self.colour in (None, thing.colour) and self.shape in (None, thing.shape)

    def among(self, scene: Scene) -> list[int]:
        return [number for number, thing in enumerate(scene.things) if self.fits(thing)]


def ask(
    scene: Scene,
    rng: np.random.Generator,
    pairs: Pairs = ASKED,
    kinds: Sequence[str] = tuple(KINDS),
    absent: float = ABSENT,
) -> Question | None:
    """A question about a scene; None if chance found none of the kind.

    Args:
        scene: With at least one thing.
        rng: Chooses the question.
        pairs: Colours with shapes that may be named together. The pairs of training are ASKED; with HELD, every
            question asks for one of those.
        kinds: Of question, some of KINDS.
        absent: The share of questions about what is not there.
    """
    none = bool(rng.random() < absent)
    possible = [kind for kind in kinds if kind not in ("colour", "shape") or not _only_held(pairs)]
    weights = np.array([KINDS[kind] for kind in possible])
    kind = str(rng.choice(possible, p=weights / weights.sum()))
    for _ in range(TRIES):
        if (question := _MAKERS[kind](scene, rng, pairs, none)) is not None:
            return question
    return None


def _only_held(pairs: Pairs) -> bool:
    return all(pair in HELD for pair in pairs)


def _one(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _pair(scene: Scene, rng: np.random.Generator, pairs: Pairs, none: bool) -> _Phrase:
    """A pair that may be named: of a thing in the scene, or, for none, one that shares a colour or a shape with one."""
    if none:
        near = [p for p in pairs if any(p[0] == t.colour or p[1] == t.shape for t in scene.things)]
        return _Phrase(*_one(rng, near if near and rng.random() < 0.8 else list(pairs)))
    there = [(t.colour, t.shape) for t in scene.things if (t.colour, t.shape) in pairs]
    return _Phrase(*_one(rng, there if there else list(pairs)))


def _phrase(scene: Scene, rng: np.random.Generator, pairs: Pairs, *, bare: bool = False, none: bool = False) -> _Phrase:
    """Something to name: a thing of the scene, or for none anything. bare: also without colour and shape."""
    if _only_held(pairs):
        return _pair(scene, rng, pairs, none)
    choice = rng.random()
    if bare and choice < 0.25:
        return _Phrase(None, None)
    thing = _one(rng, scene.things)
    if choice < 0.5:
        return _Phrase(_one(rng, tuple(COLOURS)) if none else thing.colour, None)
    if choice < 0.75:
        return _Phrase(None, _one(rng, SHAPES) if none else thing.shape)
    return _pair(scene, rng, pairs, none)


def _simple(scene: Scene, phrase: _Phrase, kind: str, none: bool) -> Question | None:
    found = phrase.among(scene)
    if len(found) != (0 if none else 1):
        return None
    return Question(tuple(phrase.words()), phrase.noun, kind, -1 if none else found[0])


def _colour(scene: Scene, rng: np.random.Generator, pairs: Pairs, none: bool) -> Question | None:
    return _simple(scene, _Phrase(_one(rng, tuple(COLOURS)), None), "colour", none)


def _shape(scene: Scene, rng: np.random.Generator, pairs: Pairs, none: bool) -> Question | None:
    return _simple(scene, _Phrase(None, _one(rng, SHAPES)), "shape", none)


def _both(scene: Scene, rng: np.random.Generator, pairs: Pairs, none: bool) -> Question | None:
    return _simple(scene, _pair(scene, rng, pairs, none), "pair", none)


def _extreme(scene: Scene, rng: np.random.Generator, pairs: Pairs, none: bool) -> Question | None:
    phrase = _phrase(scene, rng, pairs, bare=not none, none=none)
    found = phrase.among(scene)
    place = str(_one(rng, tuple(MOST_EXTREME)))
    words = tuple(phrase.words(place))
    if none:
        return Question(words, phrase.noun, "extreme", -1) if not found else None
    axis, way = MOST_EXTREME[place]
    order = sorted(found, key=lambda number: -way * _at(scene.things[number], axis))
    if len(found) < 2 or _lead(scene, order[0], order[1], axis, way) < CLEAR:
        return None
    return Question(words, phrase.noun, "extreme", order[0])


def _relation(scene: Scene, rng: np.random.Generator, pairs: Pairs, none: bool) -> Question | None:
    missing = none and bool(rng.random() < 0.3)  # else the thing is there, but in another place
    phrase = _phrase(scene, rng, pairs, none=missing)
    # The thing beside it is named as in training: held-out questions differ in what they ask for.
    anchor = _phrase(scene, rng, ASKED)
    anchors, found = anchor.among(scene), phrase.among(scene)
    if phrase == anchor or len(anchors) != 1 or (none and missing == bool(found)):
        return None
    place = str(_one(rng, tuple(BESIDE)))
    axis, way = BESIDE[place]
    leads = {n: _lead(scene, n, anchors[0], axis, way) for n in found if n != anchors[0]}
    there = [n for n, lead in leads.items() if lead > 0]
    if any(abs(lead) < CLEAR for lead in leads.values()) or len(there) != (0 if none else 1):
        return None
    if len(leads) == 1 and not none and rng.random() < 0.5:  # the place says nothing new here; keep half of these
        return None
    words = (*phrase.words(), *place.split(), *anchor.words())
    return Question(words, phrase.noun, "relation", -1 if none else there[0])


def _at(thing: Thing, axis: int) -> float:
    return thing.y if axis else thing.x


def _lead(scene: Scene, first: int, second: int, axis: int, way: int) -> float:
    """How far `first` lies beyond `second` on that axis, in pixels."""
    return way * (_at(scene.things[first], axis) - _at(scene.things[second], axis))


_MAKERS: dict[str, Callable[[Scene, np.random.Generator, Pairs, bool], Question | None]] = {
    "colour": _colour,
    "shape": _shape,
    "pair": _both,
    "extreme": _extreme,
    "relation": _relation,
}
