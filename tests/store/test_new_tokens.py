"""How sure tracks are, their views, and tokens of another encoder that take the place of the old ones."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidmem.errors import ModelMismatchError, StoreError
from vidmem.records import ViewMark
from vidmem.store import ModelRecord, NewTokens, Part, Store, VectorCache

from .making import DT, DV, MODEL, add, frame, info, track

OTHER = ModelRecord("clip", "cd" * 32, 8, 6, MODEL.config, "ef" * 8)


def unit(dim: int, at: int) -> np.ndarray:
    return np.eye(dim, dtype=np.float32)[at]


def view(t_ns: int, quality: float = 0.5, image: bytes | None = None) -> ViewMark:
    return ViewMark(t_ns, (1.0, 2.0, 3.0, 4.0), quality, image)


@pytest.fixture
def filled(store: Store) -> Store:
    store.set_model(MODEL)
    row = store.begin_source(info())
    tracks = [
        track(0, text=unit(DT, 0), text_confidence=0.5, confidence=0.25, views=(view(7), view(3, 0.25))),
        track(1, text=unit(DT, 0)),
        track(2, text=unit(DT, 1), text_confidence=0.0),
    ]
    add(store, row.id, tracks, [frame(10, [0, 1, 2])], state="done")
    return store


def test_confidence_comes_back(filled: Store) -> None:
    first, second, _ = filled.source_tracks(1)
    assert (first.confidence, first.text_confidence) == (0.25, 0.5)
    assert (second.confidence, second.text_confidence) == (1.0, 1.0)
    assert np.linalg.norm(first.text) == pytest.approx(1, abs=1e-3)  # the direction is kept whole


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_confidence_out_of_bounds_fails(store: Store, value: float) -> None:
    row = store.begin_source(info())
    with pytest.raises(StoreError, match="not between 0 and 1; check the encoder"):
        add(store, row.id, [track(0, text_confidence=value)])
    assert store.source_tracks(row.id) == []


def test_a_score_by_words_is_weighed_by_how_sure_the_name_is(filled: Store) -> None:
    cache = VectorCache(filled)
    np.testing.assert_allclose(cache.scores("text", unit(DT, 0), np.arange(3)), [0.5, 1.0, 0.0], atol=1e-6)
    rows, scores = cache.range_search("text", unit(DT, 0), 0.6)
    assert rows.tolist() == [1]
    assert scores[0] == pytest.approx(1)
    assert cache.range_search("text", unit(DT, 0), 0.5)[0].tolist() == [0, 1]
    assert cache.top("text", unit(DT, 0), 2)[0].tolist() == [1, 0]
    ((found, _),) = cache.range_search_many("text", unit(DT, 0)[None], 0.6)
    assert found.tolist() == [1]


def test_a_cache_of_before_takes_in_a_change_of_confidence(filled: Store) -> None:
    cache = VectorCache(filled)
    add(filled, 1, [track(1, text=unit(DT, 0), text_confidence=0.125)], state="done")
    cache = cache.refreshed()
    assert cache.scores("text", unit(DT, 0), np.array([1]))[0] == pytest.approx(0.125, abs=1e-6)


def test_views_come_back_best_first_and_keep_their_pictures(filled: Store) -> None:
    (ids,) = [t.id for t in filled.source_tracks(1)][:1]
    assert [v.t_ns for v in filled.views(1)[ids]] == [7, 3]
    add(filled, 1, [track(0, views=(view(7, image=b"webp"),))], state="done")
    add(filled, 1, [track(0, views=(view(7, 0.75), view(9, 0.5)))], state="done")  # the picture is not handed out again
    assert filled.views(1)[ids] == [view(7, 0.75, b"webp"), view(9, 0.5)]


def test_views_go_with_their_track(filled: Store, folder: Path) -> None:
    first = filled.source_tracks(1)[0]
    filled.remove_parts([Part(1, tracks=(first.id,))])
    assert filled.views(1) == {}
    filled.remove_source(1)
    filled.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    assert conn.execute("SELECT count(*) FROM views").fetchone() == (0,)
    conn.close()


def test_views_of_a_forgotten_time_go(filled: Store) -> None:
    first = filled.source_tracks(1)[0]
    add(filled, 1, [replace(track(0), end_ns=20, views=(view(7), view(12)))], [frame(20, [0])], state="done")
    filled.remove_parts([Part(1, before_ns=11)])
    assert [v.t_ns for v in filled.views(1)[first.id]] == [12]


def test_new_tokens_are_taken_over_at_once(filled: Store) -> None:
    ids = [t.id for t in filled.source_tracks(1)]
    cache = VectorCache(filled)
    assert filled.begin_tokens(OTHER) == set()
    filled.put_tokens([NewTokens(i, unit(8, k), unit(6, k), 0.5) for k, i in enumerate(ids)])
    assert filled.model() == MODEL
    assert len(filled.source_tracks(1)[0].visual) == DV
    assert filled.adopt_tokens(OTHER, {}) == []
    assert filled.model() == OTHER
    tracks = filled.source_tracks(1)
    assert [t.visual.argmax() for t in tracks] == [0, 1, 2]
    assert tracks[0].text_confidence == 0.5
    assert [t.id for t in tracks] == ids
    cache = cache.refreshed()
    assert cache.dim("visual") == 8
    assert cache.range_search("visual", unit(8, 1), 0.9)[0].tolist() == [1]
    assert not any(row.stale for row in filled.sources())


def test_an_interrupted_run_goes_on_and_another_encoder_begins_anew(filled: Store) -> None:
    first = filled.source_tracks(1)[0].id
    filled.begin_tokens(OTHER)
    filled.put_tokens([NewTokens(first, unit(8, 0), unit(6, 0), 1.0)])
    assert filled.begin_tokens(OTHER) == {first}
    assert filled.begin_tokens(replace(OTHER, weights="00")) == set()


def test_tracks_without_new_tokens_are_found_by_nothing(filled: Store) -> None:
    ids = [t.id for t in filled.source_tracks(1)]
    filled.begin_tokens(OTHER)
    filled.put_tokens([NewTokens(ids[0], unit(8, 0), unit(6, 0), 1.0)])
    assert filled.adopt_tokens(OTHER, {}) == [1]
    assert filled.sources()[0].stale
    rows, scores = VectorCache(filled).top("visual", unit(8, 0), 3)
    assert rows[0] == 0
    assert scores.tolist() == [1, 0, 0]
    filled.begin_tokens(OTHER)
    filled.put_tokens([NewTokens(i, unit(8, 1), unit(6, 0), 1.0) for i in ids])
    assert filled.adopt_tokens(OTHER, {}) == []
    assert not filled.sources()[0].stale


def test_a_source_that_is_open_keeps_its_tokens(store: Store) -> None:
    store.set_model(MODEL)
    row = store.begin_source(info())
    add(store, row.id, [track(0)])
    store.begin_tokens(OTHER)
    with pytest.raises(StoreError, match=r"not indexed to its end; index it first: /videos/walk.mp4"):
        store.adopt_tokens(OTHER, {})
    assert store.model() == MODEL
    assert len(store.source_tracks(row.id)[0].visual) == DV


def test_tokens_that_are_not_finite_fail(filled: Store) -> None:
    filled.begin_tokens(OTHER)
    with pytest.raises(StoreError, match="NaN or infinity"):
        filled.put_tokens([NewTokens(1, np.full(8, np.nan, np.float32), unit(6, 0), 1.0)])


def test_another_region_step_is_refused_with_the_remedy(filled: Store) -> None:
    with pytest.raises(ModelMismatchError, match=r"regions .*`vidmem reembed`"):
        filled.check_model(replace(MODEL, regions="another"))


def test_a_memory_of_before_knows_no_doubt(store: Store, folder: Path) -> None:
    """What the step of migration gives to tracks that were made before it."""
    row = store.begin_source(info())
    add(store, row.id, [track(0)], state="done")
    store.close()
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        for table, column in (
            ("tracks", "confidence"),
            ("tracks", "text_confidence"),
            ("tracks", "crc"),
            ("model", "regions"),
            ("sources", "stale"),
            ("sources", "recorded_by"),
            ("pictures", "recorded_ns"),
            ("pictures", "recorded_by"),
            ("sources", "stamp"),
            ("sources", "content"),
            ("picture_files", "sample"),
        ):
            conn.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        conn.execute("DROP TABLE views")
        conn.execute("DROP TABLE new_tokens")
        conn.execute("DROP TABLE cuts")
        conn.execute("DROP TABLE standing")
        conn.execute("DROP TABLE told")
        conn.execute("DELETE FROM migrations WHERE number >= 4")
    conn.close()
    with Store.open(folder) as again:
        (only,) = again.source_tracks(row.id)
        assert (only.confidence, only.text_confidence, again.views(row.id)) == (1.0, 1.0, {})
        assert not again.sources()[0].stale
