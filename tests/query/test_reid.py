"""Tracks that look alike are one thing, unless they are in view together in two places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store.making import DT, DV, MODEL, add, info, track

from vidmem.query import places, similar
from vidmem.query.reid import seen_again, things
from vidmem.records import Float32, FrameRegions, Track
from vidmem.store import Store, VectorCache

LEFT, RIGHT, INSIDE = (0, 0, 100, 100), (300, 0, 400, 100), (20, 20, 60, 60)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def towards(what: int, lean: float = 0.0, to: int = DV - 1) -> Float32:
    vector = np.zeros(DV, np.float32)
    vector[what], vector[to] = 1, lean
    return vector


def seen(ordinal: int, vector: Float32, start: int, end: int) -> Track:
    return track(ordinal, visual=vector, text=np.ones(DT, np.float32), start_ns=start, end_ns=end)


def source(store: Store, name: str, tracks: list[tuple[Track, tuple[int, int, int, int]]]) -> None:
    """Each track with its box, in a frame every nanosecond."""
    row = store.begin_source(info(name, name))
    frames = []
    for t in range(max(t.end_ns for t, _ in tracks) + 1):
        here = [(t_.ordinal, box) for t_, box in tracks if t_.start_ns <= t <= t_.end_ns]
        boxes = np.array([box for _, box in here], np.float32).reshape(-1, 4)
        ordinals, masks = np.array([o for o, _ in here], np.int64), np.ones((len(here), 2, 2), bool)
        frames.append(FrameRegions(t, ordinals, boxes, masks))
    add(store, row.id, [t for t, _ in tracks], frames, state="done")


def groups(store: Store, min_cosine: float = 0.8, look: bool = True) -> list[list[int]]:
    cache = VectorCache(store)
    return [g.tolist() for g in things(store if look else None, cache, np.arange(len(cache)), min_cosine)]


def test_one_thing_over_gaps_and_videos(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [
            (seen(0, towards(0), 0, 3), LEFT),
            (seen(1, towards(1), 0, 9), RIGHT),
            (seen(2, towards(0, 0.3), 7, 9), RIGHT),
        ],
    )
    source(store, "b.mp4", [(seen(0, towards(0, 0.2), 0, 3), LEFT)])
    assert groups(store) == [[0, 2, 3], [1]]
    assert groups(store, min_cosine=0.999) == [[0], [1], [2], [3]]


def test_alike_but_in_view_together_are_two(store: Store) -> None:
    source(store, "a.mp4", [(seen(0, towards(0), 0, 9), LEFT), (seen(1, towards(0, 0.1), 3, 9), RIGHT)])
    assert groups(store) == [[0], [1]]
    assert groups(store, look=False) == [[0, 1]]


def test_a_part_and_its_whole_are_one(store: Store) -> None:
    source(store, "a.mp4", [(seen(0, towards(0), 0, 9), LEFT), (seen(1, towards(0, 0.1), 3, 9), INSIDE)])
    assert groups(store) == [[0, 1]]


def test_the_better_pair_wins_when_a_third_is_apart(store: Store) -> None:
    """Two cups side by side, and one of them later: it goes to the one that it is most like."""
    a, b = towards(0, 0.5, 1), towards(0, 0.5, 2)
    source(store, "a.mp4", [(seen(0, a, 0, 3), LEFT), (seen(1, b, 0, 3), RIGHT), (seen(2, b, 7, 9), LEFT)])
    assert groups(store, min_cosine=0.7) == [[0], [1, 2]]


def test_chains_are_one_thing(store: Store) -> None:
    steps = [np.cos(0.5 * i) * towards(0) + np.sin(0.5 * i) * towards(1) for i in range(4)]
    source(store, "a.mp4", [(seen(i, v, 10 * i, 10 * i + 3), LEFT) for i, v in enumerate(steps)])
    assert groups(store) == [[0, 1, 2, 3]]


def test_many_neighbours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "NEIGHBOURS", 3)
    monkeypatch.setattr(similar, "_BLOCK", 4)
    rng = np.random.default_rng(0)
    tracks = []
    for i in range(30):
        vector = towards(i % 3) + 0.05 * rng.standard_normal(DV).astype(np.float32)
        tracks.append((seen(i, vector, 10 * i, 10 * i + 3), LEFT))
    source(store, "a.mp4", tracks)
    found = groups(store)
    assert all(len({i % 3 for i in group}) == 1 for group in found)
    assert len(found) <= 6  # three nearest neighbours need not reach everybody


def test_seen_again_adds_what_looks_the_same(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [
            (seen(0, towards(0), 0, 3), LEFT),
            (seen(1, towards(1), 0, 9), RIGHT),
            (seen(2, towards(0, 0.3), 7, 9), RIGHT),
            (seen(3, np.zeros(DV, np.float32), 7, 9), LEFT),
        ],
    )
    cache = VectorCache(store)
    assert seen_again(cache, np.array([0])).tolist() == [0, 2]
    assert seen_again(cache, np.array([1, 3])).tolist() == [1, 3]
    assert seen_again(cache, np.array([], np.int64)).tolist() == []


def test_nothing_is_no_thing(store: Store) -> None:
    assert things(store, VectorCache(store), np.array([], np.int64)) == []


def test_many_are_sorted_into_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is much alike is tied as it is when all are compared; no pair is tied that is not alike."""
    rng = np.random.default_rng(1)
    clumps = rng.standard_normal((40, 32))
    vectors = clumps[rng.integers(0, 40, 600)] + 0.2 * rng.standard_normal((600, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(similar, "NEIGHBOURS", 600)
    monkeypatch.setattr(similar, "CELL_NEIGHBOURS", 600)
    a, b = similar.similar_pairs(vectors, 0.8)
    exact = set(zip(a.tolist(), b.tolist(), strict=True))
    assert (a < b).all()
    assert len(exact) == len(a)
    monkeypatch.setattr(similar, "EXACT", 100)
    monkeypatch.setattr(similar, "CELL", 20)
    a, b = similar.similar_pairs(vectors, 0.8)
    some = set(zip(a.tolist(), b.tolist(), strict=True))
    assert some <= exact
    assert len(some) > 0.9 * len(exact)
    cosines = (vectors[a] * vectors[b]).sum(1)
    assert (np.diff(cosines) <= 2e-5).all()  # best first


def test_of_too_many_times_together_few_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was not looked at counts as two things, though it was one that was found twice."""
    monkeypatch.setattr(places, "WINDOW_NS", 4)
    pairs = [(seen(2 * i + k, towards(i), 4 * i, 4 * i + 2), (LEFT, INSIDE)[k]) for i in range(4) for k in (0, 1)]
    source(store, "a.mp4", pairs)
    assert groups(store) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    monkeypatch.setattr(places, "MAX_LOOKUPS", 2)
    assert len(groups(store)) == 6


def test_long_times_together_share_a_look(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WINDOW_NS", 4)
    monkeypatch.setattr(places, "MAX_LOOKUPS", 1)
    source(
        store,
        "a.mp4",
        [
            (seen(0, towards(0), 0, 40), LEFT),
            (seen(1, towards(0), 1, 40), INSIDE),
            (seen(2, towards(1), 0, 39), RIGHT),
            (seen(3, towards(1), 3, 35), RIGHT),
        ],
    )
    assert groups(store) == [[0, 1], [2, 3]]


def test_what_overlaps_a_thing_at_any_time_is_another(store: Store) -> None:
    """Three times alike; the last overlaps the first, which the second was joined to before."""
    source(
        store,
        "a.mp4",
        [
            (seen(0, towards(0), 0, 3), LEFT),
            (seen(1, towards(0, 0.01), 5, 8), LEFT),
            (seen(2, towards(0, 0.3), 2, 3), RIGHT),
        ],
    )
    assert groups(store) == [[0, 1], [2]]


def test_the_times_that_count_may_be_cut(store: Store) -> None:
    """In view together in two places; by the cut times one comes after the other."""
    source(store, "a.mp4", [(seen(0, towards(0), 0, 9), LEFT), (seen(1, towards(0, 0.1), 3, 20), RIGHT)])
    cache = VectorCache(store)
    whole = cache.columns
    cut = replace(whole, start_ns=np.array([0, 15]))
    assert [g.tolist() for g in things(store, cache, np.arange(2), columns=whole)] == [[0], [1]]
    assert [g.tolist() for g in things(store, cache, np.arange(2), columns=cut)] == [[0, 1]]
    assert [g.tolist() for g in things(store, cache, np.array([1]), columns=cut.take(np.array([1])))] == [[0]]


def test_by_default_one_thing_has_a_cosine_of_four_fifths(store: Store) -> None:
    source(
        store,
        "a.mp4",
        [
            (seen(0, towards(0), 0, 3), LEFT),
            (seen(1, towards(0, 0.74), 10, 13), LEFT),
            (seen(2, towards(0, 0.77, to=5), 20, 23), LEFT),
        ],
    )
    cache = VectorCache(store)
    assert [g.tolist() for g in things(store, cache, np.arange(3))] == [[0, 1], [2]]
    assert seen_again(cache, np.array([0])).tolist() == [0, 1]
    assert seen_again(cache, np.array([1, 0])).tolist() == [0, 1]
    assert seen_again(cache, np.array([0]), 0.7).tolist() == [0, 1, 2]
