"""Made scenes: a few coloured shapes on a noisy ground, drawn from a seed.

Things often share a colour or a shape, so that a question about one of them must tell them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Pixels of a picture, both ways."""
COLOURS = {
    "red": (205, 45, 40),
    "green": (45, 165, 65),
    "blue": (50, 75, 215),
    "yellow": (225, 205, 50),
    "purple": (150, 55, 175),
}
SHAPES = ("circle", "square", "triangle", "cross")
PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
RADII = (6.5, 13.0)
"""Pixels from the centre of a thing to its outline, least and most."""
MOST = 5
"""Things in a scene; the least is 2."""
GAP = 1.5
"""Pixels between the circles around two things."""
AROUND = {"circle": 1.0, "square": 0.87 * math.sqrt(2), "triangle": 1.2, "cross": 1.1}
"""The circle around a thing of radius 1."""

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32) + np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing. x, y: its centre in pixels; radius in pixels; turn in radians."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A drawn scene.

    Attributes:
        things: In the order of the numbers in `index`.
        picture: `(64, 64, 3)` uint8.
        index: `(64, 64)` int8, which thing a pixel shows; -1 for the ground.
    """

    things: tuple[Thing, ...]
    picture: NDArray[np.uint8]
    index: NDArray[np.int8]


def draw(seed: int) -> Scene:
    """The scene of a seed: the same seed gives the same scene."""
    rng = np.random.default_rng((20, seed))
    things: list[Thing] = []
    for _ in range(int(rng.integers(2, MOST + 1))):
        for _ in range(60):
            thing = _thing(rng, things)
            if all(_apart(thing, other) for other in things):
                things.append(thing)
                break
    index = np.full((SIDE, SIDE), -1, np.int8)
    for number, thing in enumerate(things):
        index[inside(thing)] = number
    return Scene(tuple(things), _paint(rng, things, index), index)


def inside(thing: Thing) -> NDArray[np.bool_]:
    """Which pixels `(64, 64)` have their centre inside a thing."""
    cos, sin = math.cos(thing.turn), math.sin(thing.turn)
    dx, dy = (_X - thing.x) / thing.radius, (_Y - thing.y) / thing.radius
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    if thing.shape == "circle":
        return np.asarray(u * u + v * v <= 1)
    if thing.shape == "square":
        return np.asarray(np.maximum(np.abs(u), np.abs(v)) <= 0.87)
    if thing.shape == "triangle":  # the corners are 1.2 from the centre, the sides .6
        return np.asarray((v <= 0.6) & (math.sqrt(3) * np.abs(u) - v <= 1.2))
    a, b = np.abs(u), np.abs(v)
    return np.asarray((np.maximum(a, b) <= 1.04) & (np.minimum(a, b) <= 0.38))


def _thing(rng: np.random.Generator, others: list[Thing]) -> Thing:
    colour, shape = PAIRS[rng.integers(len(PAIRS))]
    if others:
        other = others[rng.integers(len(others))]
        colour = other.colour if rng.random() < 0.3 else colour
        shape = other.shape if rng.random() < 0.3 else shape
    radius = float(rng.uniform(*RADII))
    edge = radius * AROUND[shape] * 0.95
    x, y = rng.uniform(edge, SIDE - edge, 2)
    return Thing(colour, shape, float(x), float(y), radius, float(rng.uniform(-0.25, 0.25)))


def _apart(a: Thing, b: Thing) -> bool:
    least = a.radius * AROUND[a.shape] + b.radius * AROUND[b.shape] + GAP
    return math.hypot(a.x - b.x, a.y - b.y) >= least


def _paint(rng: np.random.Generator, things: list[Thing], index: NDArray[np.int8]) -> NDArray[np.uint8]:
    ground = rng.uniform(70, 180) + rng.uniform(-12, 12, 3)
    slope = rng.uniform(-0.6, 0.6, (2, 1, 1, 1))
    light = (slope[0] * (_X - SIDE / 2)[..., None] + slope[1] * (_Y - SIDE / 2)[..., None]).astype(np.float32)
    table = np.array([np.add(COLOURS[t.colour], rng.uniform(-25, 25, 3)) for t in things] + [ground], np.float32)
    noise = rng.standard_normal((SIDE, SIDE, 3), np.float32) * np.float32(rng.uniform(4, 14))
    return np.asarray(np.clip(table[index] + light + noise, 0, 255), np.uint8)
