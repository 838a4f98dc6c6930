"""The film of the demo: pans over photographs, and what is in them, where and when, as film.json says."""

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
    """A window that moves over one photograph at constant speed.

    picture: file name.
    start_s, seconds: start and length in the film.
    first, last: the window at the start and the end: left, top, width in pixels of the photograph. Its height follows
        from the aspect ratio of the film.
    things: boxes in the photograph by name.
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
        """The part of the photograph that is in view `after_s` seconds into the shot. size: of the film, in pixels."""
        share = min(max(after_s / self.seconds, 0), 1)
        left, top, width = (a + share * (b - a) for a, b in zip(self.first, self.last, strict=True))
        return left, top, left + width, top + width * size[1] / size[0]

    def box(self, thing: str, at_s: float, size: tuple[int, int]) -> Box:
        """The box of a thing in the frame at a time of the film, in pixels, clipped to the frame."""
        left, top, right, _ = self.window(at_s - self.start_s, size)
        scale = size[0] / (right - left)
        x0, y0, x1, y1 = self.things[thing]
        across = [min(max((x - left) * scale, 0), size[0]) for x in (x0, x1)]
        down = [min(max((y - top) * scale, 0), size[1]) for y in (y0, y1)]
        return across[0], down[0], across[1], down[1]


@dataclass(frozen=True, slots=True)
class FilmQuestion:
    """A question about the film.

    text: the question.
    thing: its name in the shots; None when the film does not show it.
    wrong: why the encoder is known to fail here; None when it does not.
    """

    text: str
    thing: str | None
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class Film:
    """What the film shows. size: width and height in pixels. fps: frames per second."""

    size: tuple[int, int]
    fps: int
    shots: tuple[Shot, ...]
    questions: tuple[FilmQuestion, ...]

    @property
    def seconds(self) -> float:
        return self.shots[-1].end_s

    def last(self, thing: str) -> Shot:
        """The last shot that shows a thing. Raises KeyError if no shot shows it."""
        for shot in reversed(self.shots):
            if thing in shot.things:
                return shot
        raise KeyError(thing)


def script(path: Path = SCRIPT) -> Film:
    """Read film.json."""
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    shots: list[Shot] = []
    for row in data["shots"]:
        start = shots[-1].end_s if shots else 0.0
        things = {name: tuple(box) for name, box in row["things"].items()}
        shots.append(Shot(row["picture"], start, row["seconds"], tuple(row["from"]), tuple(row["to"]), things))
    width, height = data["size"]
    questions = tuple(FilmQuestion(q["ask"], q["thing"], q.get("wrong")) for q in data["questions"])
    return Film((width, height), data["fps"], tuple(shots), questions)
