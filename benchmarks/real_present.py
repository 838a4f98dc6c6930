"""Everyday names in the clips with their places, judged by eye (real_present.json), and the scoring of answers.

An answer to a name is right when its newest sighting is in a clip that shows the thing, overlaps a time in which it is
in view, and its evidence box lies on it: IoU of at least .3 with a true box near that time, or its middle inside one
(the latter not for what stands behind other things: a cup is no table).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import Box, Span, box_iou
from vidmem.records import Sighting

PRESENT = Path(__file__).with_name("real_present.json")
LEAST_IOU = 0.3
NEAR_S = 0.3
"""A box holds for frames so near to its time; where none is so near, those of the nearest time hold."""
HALVES = ("fit", "held")


@dataclass(frozen=True, slots=True)
class Place:
    """One thing, or several of a kind, in one clip.

    Attributes:
        spans: When it is in view, in seconds.
        boxes: (t_s, x0, y0, x1, y1) in pixels of the upright video.
        still: Every box holds at all times.
        behind: Other things stand in front of it.
    """

    id: str
    clip: str
    spans: tuple[Span, ...]
    still: bool
    behind: bool
    boxes: tuple[tuple[float, float, float, float, float], ...]

    def boxes_at(self, t_s: float) -> list[Box]:
        """The true boxes of a frame at t_s seconds."""
        if self.still:
            return [box[1:] for box in self.boxes]
        nearest = min(abs(box[0] - t_s) for box in self.boxes)
        return [box[1:] for box in self.boxes if abs(box[0] - t_s) <= max(NEAR_S, nearest + 1e-6)]


@dataclass(frozen=True, slots=True)
class Name:
    """A plain name of something that is present.

    Attributes:
        half: "fit" for names that calibration may use, else "held".
        core: A whole thing that most people would point out; the others are parts, backgrounds and odd tools.
    """

    name: str
    half: str
    core: bool
    also: tuple[str, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """names: of present things. absent: of absent ones, by half."""

    names: tuple[Name, ...]
    absent: dict[str, tuple[str, ...]]

    def half(self, half: str) -> list[Name]:
        return [name for name in self.names if name.half == half]


def facts(clips: Sequence[str] | None = None, path: Path = PRESENT) -> Facts:
    """Read the file. clips: names of the files that are present; a name that is only in other clips is left out."""
    held = json.loads(path.read_text("utf-8"))
    places = {
        p["id"]: Place(
            p["id"],
            p["clip"],
            tuple((a, b) for a, b in p["spans"]),
            p["still"],
            p["behind"],
            tuple((t, x0, y0, x1, y1) for t, x0, y0, x1, y1 in p["boxes"]),
        )
        for p in held["places"]
    }
    names = []
    for n in held["names"]:
        mine = tuple(places[id] for id in n["places"] if clips is None or places[id].clip in clips)
        if mine:
            names.append(Name(n["name"], n["half"], n["core"], tuple(n["also"]), mine))
    return Facts(tuple(names), {half: tuple(held["absent"][i::2]) for i, half in enumerate(HALVES)})


def on_it(box: Sequence[float], true: Sequence[float], behind: bool = False) -> bool:
    """Return True if an evidence box lies on a true one; behind: see `Place`."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    inside = true[0] <= x <= true[2] and true[1] <= y <= true[3]
    return box_iou(box, true) >= LEAST_IOU or (inside and not behind)


def worth(sighting: Sighting, places: Sequence[Place]) -> str:
    """ "right", or the first thing that is wrong: "wrong clip", "wrong time", "wrong place"."""
    here = [p for p in places if p.clip == Path(sighting.source).name]
    if not here:
        return "wrong clip"
    then = [p for p in here if any(sighting.start_s <= b and a <= sighting.end_s for a, b in p.spans)]
    if not then:
        return "wrong time"
    fits = any(on_it(sighting.box, box, p.behind) for p in then for box in p.boxes_at(sighting.frame_s))
    return "right" if fits else "wrong place"


def sighting_row(sighting: Sighting) -> dict[str, Any]:
    """A sighting of an answer as a row."""
    return {
        "clip": Path(sighting.source).name,
        "start_s": sighting.start_s,
        "end_s": sighting.end_s,
        "frame_s": sighting.frame_s,
        "box": list(sighting.box),
        "score": round(sighting.score, 4),
    }


def judge(answer: Any, places: Sequence[Place]) -> dict[str, Any]:
    """Judge the answer of `where` to a name, as a row."""
    if not answer.found:
        near = answer.near_misses[0] if answer.near_misses else None
        missed = (
            None
            if near is None
            else {"worth": worth(near, places), "score": round(near.score, 4), "clip": Path(near.source).name}
        )
        return {"worth": "not found", "right": False, "near_miss": missed}
    first = answer[0]
    best = max(answer, key=lambda s: s.score)
    return {
        "worth": worth(first, places),
        "right": worth(first, places) == "right",
        **sighting_row(first),
        "probability": first.probability,
        "sightings": answer.total,
        "best_right": worth(best, places) == "right",
    }
