"""Made scenes of things on textured grounds, with the captions that people would give them.

A scene has one or two grounds (stuff) and one to three things. In scenes for learning a thing stands on its usual
ground in most cases; in scenes for measuring every ground is as likely. A caption mostly names the thing alone, as
captions of photographs do; that is the foreground bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 96
"""Pixels of a side of a scene."""
PATCH = 8
"""Pixels of a side of a patch."""
THINGS = ("ball", "crate", "kite", "cone", "ring", "star", "plus", "coin", "leaf", "tile")
STUFF = ("grass", "sand", "water", "gravel", "brick", "wood", "carpet", "snow")
NAMES = (*THINGS, *STUFF)
"""All classes; the label of a pixel is an index into them."""
AREA = (0.05, 0.30)
"""Least and largest share of the scene that a thing covers."""

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Shape = Callable[[Floats, Floats], Bools]


@dataclass(frozen=True, slots=True)
class Rules:
    """How scenes are composed.

    Attributes:
        usual: Share of things that stand on their usual ground; None if all grounds are as likely.
        second_ground: Share of scenes that have a second ground.
        extra: Shares of scenes with no, one and two further things.
        thing_only: Share of captions that name things alone.
        ground_only: Share of captions that name the ground alone; all others name thing and ground.
    """

    usual: float | None = 0.85
    second_ground: float = 0.5
    extra: tuple[float, float, float] = (0.4, 0.35, 0.25)
    thing_only: float = 0.75
    ground_only: float = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """Some scenes.

    Attributes:
        pictures: `(N, SIDE, SIDE, 3)` uint8.
        labels: `(N, SIDE, SIDE)` uint8, indices into `NAMES`.
        instances: `(N, SIDE, SIDE)` uint8; 0 is ground, others number the things of a scene.
        captions: N tuples of one to three indices into `NAMES`, in the order in which they are said.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    captions: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.pictures)


def usual_ground(thing: int) -> int:
    """The ground on which a thing is mostly seen, as an index into `STUFF`."""
    return thing % len(STUFF)


