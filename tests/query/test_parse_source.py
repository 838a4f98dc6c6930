"""Labels for the frames of an indexed source, from its tracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store.making import DT, DV, MODEL, add, info, track

from vidmem.errors import UsageError
from vidmem.query.labels import parse_labels
from vidmem.query.parse import FINE, UNLABELLED, Scene, Way, areas, decoupled, parse
from vidmem.records import FrameRegions
from vidmem.store import Store

LABELS = parse_labels("cup\ntable\nwall\tstuff\n", "x")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A source of two frames: a table that fills the lower half of both, and a cup on it in the first."""
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        row = store.begin_source(info())
        text = np.eye(DT, dtype=np.float32)
        tracks = [track(i, visual=np.ones(DV, np.float32), text=text[i]) for i in (0, 1)]
        table, cup = np.zeros((2, 4, 4), bool)
        table[2:] = True
        cup[2:, 1:3] = True
        masks, boxes = np.stack([table, cup]), np.zeros((2, 4), np.float32)
        frames = [FrameRegions(0, np.array([1, 0]), boxes, masks), FrameRegions(9, np.array([1]), boxes[:1], masks[:1])]
        add(store, row.id, tracks, frames, state="done")
        yield store


def labelled(store: Store, way: Way = "track") -> list[Scene]:
    vectors = np.eye(DT, dtype=np.float32)[:3]
    return list(parse(store, store.sources()[0], LABELS, vectors, way=way).frames(store))


def test_by_track_the_smaller_region_is_on_top(store: Store) -> None:
    first, second = labelled(store)
    assert first.labels.shape == (4 * FINE, 4 * FINE)
    assert first.at(4, 4).tolist() == [[UNLABELLED] * 4] * 2 + [[1, 0, 0, 1]] * 2
    assert second.at(4, 4).tolist() == [[UNLABELLED] * 4] * 2 + [[1] * 4] * 2
    assert (first.t_ns, second.t_ns) == (0, 9)


def test_by_vote_every_place_has_a_label(store: Store) -> None:
    first, _ = labelled(store, "vote")
    assert (first.labels != UNLABELLED).all()
    assert first.at(4, 4)[3, 0] == 1


def test_a_vote_without_a_region_is_the_mean_of_all_tracks(store: Store) -> None:
    """Where no region is, "wall" is the most similar on average; the tracks of a frame alone would say otherwise."""
    vectors = np.zeros((3, DT), np.float32)
    vectors[:2, :2] = np.eye(2)
    vectors[2, :2] = 0.5**0.5
    parsed = parse(store, store.sources()[0], LABELS, vectors, way="vote")
    first, second = parsed.frames(store)
    assert first.at(4, 4)[0].tolist() == second.at(4, 4)[0].tolist() == [2] * 4
    assert second.at(4, 4)[3].tolist() == [1] * 4


