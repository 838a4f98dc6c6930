"""A sighting is of one thing: tracks over a cut, in view together or in another place are not joined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store.making import DT, DV, MODEL, add, info, track

from vidmem.encoders import Calibration
from vidmem.query.answers import Answer
from vidmem.query.question import Question
from vidmem.query.where import timeline, where
from vidmem.records import Float32, FrameRegions, Track
from vidmem.store import Store, VectorCache
from vidmem.timecode import NS

CALIBRATION = Calibration(0.7, 0.0, 0.7, 0.6)
LEFT, RIGHT = (0, 0, 100, 100), (900, 0, 1000, 100)
TEXT = np.eye(DT, dtype=np.float32)[0]

Seen = tuple[Track, tuple[int, int, int, int]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def looks(what: int, lean: float = 0.0) -> Float32:
    vector = np.zeros(DV, np.float32)
    vector[what], vector[-1] = 1, lean
    return vector


def seen(
    ordinal: int,
    start: int,
    end: int,
    box: tuple[int, int, int, int] = LEFT,
    visual: Float32 | None = None,
    text: Float32 = TEXT,
) -> Seen:
    """A track in view from start to end, seconds."""
    return track(
        ordinal,
        visual=looks(0) if visual is None else visual,
        text=text,
        start_ns=start * NS,
        end_ns=end * NS,
        best_ns=start * NS,
        best_box=tuple(map(float, box)),
    ), box


def source(store: Store, tracks: list[Seen], cuts: tuple[int, ...] = ()) -> None:
    """With a frame every second, in which four things of no account stand all the time."""
    row = store.begin_source(info())
    last = max(t.end_ns for t, _ in tracks) // NS
    rest = [
        seen(90 + n, 0, last, (200 * n, 400, 200 * n + 100, 500), looks(n + 1), np.eye(DT, dtype=np.float32)[n + 1])
        for n in range(4)
    ]
    frames = []
    for t in range(last + 1):
        here = [(t_.ordinal, box) for t_, box in [*tracks, *rest] if t_.start_ns <= t * NS <= t_.end_ns]
        boxes = np.array([box for _, box in here], np.float32).reshape(-1, 4)
        frames.append(
            FrameRegions(t * NS, np.array([o for o, _ in here], np.int64), boxes, np.ones((len(here), 2, 2), bool))
        )
    everything = sorted((t for t, _ in [*tracks, *rest]), key=lambda t: t.ordinal)
    add(store, row.id, everything, frames, state="done", cuts=[c * NS for c in cuts])


def ask(store: Store, top: int | None = None) -> Answer:
    return where(store, VectorCache(store), CALIBRATION, Question(TEXT), top=top)


def spans(answer: Answer) -> list[tuple[float, float]]:
    return [(s.start_s, s.end_s) for s in answer]


def test_a_short_gap_is_one_sighting(store: Store) -> None:
    source(store, [seen(0, 0, 3), seen(1, 5, 9)])
    assert spans(ask(store)) == [(0, 9)]


def test_a_gap_of_more_than_two_seconds_is_two_sightings(store: Store) -> None:
    source(store, [seen(0, 0, 3), seen(1, 6, 9)])
    assert spans(ask(store)) == [(6, 9), (0, 3)]


def test_none_goes_over_a_cut(store: Store) -> None:
    source(store, [seen(0, 0, 3), seen(1, 4, 9)], cuts=(4,))
    assert spans(ask(store)) == [(4, 9), (0, 3)]
    (thing,) = timeline(store, VectorCache(store), CALIBRATION, Question(TEXT))
    assert [(s.start_s, s.end_s) for s in thing.sightings] == [(4, 9), (0, 3)]


def test_two_in_view_together_are_two(store: Store) -> None:
    source(store, [seen(0, 0, 9), seen(1, 2, 7, RIGHT, looks(0, 0.1))])
    assert spans(ask(store)) == [(0, 9), (2, 7)]


def test_in_another_place_a_moment_later_it_is_another(store: Store) -> None:
    source(store, [seen(0, 0, 3), seen(1, 4, 9, RIGHT, looks(0, 0.1))])
    assert spans(ask(store)) == [(4, 9), (0, 3)]


def test_what_looks_otherwise_is_another(store: Store) -> None:
    source(store, [seen(0, 0, 3), seen(1, 4, 9, LEFT, looks(9))])
    assert spans(ask(store)) == [(4, 9), (0, 3)]


def test_the_newest_alone_is_the_newest_of_all(store: Store) -> None:
    source(store, [seen(0, 0, 9), seen(1, 2, 7, RIGHT, looks(0, 0.1)), seen(2, 20, 25)])
    every = ask(store)
    for top in range(1, 4):
        some = ask(store, top)
        assert spans(some) == spans(every)[:top]
    assert every.total == 2  # stretches of time
