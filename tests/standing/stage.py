"""A camera of coloured squares, and receivers that misbehave: what the tests of standing questions share."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import fakes
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.config import IndexConfig
from vidmem.memory import Memory
from vidmem.query.documents import SightingDocument
from vidmem.standing import Sink, StandingEvent, StandingStats, Undelivered
from vidmem.timecode import NS

START = 1_700_000_000 * NS
STEP = NS // 2
EVERY = IndexConfig(fps=0, still=0)


def picture(*colours: str, x: int = 8) -> NDArray[np.uint8]:
    """Squares of these colours side by side, from x on."""
    image = np.full((fakes.HEIGHT, fakes.WIDTH, 3), fakes.GROUND, np.uint8)
    for i, colour in enumerate(colours):
        image[32:64, x + 40 * i : x + 32 + 40 * i] = fakes.COLOURS[colour]
    return image


def watched(
    memory: Memory, scene: Sequence[Sequence[str]], on_event: Any, *, begin: int = 0, **more: Any
) -> StandingStats:
    """Show the scene, a list of colours for each half second from `begin` on, to a session, and return its counts."""
    options: dict[str, Any] = {"depth": 10_000, "interval_s": 0.02, "config": EVERY, "again_after_s": 2.0} | more
    with memory.session("cam", on_event=on_event, **options) as session:
        for i, colours in enumerate(scene, begin):
            session.append(picture(*colours), START + i * STEP)
    return session.standing_stats


def colour_of(event: StandingEvent) -> tuple[int, ...]:
    """The colour in the middle of the picture of an event."""
    assert event.crop is not None
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(event.crop))).convert("RGB"))
    return tuple(int(v) for v in image[image.shape[0] // 2, image.shape[1] // 2])


def event(number: int = 0, crop: str | None = None) -> StandingEvent:
    """An event for receivers that do not read it."""
    sighting = SightingDocument(
        *("cam", 0.0, 1.0, "0", "1000000000", None, "live", 0.9, 0.9, None, 0.9, 0.5, [1.0, 2.0, 3.0, 4.0], 1.0),
        *([number], None, None, None, "0", 1, f"1-0-{number}-0-0"),
    )
    return StandingEvent(f"{number:032x}", "keys", None, str(number), "cam", 0.9, sighting, crop)


class Scripted(Sink):
    """Fails as it is told, then succeeds. after: what happens at each call: "again", "never", or "" for success."""

    def __init__(self, script: Sequence[str] = (), wait_s: float = 0.0) -> None:
        self.name, self.got, self.calls = "scripted", list[StandingEvent](), 0
        self._script, self._wait_s = list(script), wait_s
        self.free = threading.Event()
        self.free.set()

    def send(self, event: StandingEvent) -> None:
        self.calls += 1
        self.free.wait()
        time.sleep(self._wait_s)
        if self._script and (what := self._script.pop(0)):
            raise Undelivered("told to", again=what == "again")
        self.got.append(event)


def wait_until(true: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
