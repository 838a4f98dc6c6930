"""The script of a world: its rooms, the walk, and the placement of things during each visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vidmem.errors import UsageError

from . import furniture
from .camera import BLURRED, Lens, Visit, rest, walk
from .drawings import Drawing
from .rooms import Room, make_room
from .scene import Placement, Stamp, fraction, sprite
from .textures import Rng

FEWEST = 12
"""Minimum number of names of a world: targets, clutter and absent things."""
DULL = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "with",
        "and",
        "in",
        "on",
        "for",
        "to",
        "red",
        "green",
        "blue",
        "yellow",
        "orange",
        "black",
        "white",
        "brown",
        "grey",
        "pink",
        "purple",
    ]
)
"""Words that two different names may share."""


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """All that frames and truth depend on. present: names of the things in this world."""

    seed: int
    seconds: float
    lens: Lens
    drawings: tuple[Drawing, ...]
    rooms: tuple[Room, ...]
    visits: tuple[Visit, ...]
    placements: tuple[Placement, ...]

    @property
    def present(self) -> frozenset[str]:
        return frozenset(self.drawings[p.drawing].name for p in self.placements)

    def things(self, visit: int) -> list[tuple[int, Placement, Image.Image]]:
        """Return (index, placement, sprite) of the things in the room of a visit, from far to near."""
        here = [
            (i, p)
            for i, p in enumerate(self.placements)
            if p.room == self.visits[visit].room and p.first <= visit < p.last
        ]
        return [(i, p, sprite(self.drawings[p.drawing], p)) for i, p in sorted(here, key=lambda ip: (ip[1].y, ip[0]))]


def words(drawing: Drawing) -> frozenset[str]:
    """Return the words of name and synonyms in lower case, without a trailing s and without DULL ones."""
    raw = " ".join((drawing.name, *drawing.synonyms)).lower().replace("-", " ").split()
    return frozenset(
        w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in raw if w not in DULL
    )


def cast(rng: Rng, drawings: Sequence[Drawing]) -> list[int]:
    """Return drawings in random order, of which no two share a word and none shares a word with the scenery."""
    taken = set(furniture.WORDS)
    out = []
    for i in rng.permutation(len(drawings)):
        own = words(drawings[i])
        if own and not own & taken:
            taken |= own
            out.append(int(i))
    return out


def write_script(
    seed: int,
    drawings: Sequence[Drawing],
    seconds: float,
    lens: Lens,
    rooms: int | None = None,
    targets: int | None = None,
    rest_s: float = 0.0,
) -> Script:
    """Plan a world. rest_s: seconds of standing still in each visit, in addition to the walk of `seconds`.

    Raises UsageError if time, size or drawings do not suffice, or the rest is negative.
    """
    if not 0 <= rest_s <= 3600:
        raise UsageError(f"a camera stands still for 0 to 3600 seconds, not {rest_s:g}")
    if not seconds >= 4:
        raise UsageError(f"a world lasts at least 4 seconds, not {seconds:g}: give more seconds")
    if (
        lens.width < 64
        or lens.height < 64
        or lens.width % 2
        or lens.height % 2
        or not 0.5 <= lens.width / lens.height <= 2
    ):
        raise UsageError(f"the size {lens.width}x{lens.height} must be even, from 64 pixels, no wider than 2:1")
    if not 5 <= lens.fps <= 120:
        raise UsageError(f"{lens.fps} frames a second: give 5 to 120")
    rng = np.random.default_rng([seed, 1])
    order = cast(rng, drawings)
    if len(order) < FEWEST:
        raise UsageError(
            f"{len(order)} usable names in {len(drawings)} drawings, and a world needs {FEWEST}: give more drawings "
            "(names that share a word with each other or with the furniture count once or not at all)"
        )
    count = rooms or (2 if seconds < 25 else 3 if seconds < 100 else 4 if seconds < 240 else 5 if seconds < 500 else 6)
    made = tuple(make_room(np.random.default_rng([seed, 2, i])) for i in range(count))
    visits = walk(np.random.default_rng([seed, 3]), made, seconds, lens)
    # A quarter of the names stays out, for questions about absent things.
    things = order[: max(FEWEST // 2, len(order) * 3 // 4)]
    wanted = targets or int(np.clip(seconds / 5, 3, 40))
    wanted = min(wanted, max(1, len(things) // 3))
    placements = _fill(np.random.default_rng([seed, 4]), made, visits, lens, things, wanted)
    if rest_s:  # after all was placed, so that the things are the same as without
        visits = rest(visits, rest_s, lens)
    return Script(seed, seconds, lens, tuple(drawings), made, visits, tuple(placements))


def _seen_seconds(rooms: Sequence[Room], visits: Sequence[Visit], lens: Lens) -> list[list[float]]:
    """Return for each visit and slot how long a thing of usual size there would be sharp and in view."""
    out = []
    for visit in visits:
        room = rooms[visit.room]
        row = []
        for slot in room.slots:
            xs, ys = np.meshgrid(slot.x + np.linspace(-45, 45, 5), slot.y - np.linspace(5, 95, 5))
            flat = np.stack([xs.ravel(), ys.ravel()], 1)
            stamp = Stamp(flat, np.ones(25), np.ones(25), (0, 0, 1, 1))
            seen = (fraction(stamp, visit.poses, room.occluders, lens) > 0.8) & (visit.smear < BLURRED)
            row.append(float(seen.sum()) / lens.fps)
        out.append(row)
    return out


def _fill(
    rng: Rng, rooms: Sequence[Room], visits: Sequence[Visit], lens: Lens, things: Sequence[int], wanted: int
) -> list[Placement]:
    """Place `wanted` targets where they will be in view, then fill most other slots with clutter."""
    seen = _seen_seconds(rooms, visits, lens)
    n = len(visits)
    free = [[set(range(n)) for _ in room.slots] for room in rooms]
    left = list(things)
    out: list[Placement] = []

    def put(thing: int, room: int, slot: int, first: int, last: int, target: bool) -> None:
        s = rooms[room].slots[slot]
        size = rng.uniform(98, 145) if s.kind == "floor" else rng.uniform(84, 128)
        tilt = rng.uniform(-20, 20) if s.kind in ("floor", "seat") else rng.uniform(-9, 9)
        x, y = s.x + rng.uniform(-9, 9), s.y + (rng.uniform(-4, 4) if s.kind in ("floor", "seat") else 0)
        out.append(
            Placement(
                thing, room, float(x), float(y), float(size), min(s.room_above, 165), float(tilt), first, last, target
            )
        )
        free[room][slot] -= set(range(first, last))

    for _ in range(wanted):
        times = min(n, int(rng.choice([1, 2, 3], p=[0.25, 0.45, 0.3])))
        when = sorted(int(v) for v in rng.choice(n, times, replace=False))
        begin = 0 if rng.random() < 0.5 else when[0]
        end = int(rng.integers(when[-1] + 1, n + 1)) if rng.random() < 0.4 else n
        steps: list[tuple[int, int, int, int]] = []
        for k, v in enumerate(when):
            first, last = (begin if k == 0 else v), (when[k + 1] if k + 1 < len(when) else end)
            room = visits[v].room
            good = [s for s, t in enumerate(seen[v]) if t >= 2.2 and free[room][s] >= set(range(first, last))]
            if not good:  # nothing is in view that long: take the longest
                open_ = [s for s in range(len(seen[v])) if free[room][s] >= set(range(first, last))]
                good = sorted(open_, key=lambda s: -seen[v][s])[:2]
            if good:
                steps.append((room, int(rng.choice(good)), first, last))
        if steps and left:
            thing = left.pop(0)
            for room, slot, first, last in steps:
                put(thing, room, slot, first, last, True)
    slots = [(r, s) for r, room in enumerate(rooms) for s in range(len(room.slots))]
    for i in rng.permutation(len(slots)):
        room, slot = slots[i]
        for first, last in _runs(free[room][slot]):
            if left and rng.random() < (0.8 if last - first == n else 0.5):
                a, b = first, last
                if b - a > 1 and rng.random() < 0.25:  # clutter comes and goes too
                    a, b = (a, int(rng.integers(a + 1, b))) if rng.random() < 0.5 else (int(rng.integers(a + 1, b)), b)
                put(left.pop(0), room, slot, a, b, False)
    return out


def _runs(free: set[int]) -> list[tuple[int, int]]:
    """Return maximal runs of consecutive numbers as (first, last + 1)."""
    out: list[tuple[int, int]] = []
    for v in sorted(free):
        if out and out[-1][1] == v:
            out[-1] = (out[-1][0], v + 1)
        else:
            out.append((v, v + 1))
    return out