def make_scenes(count: int, seed: tuple[int, ...], rules: Rules) -> Scenes:
    """Make `count` scenes; the same `seed` and `rules` give the same scenes."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((count, SIDE, SIDE, 3), np.uint8)
    labels = np.empty((count, SIDE, SIDE), np.uint8)
    instances = np.empty((count, SIDE, SIDE), np.uint8)
    captions = []
    for i in range(count):
        pictures[i], labels[i], instances[i], caption = _scene(rng, rules)
        captions.append(caption)
    return Scenes(pictures, labels, instances, tuple(captions))


def _scene(
    rng: np.random.Generator, rules: Rules
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], tuple[int, ...]]:
    main = int(rng.integers(len(THINGS)))
    ground = usual_ground(main)
    if rules.usual is None:
        ground = int(rng.integers(len(STUFF)))
    elif rng.random() >= rules.usual:
        ground = int((ground + rng.integers(1, len(STUFF))) % len(STUFF))
    canvas = _ground(rng, ground)
    labels = np.full((SIDE, SIDE), len(THINGS) + ground, np.uint8)
    if rng.random() < rules.second_ground:
        other = int((ground + rng.integers(1, len(STUFF))) % len(STUFF))
        beyond = _horizon(rng)
        canvas[beyond] = _ground(rng, other)[beyond]
        labels[beyond] = len(THINGS) + other
    instances = np.zeros((SIDE, SIDE), np.uint8)
    placed: list[int] = []
    wanted = [main, *rng.integers(len(THINGS), size=rng.choice(3, p=rules.extra)).tolist()]
    for thing in wanted:
        for _ in range(8):  # tries to find a free place
            window, inside, colours = _thing(rng, thing)
            if not instances[window][inside].any():
                canvas[window][inside] = colours[inside]
                labels[window][inside] = thing
                instances[window][inside] = len(placed) + 1
                placed.append(thing)
                break
    light = rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)
    noisy = canvas * light.astype(np.float32) + 6 * rng.standard_normal(canvas.shape, np.float32)
    return noisy.clip(0, 255).astype(np.uint8), labels, instances, _caption(rng, rules, placed, ground)


def _caption(rng: np.random.Generator, rules: Rules, things: list[int], ground: int) -> tuple[int, ...]:
    said = rng.random()
    stuff = (len(THINGS) + ground,)
    if said < rules.ground_only:
        return stuff
    named = things if len(things) > 1 and rng.random() < 0.5 else things[:1]
    named = list(dict.fromkeys(named))[:2]
    return tuple(named) if said < rules.ground_only + rules.thing_only else (*named, *stuff)


# --- grounds -------------------------------------------------------------------------------------------------------

_COLOURS = {
    "grass": ((70, 125, 55), (105, 160, 70)),
    "sand": ((200, 175, 125), (225, 205, 155)),
    "water": ((45, 95, 150), (90, 150, 195)),
    "gravel": ((95, 95, 95), (165, 160, 155)),
    "brick": ((150, 70, 55), (190, 180, 170)),
    "wood": ((115, 75, 45), (160, 115, 70)),
    "carpet": ((110, 60, 110), (150, 95, 145)),
    "snow": ((205, 215, 225), (245, 248, 250)),
}


@cache
def _noise() -> dict[str, Floats]:
    """Fields of noise in 0..1, `(256, 256)` each, from which grounds are cut at random places."""
    rng = np.random.default_rng(7)
    white = rng.random((256, 256))

    def blurred(rows: float, columns: float) -> Floats:
        spectrum = np.fft.rfft2(white)
        fy, fx = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None]
        field = np.fft.irfft2(spectrum * np.exp(-2 * np.pi**2 * ((fy * rows) ** 2 + (fx * columns) ** 2)), (256, 256))
        ranks = field.ravel().argsort().argsort().reshape(field.shape) / field.size
        return ranks.astype(np.float32)

    return {"fine": blurred(0.6, 0.6), "streak": blurred(2.5, 0.6), "grain": blurred(0.8, 9), "blob": blurred(2, 2)}


def _ground(rng: np.random.Generator, ground: int) -> Floats:
    """One ground over the whole scene, `(SIDE, SIDE, 3)` float32, 0..255."""
    name = STUFF[ground]
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    y0, x0 = rng.integers(0, 256 - SIDE, 2)

    def cut(kind: str) -> Floats:
        return _noise()[kind][y0 : y0 + SIDE, x0 : x0 + SIDE]

    zoom = np.float32(rng.uniform(0.8, 1.25))
    dy, dx = rng.uniform(0, 40, 2).astype(np.float32)
    v, u = y * zoom + dy, x * zoom + dx
    if name == "grass":
        mix = cut("streak")
    elif name == "sand":
        mix = cut("fine")
    elif name == "water":
        mix = 0.5 + 0.5 * np.sin(v * 0.9 + 3 * cut("blob") + u * 0.05)
    elif name == "gravel":
        mix = (cut("blob") > 0.5).astype(np.float32)
    elif name == "brick":
        row = np.floor(v / 8)
        mix = ((v % 8 < 1.5) | ((u + 6 * (row % 2)) % 12 < 1.5)).astype(np.float32)
    elif name == "wood":
        mix = cut("grain")
    elif name == "carpet":
        mix = ((np.floor(u / 5) + np.floor(v / 5)) % 2).astype(np.float32)
    else:
        mix = cut("blob") * 0.7 + 0.3 * cut("fine")
    low, high = (np.array(c, np.float32) for c in _COLOURS[name])
    shift = rng.normal(0, 8, 3).astype(np.float32)
    out: Floats = low + shift + (high - low) * mix[..., None].astype(np.float32)
    return out


def _horizon(rng: np.random.Generator) -> Bools:
    """The side of a wavy line that lies in the outer 30 to 50 % of the scene."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    if rng.random() < 0.3:  # a wall beside the floor instead of behind it
        y, x = x, y
    if rng.random() < 0.3:
        y = 1 - y
    wave = 0.04 * np.sin(x * rng.uniform(3, 9) + rng.uniform(0, 6))
    beyond: Bools = y < rng.uniform(0.3, 0.5) + wave
    return beyond


# --- things --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A thing in coordinates -1..1: outline, colour, and marks in a second colour."""

    outline: Shape
    mark: Shape
    colour: tuple[int, int, int]
    mark_colour: tuple[int, int, int]


def _star(u: Floats, v: Floats) -> Bools:
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    inside: Bools = radius < 0.72 + 0.28 * np.cos(5 * angle)
    return inside


