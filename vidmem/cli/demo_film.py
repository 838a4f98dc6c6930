"""The film of the demo: photographs of real things, and what is in them where and when, as film.json says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILM = Path(__file__).parent / "demo_data" / "film.mp4"
SCRIPT = Path(__file__).parent / "demo_data" / "film.json"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Shot:
    """A window that glides over one photograph at an even pace.

    picture: file name. start_s, seconds: when it is on. first, last: where the window begins and ends: left, top,
    width in pixels of the photograph; its height follows from the film's. things: boxes in the photograph by name.
    """

    picture: str
    start_s: float
    seconds: float
    first: tuple[float, float, float]
    last: tuple[float, float, float]
    things: dict[str, Box]

    @property
    def end_s(self) -> float:
        return self.start_s + self.seconds

    def window(self, after_s: float, size: tuple[int, int]) -> Box:
        """The part of the photograph that is in view so many seconds into the shot. size: the film's, in pixels."""
        share = min(max(after_s / self.seconds, 0), 1)
        left, top, width = (a + share * (b - a) for a, b in zip(self.first, self.last, strict=True))
        return left, top, left + width, top + width * size[1] / size[0]

    def box(self, thing: str, at_s: float, size: tuple[int, int]) -> Box:
        """Where a thing of this shot is in the frame at a time of the film, in its pixels, cut at its edges."""
        left, top, right, _ = self.window(at_s - self.start_s, size)
        scale = size[0] / (right - left)
        x0, y0, x1, y1 = self.things[thing]
        across = [min(max((x - left) * scale, 0), size[0]) for x in (x0, x1)]
        down = [min(max((y - top) * scale, 0), size[1]) for y in (y0, y1)]
        return across[0], down[0], across[1], down[1]


@dataclass(frozen=True, slots=True)
class FilmQuestion:
    """text: what is asked. thing: its name in the shots, None when the film does not show it. wrong: why today's
    encoder answers this one wrongly, None when it does not."""

    text: str
    thing: str | None
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class Film:
    """size: width and height in pixels. fps: frames a second."""

    size: tuple[int, int]
    fps: int
    shots: tuple[Shot, ...]
    questions: tuple[FilmQuestion, ...]

    @property
    def seconds(self) -> float:
        return self.shots[-1].end_s

    def last(self, thing: str) -> Shot:
        """The shot in which a thing is in view for the last time. Raises KeyError when there is none."""
        for shot in reversed(self.shots):
            if thing in shot.things:
                return shot
        raise KeyError(thing)


def script(path: Path = SCRIPT) -> Film:
    """Read what the film shows."""
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    shots: list[Shot] = []
    for row in data["shots"]:
        start = shots[-1].end_s if shots else 0.0
        things = {name: tuple(box) for name, box in row["things"].items()}
        shots.append(Shot(row["picture"], start, row["seconds"], tuple(row["from"]), tuple(row["to"]), things))
    width, height = data["size"]
    questions = tuple(FilmQuestion(q["ask"], q["thing"], q.get("wrong")) for q in data["questions"])
    return Film((width, height), data["fps"], tuple(shots), questions)
