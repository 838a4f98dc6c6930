"""From groups of tracks to sightings: spans, the best track as evidence, and moments of logs and photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeing import axis, seen
from store.making import DT, MODEL, add, info

from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.query.filters import Filtered
from vidmem.query.scores import Hits
from vidmem.query.sightings import LogPoints, sightings_of
from vidmem.records import Mark, Sighting, SourceInfo, SourceKind, Trail
from vidmem.store import PICTURE_NS, Picture, PictureFile, Store, VectorCache
from vidmem.timecode import NS

CALIBRATION = Calibration(0.7, 0.0, 0.7, 0.6)
NOON = 1_800_000_000 * NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "m", create=True) as opened:
        opened.set_model(MODEL)
        yield opened


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


def sightings(
    store: Store, hits: Hits, *groups: list[int], calibration: Calibration = CALIBRATION, **more: Any
) -> list[Sighting]:
    cache = more.pop("cache", None) or VectorCache(store)
    sources = {row.id: row for row in store.sources()}
    members = [np.array(group, np.intp) for group in groups]
    found = Filtered(hits, cache.columns_of(hits.rows), more.pop("evidence", {}))
    return sightings_of(store, sources, cache, found, members, calibration, more.pop("contrast", None))


def film(store: Store, name: str = "a.mp4", **more: Any) -> int:
    """Tracks from 0 to 9, 2 to 4 and 20 to 29 s; the boxes begin at 0, 1 and 2."""
    row = store.begin_source(dataclasses.replace(info(name, name), **more))
    spans = ((0, 9), (2, 4), (20, 29))
    tracks = [
        seen(i, 0, *span, best_box=(float(i), 0.0, 9.0, 9.0), confidence=0.25 * (i + 1)) for i, span in enumerate(spans)
    ]
    add(store, row.id, tracks, state="done")
    return row.id


def test_a_sighting_spans_its_tracks_and_shows_the_best(store: Store) -> None:
    film(store)
    hits = Hits(np.array([2, 1, 0]), floats(0.5, 0.75, 0.25), floats(0.5, 0.75, 0.25))
    late, early = sightings(store, hits, [0], [1, 2])
    assert (late.start_s, late.end_s, late.frame_s, late.box[0], late.tracks) == (20, 29, 24.5, 2, (3,))
    assert (early.start_s, early.end_s, early.frame_s, early.box[0], early.tracks) == (0, 9, 3, 1, (1, 2))
    assert (early.score, early.text_score, early.visual_score, early.probability) == (0.75, 0.75, None, None)
    assert (late.confidence, early.confidence) == (0.75, 0.5)
    assert early.source == "/videos/a.mp4"
    assert early.seen is early.last is early.picture is early.recorded_ns is None


def test_the_most_probable_is_the_best_and_of_equals_the_one_with_the_best_score(store: Store) -> None:
    film(store)
    score = floats(0.25, 0.75, 0.5)
    (one,) = sightings(store, Hits(np.arange(3), score, None, score, floats(0.5, 0.25, 0.5)), [0, 1, 2])
    assert (one.box[0], one.score, one.visual_score, one.text_score, one.probability) == (2, 0.5, 0.5, None, 0.5)


def test_a_probability_is_worked_out_where_a_curve_was_fitted(store: Store) -> None:
    """Half as like as the best hit of all, in whichever sighting that is."""
    film(store)
    fitted = dataclasses.replace(
        CALIBRATION, probability=Probabilities(Curve(0, 0, 1, 9, 9, 9), Curve(0, 0, 0, 9, 9, 9, best=2.0))
    )
    looks = floats(0.25, 0.5, 0.5)
    first, second = sightings(store, Hits(np.arange(3), looks, None, looks), [0], [1], calibration=fitted)
    assert first.probability == pytest.approx(1 / (1 + np.e))  # 2 (0.25 / 0.5 - 1) = -1
    assert second.probability == pytest.approx(0.5)
    words = floats(1, 1, 1)
    contrast = axis(DT, 0)[None]
    (one,) = sightings(store, Hits(np.arange(3), words, words), [0], calibration=fitted, contrast=contrast)
    assert one.probability == pytest.approx(0.5, abs=1e-2)  # the contrast phrase fits as well


def test_evidence_from_a_part_of_the_span_replaces_the_best_view(store: Store) -> None:
    film(store)
    score = floats(0.5, 0.75)
    hits = Hits(np.array([0, 2]), score, score)
    moment = (3 * NS, (5.0, 6.0, 7.0, 8.0))
    first, second = sightings(store, hits, [0], [1], evidence={0: moment})
    assert (first.frame_ns, first.box) == moment
    assert (second.frame_s, second.box[0]) == (24.5, 2)


def test_a_sighting_of_a_source_that_was_removed_is_left_out(store: Store) -> None:
    film(store)
    gone = film(store, "b.mp4")
    film(store, "c.mp4")
    cache = VectorCache(store)
    store.remove_source(gone)
    score = floats(0.5, 0.5, 0.75)
    hits = Hits(np.array([0, 4, 8]), score, score)
    first, second = sightings(store, hits, [0], [1], [2], cache=cache)
    assert [Path(s.source).name for s in (first, second)] == ["a.mp4", "c.mp4"]
    assert second.score == 0.75


def test_sightings_have_the_date_of_their_evidence(store: Store) -> None:
    film(store, start_ns=NOON, recorded_by="container")
    score = floats(0.5)
    (one,) = sightings(store, Hits(np.array([2]), score, score), [0])
    assert (one.recorded_ns, one.recorded_by) == (NOON + int(24.5 * NS), "container")


def test_a_photo_is_named_by_its_first_file(store: Store) -> None:
    row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    times = [0, PICTURE_NS, 2 * PICTURE_NS]
    pictures = [Picture(t, bytes([i]) * 32, 64, 48, None, "") for i, t in enumerate(times)]
    files = [PictureFile(name, 1, 1, t) for name, t in (("a.jpg", 0), ("b.jpg", PICTURE_NS), ("c.jpg", PICTURE_NS))]
    tracks = [dataclasses.replace(seen(i, 0, 0, 0), start_ns=t, end_ns=t, best_ns=t) for i, t in enumerate(times)]
    add(store, row.id, tracks, files=files, pictures=pictures, state="done")
    score = floats(0.5, 0.5, 0.5)
    found = sightings(store, Hits(np.arange(3), score, score), [0], [1], [2])
    assert [s.picture and Path(s.picture).name for s in found] == ["a.jpg", "b.jpg", None]  # the last lost its files


def log(store: Store, kind: SourceKind, uri: str, start_ns: int | None) -> int:
    row = store.begin_source(
        dataclasses.replace(info(), uri=uri, fingerprint=uri, kind=kind, start_ns=start_ns, recorded_by="log")
    )
    marks = [(10, Mark(1010, 1009, 4)), (20, Mark(1020, None, None))]
    add(store, row.id, [dataclasses.replace(seen(0, 0, 0, 0), start_ns=10, end_ns=20, best_ns=10)], marks=marks)
    return row.id


def test_a_moment_of_a_log_has_its_topic_its_clock_and_its_number(store: Store) -> None:
    source = log(store, SourceKind.LOG, "/logs/a.mcap#/cam", 1000)
    points = LogPoints(store, {row.id: row for row in store.sources()})
    point = points.at(source, 10)
    assert point is not None
    assert (point.topic, point.clock, point.time_ns) == ("/cam", "log", 1010)
    assert (point.log_ns, point.stamp_ns, point.sequence, point.pose) == (1010, 1009, 4, None)
    point = points.at(source, 20)
    assert point is not None
    assert (point.time_ns, point.log_ns, point.stamp_ns, point.sequence) == (1020, 1020, None, None)
    assert points.at(source, 15) is None


def test_the_pose_of_a_log_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = log(store, SourceKind.LOG, "/logs/a.mcap#/cam", None)
    values = np.zeros((2, 7))
    values[:, 6], values[:, 0] = 1, (1, 2)
    store.set_trail(source, Trail("/odom", "map", np.array([10, 20]), values))
    points = LogPoints(store, {row.id: row for row in store.sources()})
    read: list[int] = []
    trail = store.trail
    monkeypatch.setattr(store, "trail", lambda number: read.append(number) or trail(number))
    found = [points.at(source, t) for t in (10, 20)]
    assert [point and point.pose and (point.pose.x, point.pose.frame) for point in found] == [(1, "map"), (2, "map")]
    assert [point and point.time_ns for point in found] == [10, 20]
    assert read == [source]


def test_an_episode_counts_from_its_start(store: Store) -> None:
    source = log(store, SourceKind.EPISODE, "/data/set#0/cam", None)
    point = LogPoints(store, {row.id: row for row in store.sources()}).at(source, 10)
    assert point is not None
    assert (point.clock, point.time_ns) == ("episode", 10)


def test_a_video_has_no_moments_of_a_log(store: Store) -> None:
    source = film(store)
    assert LogPoints(store, {row.id: row for row in store.sources()}).at(source, 0) is None


def test_a_sighting_in_a_log_has_its_evidence_and_its_end(store: Store) -> None:
    log(store, SourceKind.LOG, "/logs/a.mcap#/cam", 1000)
    score = floats(0.5)
    (one,) = sightings(store, Hits(np.array([0]), score, score), [0])
    assert one.seen is not None
    assert one.last is not None
    assert (one.seen.log_ns, one.last.log_ns) == (1010, 1020)
