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


def test_a_span_alone(store: Store) -> None:
    parsed = parse(store, store.sources()[0], LABELS, np.eye(DT, dtype=np.float32)[:3])
    assert [s.t_ns for s in parsed.frames(store, 5)] == [9]


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
