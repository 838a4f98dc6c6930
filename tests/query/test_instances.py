"""A sighting is of one thing: tracks over a cut, in view together or in another place are not joined."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.making import DT, DV, MODEL, add, info, track

from vidmem.encoders import Calibration
from vidmem.query.answers import Answer
from vidmem.query.filters import Filtered
from vidmem.query.instances import Instances
from vidmem.query.question import Question
from vidmem.query.scores import Hits
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


def instances(
    store: Store, rows: list[int], ranking: list[float], zero_s: list[int] | None = None, rank: list[int] | None = None
) -> Instances:
    """Of hits in these rows with these scores; by default all sources are of one rank."""
    cache = VectorCache(store)
    hits = Hits(np.array(rows, np.int64), np.array(ranking, np.float32))
    zeros = None if zero_s is None else np.array(zero_s, np.int64) * NS
    order = np.zeros(len(rows), np.int64) if rank is None else np.array(rank, np.int64)
    return Instances(store, cache, Filtered.whole(cache, hits), order, zeros, 0.8)


def film(store: Store, *spans: tuple[int, int], looking: Sequence[int] = (), cuts: Sequence[int] = ()) -> None:
    """Tracks of these seconds that all are of one thing, or look as said; no frame holds two of them."""
    row = store.begin_source(info(str(len(store.sources())), str(len(store.sources()))))
    tracks = [seen(i, *span, visual=looks(looking[i] if looking else 0))[0] for i, span in enumerate(spans)]
    add(store, row.id, tracks, state="done", cuts=[cut * NS for cut in cuts])


def lists(groups: Sequence[Any]) -> list[list[int]]:
    return [sorted(group.tolist()) for group in groups]


def test_the_newest_are_given_with_the_number_of_all_stretches(store: Store) -> None:
    film(store, (0, 9), (20, 29), (31, 39), (60, 69), (80, 89))
    made = instances(store, [4, 3, 2, 1, 0], [0.5] * 5)
    expected = [[0], [1], [2, 3], [4]]
    for top in (1, 2, 3, 4, 9, None):
        groups, total = made.newest(top)
        assert lists(groups) == expected[:top]
        assert total == 4
    assert instances(store, [], []).newest(None) == ([], 0)
    assert instances(store, [], []).newest(1) == ([], 0)


def test_a_stretch_of_two_things_has_two_sightings_and_no_older_stretch_is_examined(store: Store) -> None:
    film(store, (0, 9), (20, 29), (22, 40), (60, 69), looking=(0, 0, 5, 0))
    made = instances(store, [0, 1, 2, 3], [0.5] * 4)
    assert lists(made.newest(2)[0]) == [[3], [2]]
    assert lists(made.newest(3)[0]) == [[3], [2], [1]]
    assert made.newest(3)[1] == 3


def test_of_two_that_ended_at_once_the_likelier_is_newer(store: Store) -> None:
    film(store, (0, 9), (2, 9), looking=(0, 5))
    for ranking, expected in (([0.5, 0.75], [[1], [0]]), ([0.75, 0.5], [[0], [1]])):
        made = instances(store, [0, 1], ranking)
        assert lists(made.newest(None)[0]) == lists(made.newest(2)[0]) == expected
        assert lists(made.newest(1)[0]) == expected[:1]


def test_newness_is_the_rank_the_end_and_how_likely(store: Store) -> None:
    film(store, (0, 9), (20, 29))
    made = instances(store, [1, 0], [0.25, 0.5], rank=[3, 3])
    assert made.newness(np.array([0, 1])) == (3, 29 * NS, 0.5)
    assert made.newness(np.array([1])) == (3, 9 * NS, 0.5)
    made = instances(store, [1, 0], [0.25, 0.5], rank=[3, 3], zero_s=[100, 100])
    assert made.newness(np.array([0, 1])) == (129 * NS, 3, 0.5)
    assert made.newness(np.array([1])) == (109 * NS, 3, 0.5)


def test_older_is_by_time_whatever_is_likelier(store: Store) -> None:
    film(store, (0, 9), (0, 9), (20, 29))
    made = instances(store, [0, 1, 2], [0.25, 0.5, 0.5])
    first, second, third = (np.array([i]) for i in range(3))
    assert made.older(first, third)
    assert not made.older(third, first)
    assert not made.older(first, second)
    assert not made.older(second, first)


def test_a_sighting_is_found_by_any_of_its_hits(store: Store) -> None:
    film(store, (0, 9), (20, 29), (31, 39), (30, 50), (80, 89), looking=(0, 0, 0, 5, 0))
    made = instances(store, [4, 3, 2, 1, 0], [0.5] * 5)
    found = [sorted(made.holding(i).tolist()) for i in range(5)]
    assert found == [[0], [1], [2, 3], [2, 3], [4]]


def test_the_sightings_of_a_thing_are_split_at_gaps_and_cuts(store: Store) -> None:
    film(store, (0, 9), (11, 19), (20, 25), (40, 49), cuts=(20,))
    made = instances(store, [3, 2, 1, 0], [0.5] * 4)
    assert lists(made.of(np.arange(4))) == [[0], [1], [2, 3]]
    assert lists(made.of(np.array([3, 1]))) == [[1], [3]]
    assert lists(made.newest(None)[0]) == [[0], [1], [2, 3]]


def test_what_lies_between_two_views_of_a_thing_does_not_join_them(store: Store) -> None:
    """The other thing makes it one stretch; each thing by itself has a gap."""
    film(store, (0, 5), (4, 12), (11, 20), looking=(0, 5, 0))
    made = instances(store, [0, 1, 2], [0.5] * 3)
    groups, total = made.newest(None)
    assert lists(groups) == [[2], [1], [0]]
    assert total == 1


def test_sources_on_one_clock_take_turns(store: Store) -> None:
    film(store, (0, 9), (20, 29))
    film(store, (0, 9), (40, 49))
    rows, rank = [0, 1, 2, 3], [0, 0, 1, 1]
    assert lists(instances(store, rows, [0.5] * 4, rank=rank).newest(None)[0]) == [[3], [2], [1], [0]]
    made = instances(store, rows, [0.5] * 4, zero_s=[0, 0, 10, 10], rank=rank)
    assert lists(made.newest(None)[0]) == [[3], [1], [2], [0]]
    for top in (1, 2, 3, 4):
        assert lists(made.newest(top)[0]) == [[3], [1], [2], [0]][:top]
    assert lists(made.of(np.arange(4))) == [[3], [1], [2], [0]]
    level = instances(store, rows, [0.5] * 4, zero_s=[20, 20, 0, 0], rank=rank)
    assert lists(level.newest(None)[0]) == [[3], [1], [0], [2]]  # both end at 49: the later source counts as newer
    assert lists(level.newest(1)[0]) == [[3]]


def test_cuts_are_looked_up_once_for_each_source(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    film(store, (0, 9), (20, 29), cuts=(25,))
    film(store, (0, 9), (8, 19), cuts=(8,))
    made = instances(store, [0, 1, 2, 3], [0.5] * 4, rank=[0, 0, 1, 1])
    read: list[int] = []
    cuts = store.cuts
    monkeypatch.setattr(store, "cuts", lambda source: read.append(source) or cuts(source))
    assert lists(made.newest(None)[0]) == [[3], [2], [1], [0]]
    made.newest(None)
    assert read == [2, 1]


def test_sightings_are_told_apart_by_the_cut_times(store: Store) -> None:
    """The two are in view together in two places; by the cut times the second comes after the first."""
    beside = (150, 0, 250, 100)
    source(store, [seen(0, 0, 9), seen(1, 5, 20, beside, looks(0, 0.1)), seen(2, 0, 20, RIGHT, looks(9))])
    cache = VectorCache(store)
    hits = Hits(np.flatnonzero(np.isin(cache.columns.ordinals, (0, 1, 2))), np.ones(3, np.float32))
    start = cache.columns.start_ns.copy()
    start[hits.rows[1]] = 11 * NS
    cut = dataclasses.replace(cache.columns, start_ns=start)
    for columns, count in ((cache.columns, 3), (cut, 2)):
        made = Instances(store, cache, Filtered(hits, columns.take(hits.rows)), np.zeros(3, np.int64), None, 0.8)
        assert len(made.newest(None)[0]) == count


def test_on_one_clock_the_newest_stretch_is_examined_first(store: Store) -> None:
    """Whatever the rank of its source: what ended first cannot end the search."""
    film(store, (0, 9), (20, 29))
    film(store, (0, 9), (40, 49))
    made = instances(store, [0, 1, 2, 3], [0.5] * 4, zero_s=[100, 100, 0, 0], rank=[0, 0, 1, 1])
    for top in (1, 2, 3, 4):
        assert lists(made.newest(top)[0]) == [[1], [0], [3], [2]][:top]
