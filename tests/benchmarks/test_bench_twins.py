"""The films of benchmarks.twins: what is in view when, and what an answer is worth."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import twins
from benchmarks.film import Shot
from lab.synthetic.drawings import load_drawings
from vidmem.media import open_source
from vidmem.query.answers import Answer
from vidmem.records import FrameRegions, Sighting
from vidmem.timecode import NS

DRAWING = next(d for d in load_drawings() if d.name == "umbrella")
WIDE = (0.0, 0.0, 1280.0, 720.0)


def test_every_kind_is_a_drawing() -> None:
    assert set(twins.KINDS) <= {d.name for d in load_drawings()}


def test_boxes_follow_the_window() -> None:
    film = twins.Film(
        (Shot(0, WIDE, (640.0, 0.0, 1920.0, 720.0)),), (Image.new("RGB", (2000, 720)),), ((600.0, 100.0, 700.0, 200.0),)
    )
    assert film.box_at(0) == pytest.approx((600, 100, 700, 200))
    assert film.box_at(2.96) == pytest.approx((0, 100, 60, 200), abs=1)  # more than half of it is in view
    start, end = film.last_span()
    assert (start, end) == (0, 74 / 25)


@pytest.mark.parametrize("kind", twins.SITUATIONS)
def test_the_right_thing_is_seen_last_in_the_first_film(kind: str) -> None:
    film = twins.films(kind, 7100, DRAWING)[0]
    start, end = film.last_span()
    assert end - start > 1
    assert all(one.box_at(t / 5) is None for one in twins.films(kind, 7100, DRAWING)[1:] for t in range(15))


def test_a_dated_film_knows_when_it_was_made(tmp_path: Path) -> None:
    then = datetime(2025, 3, 5, 18, 0, tzinfo=UTC)
    film = twins.Film((Shot(0, WIDE, WIDE),), (Image.new("RGB", (1280, 720), (90, 90, 90)),), (None,), then)
    twins.write(film, tmp_path / "a.mp4")
    with open_source(str(tmp_path / "a.mp4")) as source:
        assert (source.info.start_ns, source.info.recorded_by) == (int(then.timestamp()) * NS, "container")


class Kept:
    """A memory whose one track lies in the given boxes, frame by frame."""

    def __init__(self, boxes: list[tuple[float, float, float, float]]) -> None:
        self.store, self.boxes = self, boxes

    def tracks(self, ids):  # type: ignore[no-untyped-def]
        from store.making import track

        from vidmem.store import TrackRow

        return [TrackRow(*(getattr(track(3), f) for f in track(3).__slots__), id=1, source_id=1)]

    def regions(self, source: int, start: int, end: int):  # type: ignore[no-untyped-def]
        import numpy as np

        for i, box in enumerate(self.boxes):
            yield FrameRegions(i * NS // 5, np.array([3]), np.array([box], np.float32), np.ones((1, 2, 2), bool))


def test_what_an_answer_is_worth() -> None:
    film = twins.Film((Shot(0, WIDE, WIDE),), (Image.new("RGB", (1280, 720)),), ((600.0, 100.0, 700.0, 200.0),))
    good, bad = (600.0, 100.0, 700.0, 200.0), (10.0, 10.0, 90.0, 90.0)

    def judged(boxes: list[tuple[float, float, float, float]], **more: object) -> str:
        told = {
            "source": "/x/a.mp4",
            "start_ns": 0,
            "end_ns": 3 * NS,
            "score": 1.0,
            "text_score": 1.0,
            "visual_score": None,
            "frame_ns": 0,
            "box": good,
            "tracks": (1,),
        } | more
        answer = Answer((Sighting(**told),))  # type: ignore[arg-type]
        return str(twins.verdict(Kept(boxes), answer, film, Path("/x/a.mp4"))["why"])  # type: ignore[arg-type]

    assert judged([good] * 5) == ""
    assert judged([good] * 5, box=bad) == "other thing"
    assert judged([good] * 5, end_ns=NS // 4) == "other time"
    assert judged([good] * 5, source="/x/b.mp4") == "other video"
    assert judged([good, good, bad, bad]) == "two in one"
    assert twins.verdict(Kept([]), Answer(()), film, Path("/x/a.mp4"))["why"] == "not found"  # type: ignore[arg-type]
