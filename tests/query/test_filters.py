"""Conditions on time and on what is beside a thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.making import DT, DV, MODEL, add, info, track

from vidmem.encoders import Calibration
from vidmem.query.answers import Answer
from vidmem.query.question import Phrase, Question
from vidmem.query.where import timeline, where
from vidmem.records import Float32, FrameRegions
from vidmem.store import Store, VectorCache
from vidmem.timecode import NS

CALIBRATION = Calibration(0.7, 0.0, 0.7, 0.6)
CUP, LAPTOP = 0, 1
Box = tuple[float, float, float, float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def axis(dim: int, number: int) -> Float32:
    return np.eye(dim, dtype=np.float32)[number]


def source(store: Store, name: str, tracks: list[tuple[int, range, Box]], start_ns: int | None = None) -> int:
    """Each track: what it is, the seconds in which it is seen, its box."""
    row = store.begin_source(dataclasses.replace(info(name, name), start_ns=start_ns))
    made, frames = [], []
    for i, (what, seconds, box) in enumerate(tracks):
        made.append(
            track(
                i,
                visual=axis(DV, what),
                text=axis(DT, what),
                start_ns=seconds[0] * NS,
                end_ns=seconds[-1] * NS,
                best_ns=seconds[0] * NS,
                best_box=box,
            )
        )
    for t in range(max(s[-1] for _, s, _ in tracks) + 1):
        here = [(i, box) for i, (_, seconds, box) in enumerate(tracks) if t in seconds]
        boxes = np.array([b for _, b in here], np.float32).reshape(-1, 4)
        frames.append(
            FrameRegions(t * NS, np.array([i for i, _ in here], np.int64), boxes, np.ones((len(here), 2, 2), bool))
        )
    add(store, row.id, made, frames, state="done")
    return row.id


def ask(store: Store, **question: Any) -> Answer:
    return where(store, VectorCache(store), CALIBRATION, Question(axis(DT, CUP), **question), top=None)


def spans(answer: Answer) -> list[tuple[str, float, float]]:
    return [(Path(s.source).name, s.start_s, s.end_s) for s in answer]


def test_time_cuts_sightings_and_their_evidence(store: Store) -> None:
    a = source(store, "a.mp4", [(CUP, range(0, 10), (0, 0, 10, 10)), (CUP, range(20, 30), (5, 5, 9, 9))])
    source(store, "b.mp4", [(CUP, range(0, 3), (0, 0, 10, 10))])
    answer = ask(store, spans={a: (4 * NS, 25 * NS)})
    assert spans(answer) == [("a.mp4", 20, 25), ("a.mp4", 4, 9)]
    assert answer[1].frame_s == 4  # its own best frame lies before
    assert answer[0].frame_s == 20
    assert spans(ask(store, spans={a: (12 * NS, 19 * NS)})) == []
    assert not ask(store, spans={})
    assert ask(store, spans={a: (12 * NS, 19 * NS)}).near_misses == ()


def test_a_track_that_is_out_of_view_at_that_time_does_not_count(store: Store) -> None:
    row = store.begin_source(info("a.mp4"))
    boxes, masks = np.array([[0, 0, 9, 9]], np.float32), np.ones((1, 2, 2), bool)
    frames = [FrameRegions(t * NS, np.array([0]), boxes, masks) for t in (0, 9)]
    add(store, row.id, [track(0, text=axis(DT, CUP), start_ns=0, end_ns=9 * NS)], frames, state="done")
    assert not ask(store, spans={row.id: (3 * NS, 6 * NS)})
    assert ask(store, spans={row.id: (3 * NS, 60 * NS)})[0].start_s == 9


def near(store: Store, **more: Any) -> Answer:
    return ask(store, near=(Phrase(axis(DT, LAPTOP)),), **more)


def test_near_in_time_and_place(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [
            (CUP, range(0, 10), (0, 0, 10, 10)),
            (LAPTOP, range(4, 7), (25, 0, 45, 10)),  # a gap of 15, longest side 20
            (CUP, range(30, 40), (0, 0, 10, 10)),
            (LAPTOP, range(30, 40), (200, 0, 220, 10)),  # far away
            (CUP, range(60, 62), (0, 0, 10, 10)),
            (LAPTOP, range(66, 68), (0, 0, 10, 10)),  # much later
        ],
    )
    answer = near(store)
    assert spans(answer) == [("a.mp4", 2, 8)]  # two seconds before and after count
    assert 2 <= answer[0].frame_s <= 8
    assert spans(near(store, within_ns=0)) == [("a.mp4", 4, 6)]
    assert spans(near(store, within_ns=0, max_gap=0.5)) == []
    assert spans(near(store, within_ns=5 * NS, max_gap=20.0)) == [("a.mp4", 61, 61), ("a.mp4", 30, 39), ("a.mp4", 0, 9)]


def test_seen_but_not_near_gives_what_was_seen(store: Store) -> None:
    source(store, "a.mp4", [(CUP, range(0, 3), (0, 0, 10, 10)), (LAPTOP, range(0, 3), (200, 0, 210, 10))])
    source(store, "b.mp4", [(LAPTOP, range(0, 3), (0, 0, 10, 10))])
    answer = near(store)
    assert not answer
    assert [(s.start_s, s.end_s) for s in answer.near_misses] == [(0, 2)]
    assert answer.near_misses[0].score == pytest.approx(1, abs=1e-3)


def test_a_thing_is_not_near_itself(store: Store) -> None:
    source(store, "a.mp4", [(CUP, range(0, 3), (0, 0, 10, 10))])
    assert not ask(store, near=(Phrase(axis(DT, CUP)),))
    source(store, "b.mp4", [(CUP, range(0, 3), (0, 0, 10, 10)), (CUP, range(0, 3), (12, 0, 20, 10))])
    assert spans(ask(store, near=(Phrase(axis(DT, CUP)),))) == [("b.mp4", 0, 2)] * 2  # two things, side by side


def test_near_two_things(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [(CUP, range(0, 9), (0, 0, 10, 10)), (LAPTOP, range(0, 5), (0, 0, 10, 10)), (2, range(4, 9), (0, 0, 10, 10))],
    )
    both = (Phrase(axis(DT, LAPTOP)), Phrase(axis(DT, 2)))
    assert spans(ask(store, near=both, within_ns=0)) == [("a.mp4", 4, 4)]


def test_a_timeline_tells_things_apart(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [
            (CUP, range(0, 3), (0, 0, 10, 10)),
            (CUP, range(10, 13), (0, 0, 10, 10)),
            (CUP, range(10, 12), (100, 0, 110, 10)),
        ],
    )
    source(store, "b.mp4", [(CUP, range(5, 6), (0, 0, 10, 10))])
    things = timeline(store, VectorCache(store), CALIBRATION, Question(text=axis(DT, CUP)))
    assert len(things) == 2
    assert sum(len(thing.sightings) for thing in things) == 4
    assert Path(things[0].sightings[0].source).name == "b.mp4"
    assert timeline(store, VectorCache(store), CALIBRATION, Question(text=axis(DT, 5))) == []


def test_a_timeline_of_cameras_side_by_side_goes_by_the_clock(store: Store) -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    source(store, "a.mp4", [(CUP, range(0, 3), box), (CUP, range(20, 23), box)], start_ns=1000 * NS)
    source(store, "b.mp4", [(CUP, range(0, 3), box)], start_ns=1005 * NS)
    (thing,) = timeline(store, VectorCache(store), CALIBRATION, Question(text=axis(DT, CUP)))
    order = [(Path(s.source).name, s.start_ns // NS) for s in thing.sightings]
    assert order == [("a.mp4", 20), ("b.mp4", 0), ("a.mp4", 0)]
    assert [(Path(s.source).name, s.start_ns // NS) for s in ask(store)] == order


def test_a_timeline_with_what_looks_alike(store: Store) -> None:
    row = store.begin_source(info("a.mp4"))
    tracks = [
        track(i, visual=axis(DV, 3), text=axis(DT, what), start_ns=i * 20 * NS, end_ns=i * 20 * NS + 5)
        for i, what in enumerate((CUP, LAPTOP))
    ]
    add(store, row.id, tracks, state="done")
    cache = VectorCache(store)
    (thing,) = timeline(store, cache, CALIBRATION, Question(text=axis(DT, CUP)))
    assert len(thing.sightings) == 1
    (thing,) = timeline(store, cache, CALIBRATION, Question(text=axis(DT, CUP)), similar=True)
    assert [s.start_ns for s in thing.sightings] == [20 * NS, 0]


def test_a_gap_of_one_longest_side_is_near_and_more_is_not(store: Store) -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    source(store, "a.mp4", [(CUP, range(0, 3), box), (LAPTOP, range(0, 3), (30.0, 0.0, 50.0, 10.0))])
    source(store, "b.mp4", [(CUP, range(0, 3), box), (LAPTOP, range(0, 3), (31.0, 0.0, 51.0, 10.0))])
    assert [name for name, _, _ in spans(near(store))] == ["a.mp4"]
    assert [name for name, _, _ in spans(near(store, max_gap=1.1))] == ["b.mp4", "a.mp4"]


def test_two_seconds_apart_is_near_and_more_is_not(store: Store) -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    source(store, "a.mp4", [(CUP, range(0, 3), box), (LAPTOP, range(4, 6), box)])
    source(store, "b.mp4", [(CUP, range(0, 3), box), (LAPTOP, range(5, 6), box)])
    assert spans(near(store)) == [("a.mp4", 2, 2)]


def test_boxes_much_larger_than_most_are_no_evidence(store: Store) -> None:
    row = store.begin_source(info("a.mp4"))
    sides = [10, 12, 12, 14, 15]  # areas up to 1.5 times the median of 144 count: 14 x 14 and not 15 x 15
    frames = [
        FrameRegions(t * NS, np.array([0]), np.array([[0, 0, side, side]], np.float32), np.ones((1, 2, 2), bool))
        for t, side in enumerate(sides)
    ]
    add(store, row.id, [track(0, text=axis(DT, CUP), start_ns=0, end_ns=9 * NS)], frames, state="done")
    (sighting,) = ask(store, spans={row.id: (0, 8 * NS)})
    assert (sighting.frame_s, sighting.box) == (3, (0, 0, 14, 14))