_DRAWINGS = {
    "ball": _Drawing(lambda u, v: np.hypot(u, v) < 0.95, lambda u, v: abs(v) < 0.2, (200, 45, 45), (240, 235, 230)),
    "crate": _Drawing(
        lambda u, v: np.maximum(abs(u), abs(v)) < 0.9,
        lambda u, v: (np.maximum(abs(u), abs(v)) > 0.7) | (abs(u - v) < 0.15),
        (170, 120, 65),
        (85, 55, 30),
    ),
    "kite": _Drawing(
        lambda u, v: abs(u) + abs(v) < 1, lambda u, v: (abs(u) < 0.1) | (abs(v) < 0.1), (60, 150, 70), (245, 220, 60)
    ),
    "cone": _Drawing(
        lambda u, v: (v < 0.9) & (v > -0.9) & (abs(u) < 0.1 + 0.45 * (v + 0.9)),
        lambda u, v: abs(v - 0.2) < 0.2,
        (235, 120, 30),
        (245, 240, 235),
    ),
    "ring": _Drawing(
        lambda u, v: (np.hypot(u, v) < 0.98) & (np.hypot(u, v) > 0.45),
        lambda u, v: np.arctan2(v, u) % 1.05 < 0.3,
        (40, 80, 190),
        (230, 230, 235),
    ),
    "star": _Drawing(_star, lambda u, v: np.hypot(u, v) < 0.25, (245, 210, 45), (200, 90, 30)),
    "plus": _Drawing(
        lambda u, v: (np.minimum(abs(u), abs(v)) < 0.33) & (np.maximum(abs(u), abs(v)) < 0.95),
        lambda u, v: np.maximum(abs(u), abs(v)) > 0.7,
        (35, 160, 160),
        (20, 70, 80),
    ),
    "coin": _Drawing(
        lambda u, v: np.hypot(u, v) < 0.95,
        lambda u, v: (np.hypot(u, v) > 0.72) | (np.hypot(u, v) < 0.2),
        (190, 190, 200),
        (90, 90, 110),
    ),
    "leaf": _Drawing(
        lambda u, v: (np.hypot(u, v - 0.6) < 1.15) & (np.hypot(u, v + 0.6) < 1.15),
        lambda u, v: (abs(v) < 0.07) | (abs(abs(v) - abs(u % 0.4)) < 0.05),
        (150, 60, 25),
        (235, 180, 60),
    ),
    "tile": _Drawing(
        lambda u, v: np.maximum(abs(u), abs(v)) < 0.9,
        lambda u, v: np.floor(u * 2.2) % 2 == np.floor(v * 2.2) % 2,
        (150, 70, 160),
        (235, 205, 235),
    ),
}


@cache
def _unit_area(name: str) -> float:
    """The share of the square -1..1 that the outline covers."""
    v, u = np.mgrid[-1:1:200j, -1:1:200j].astype(np.float32)
    return float(_DRAWINGS[name].outline(u, v).mean())


def _thing(rng: np.random.Generator, thing: int) -> tuple[tuple[slice, slice], Bools, Floats]:
    """A thing at a random place: the window of the scene around it, and there its mask and its colours, 0..255."""
    drawing = _DRAWINGS[THINGS[thing]]
    area = np.exp(rng.uniform(np.log(AREA[0]), np.log(AREA[1])))
    radius = np.sqrt(area / _unit_area(THINGS[thing])) / 2  # half a side of its square, in sides of the scene
    room = min(radius, 0.5)
    cy, cx = rng.uniform(room, 1 - room, 2)
    turn = rng.uniform(-0.5, 0.5)
    reach = radius * (abs(np.cos(turn)) + abs(np.sin(turn)))  # of the turned square
    top, left = (max(0, int((c - reach) * SIDE)) for c in (cy, cx))
    bottom, right = (min(SIDE, int((c + reach) * SIDE) + 1) for c in (cy, cx))
    y, x = (np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5) / SIDE
    a, b = (x - np.float32(cx)) / np.float32(radius), (y - np.float32(cy)) / np.float32(radius)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = a * cos + b * sin, b * cos - a * sin
    plain, marks = (np.array(colour, np.float32) for colour in (drawing.colour, drawing.mark_colour))
    colours = np.where(drawing.mark(u, v)[..., None], marks, plain)
    shift = rng.normal(0, 12, 3).astype(np.float32)
    return (slice(top, bottom), slice(left, right)), drawing.outline(u, v), colours + shift