def test_regions_of_tracks_that_are_gone_have_no_label(store: Store) -> None:
    row = store.begin_source(info("b.mp4", "b"))
    text = np.eye(DT, dtype=np.float32)
    tracks = [track(i, visual=np.ones(DV, np.float32), text=text[i // 3]) for i in (2, 5)]
    masks = np.zeros((4, 1, 4), bool)
    masks[:, 0] = np.eye(4, dtype=bool)
    frames = [FrameRegions(0, np.array([5, 1, 2, 9]), np.zeros((4, 4), np.float32), masks)]
    add(store, row.id, tracks, frames, state="done")
    (scene,) = parse(store, row, LABELS, text[:3]).frames(store)
    assert scene.at(1, 4).tolist() == [[1, UNLABELLED, 0, UNLABELLED]]
    assert scene.labels.dtype == scene.at(2, 2).dtype == np.int32


def test_named_tracks_have_their_labels_and_others_hide_nothing(store: Store) -> None:
    source = store.sources()[0]
    by_ordinal = {t.ordinal: t.id for t in store.source_tracks(source.id)}
    vectors = np.eye(DT, dtype=np.float32)[:3]

    def named(labels: dict[int, int]) -> list[list[int]]:
        parsed = parse(store, source, LABELS, vectors, named={by_ordinal[o]: label for o, label in labels.items()})
        return next(iter(parsed.frames(store))).at(4, 4).tolist()  # type: ignore[no-any-return]

    nothing = [[UNLABELLED] * 4] * 2
    assert named({0: 2, 1: 0}) == nothing + [[0, 2, 2, 0]] * 2
    assert named({1: 2}) == nothing + [[2] * 4] * 2  # the cup hides nothing of the table
    assert named({0: 2}) == nothing + [[UNLABELLED, 2, 2, UNLABELLED]] * 2
    assert named({}) == [[UNLABELLED] * 4] * 4


def test_of_regions_of_one_size_the_later_is_on_top(store: Store) -> None:
    row = store.begin_source(info("b.mp4", "b"))
    text = np.eye(DT, dtype=np.float32)
    tracks = [track(i, visual=np.ones(DV, np.float32), text=text[i]) for i in (0, 1)]
    masks = np.ones((2, 2, 2), bool)
    boxes = np.zeros((2, 4), np.float32)
    frames = [FrameRegions(t, np.array(order), boxes, masks) for t, order in ((0, [0, 1]), (1, [1, 0]))]
    add(store, row.id, tracks, frames, state="done")
    scenes = parse(store, row, LABELS, text[:3]).frames(store)
    assert [set(scene.labels.ravel().tolist()) for scene in scenes] == [{1}, {0}]


def test_things_are_told_from_stuff_where_a_temperature_says_so(store: Store) -> None:
    row = store.begin_source(info("b.mp4", "b"))
    text = np.zeros((1, DT), np.float32)
    text[0, :3] = (0.6, 0.5, 0.62)  # the wall is the most similar, the things together are more so
    add(
        store,
        row.id,
        [track(0, visual=np.ones(DV, np.float32), text=text[0])],
        [FrameRegions(0, np.array([0]), np.zeros((1, 4), np.float32), np.ones((1, 2, 2), bool))],
        state="done",
    )
    vectors = np.eye(DT, dtype=np.float32)[:3]
    for temperature, label in ((None, 2), (0.5, 0)):
        (scene,) = parse(store, row, LABELS, vectors, temperature=temperature).frames(store)
        assert set(scene.labels.ravel().tolist()) == {label}


def test_a_share_is_of_all_cells_and_of_as_many_labels_as_there_are() -> None:
    scene = Scene(3, np.array([[0, 2, UNLABELLED, 2]], np.int32))
    shares = scene.shares(4)
    assert (shares.dtype, shares.tolist()) == (np.float32, [0.25, 0, 0.5, 0])
    assert scene.at(2, 8).tolist() == [[0, 0, 2, 2, UNLABELLED, UNLABELLED, 2, 2]] * 2
    found = areas([(3, shares), (9, shares / 2)], 4)
    assert (found.t_ns.dtype, found.t_ns.tolist(), found.shares.dtype) == (np.int64, [3, 9], np.float32)
    assert found.shares.tolist() == [[0.25, 0, 0.5, 0], [0.125, 0, 0.25, 0]]


def test_what_is_as_much_thing_as_stuff_is_compared_with_both() -> None:
    things = np.array([True, True, False, False])
    scores = np.array([[0.5, 0.1, 0.5, 0.1], [0.51, 0.1, 0.5, 0.1]], np.float32)
    assert decoupled(scores, things, 1.0).tolist() == [scores[0].tolist(), scores[1, [0, 1, 1, 1]].tolist()]
    three = np.array([[0.5, 0.6, 0.4], [-9, 0.2, 0.1]], np.float32)
    out = decoupled(three, np.array([True, False, True]), 1.0)
    assert out[0].tolist() == three[0, [0, 2, 2]].tolist()
    assert out[1].tolist() == three[1].tolist()
    assert three[0, 1] == np.float32(0.6)  # what is given stays
    two = np.array([[0.5, 0.6, 0.4, 0.1], [-9, -9, 9, -9], [0.9, 0.1, 0.5, 0.3]], np.float32)
    out = decoupled(two, np.array([True, False, True, False]), 1.0)  # each by its own lowest score
    assert out.tolist() == np.array([[0.5, 0.1, 0.4, 0.1], [-9, -9, 9, -9], [0.9, 0.1, 0.5, 0.1]], np.float32).tolist()


def test_a_span_alone(store: Store) -> None:
    parsed = parse(store, store.sources()[0], LABELS, np.eye(DT, dtype=np.float32)[:3])
    spans = [(), (0, 9), (1, 9), (0, 8), (5,), (9, 9), (0, 0), (10,)]
    times = [[0, 9], [0, 9], [9], [0], [9], [9], [0], []]
    assert [[s.t_ns for s in parsed.frames(store, *span)] for span in spans] == times


def test_areas_over_time(store: Store) -> None:
    found = areas([(s.t_ns, s.shares(3)) for s in labelled(store)], 3)
    assert found.t_ns.tolist() == [0, 9]
    np.testing.assert_allclose(found.shares[1], [0, 0.5, 0], atol=0.1)
    assert found.shares[0, 0] > 0.2
    assert areas([], 3).shares.shape == (0, 3)


def test_a_source_without_tracks_has_no_labels(store: Store) -> None:
    row = store.begin_source(info("empty.mp4", "e"))
    nothing = FrameRegions(0, np.empty(0, np.int64), np.empty((0, 4), np.float32), np.empty((0, 4, 4), bool))
    add(store, row.id, [], [nothing], state="done")
    ways: tuple[Way, Way] = ("track", "vote")
    for way in ways:
        (scene,) = parse(store, row, LABELS, np.eye(DT, dtype=np.float32)[:3], way=way).frames(store)
        assert (scene.labels == UNLABELLED).all()
        assert scene.labels.dtype == np.int32


def test_an_unknown_way_fails(store: Store) -> None:
    with pytest.raises(UsageError, match="there are track and vote"):
        parse(store, store.sources()[0], LABELS, np.eye(DT, dtype=np.float32)[:3], way="both")  # type: ignore[arg-type]


def test_things_are_compared_with_things_only() -> None:
    things = np.array([True, True, False, False])
    scores = np.array([[0.5, 0.49, 0.505, 0.1], [0.2, 0.1, 0.9, 0.3]], np.float32)
    out = decoupled(scores, things, 0.06)
    # Stuff scores best in the first row, but the things together have more: its best thing wins.
    assert scores[0].argmax() == 2
    assert out[0].tolist() == pytest.approx([0.5, 0.49, 0.1, 0.1])
    assert out[1].tolist() == scores[1].tolist()
    for all_or_none in (np.ones(4, bool), np.zeros(4, bool)):
        assert decoupled(scores, all_or_none, 0.06) is scores
    assert len(decoupled(scores[:0], things, 0.06)) == 0
