from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidmem.config import preset
from vidmem.errors import LockedError, ModelMismatchError, StoreError, UsageError
from vidmem.store import ModelRecord, Store, VectorCache
from vidmem.store.fp16 import half_to_float, pack_vector, unpack_vector
from vidmem.timecode import NS

from .making import MODEL, add, frame, info, track


def contents(store: Store) -> list[object]:
    """Everything in a memory but wall-clock times."""
    assert store._conn is not None
    found: list[object] = []
    for table, columns in (
        ("sources", "id, uri, state, frames, damaged, next_t_ns, tracker_state"),
        ("tracks", "*"),
        ("regions", "*"),
    ):
        found += store._conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
    return found


def test_model_is_kept(store: Store) -> None:
    assert store.model() == MODEL
    store.check_model(dataclasses.replace(MODEL, config={**MODEL.config, "batch": 64}))
    store.begin_source(info())
    store.set_model(MODEL)


def test_model_can_change_while_the_memory_is_empty(store: Store) -> None:
    other = dataclasses.replace(MODEL, encoder="gem")
    store.set_model(other)
    assert store.model() == other


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            dataclasses.replace(MODEL, encoder="gem"),
            r"encoder \(tiny .*, gem asked for\); use `encoder` tiny, or `vidmem reembed --encoder gem`",
        ),
        (dataclasses.replace(MODEL, weights="cd"), "weights .*`vidmem reembed` gives it"),
        (
            dataclasses.replace(MODEL, config=preset("paper").as_dict()),
            "merge.keep_singletons .*track.max_gap .*use the same settings, or another folder",
        ),
    ],
)
def test_another_model_fails(store: Store, folder: Path, other: ModelRecord, message: str) -> None:
    store.begin_source(info())
    for refuse in (store.check_model, store.set_model):
        with pytest.raises(ModelMismatchError, match=f"{message}.*: {folder}$"):
            refuse(other)
    assert store.model() == MODEL


def test_begin_source_resumes_known_content(store: Store) -> None:
    row = store.begin_source(info())
    assert (row.state, row.frames, row.next_t_ns, row.tracker_state) == ("open", 0, None, b"")
    add(store, row.id, [track(0)], next_t_ns=77, tracker_state=b"open tracks", frames_done=5, damaged=2)
    for known in (info(), info("copy.mp4")):
        again = store.begin_source(known)
        assert (again.id, again.next_t_ns, again.tracker_state) == (row.id, 77, b"open tracks")
        assert (again.frames, again.damaged, again.finished_at) == (5, 2, None)
    assert len(store.sources()) == 1


def test_begin_source_starts_anew_when_the_file_changed(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(0), track(1)], [frame(0, [0, 1])], state="done")
    VectorCache(store)
    new = store.begin_source(info(fingerprint="f2"))
    assert (new.next_t_ns, new.state) == (None, "open")
    assert new.id != row.id
    assert [source.id for source in store.sources()] == [new.id]
    assert not store.source_tracks(row.id)
    assert not list(store.regions(row.id, 0, 10))
    add(store, new.id, [track(0)])
    assert VectorCache(store).columns.ids.tolist() == [3]  # 1 and 2 are never given again


def test_source_is_found_by_path_name_or_last_folders(store: Store) -> None:
    one = store.begin_source(info("walk.mp4", "1"))
    two = store.begin_source(info("tour.mp4", "2", "/videos/kitchen"))
    three = store.begin_source(info("tour.mp4", "3", "/videos/garden"))
    assert store.source("/videos/walk.mp4") == store.source("walk.mp4") == one
    assert store.source("kitchen/tour.mp4") == two
    assert store.source_by_id(three.id) == three


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tour.mp4", "2 sources are called 'tour.mp4'; give one of: /a/tour.mp4, /b/tour.mp4"),
        ("wak.mp4", "no source is called 'wak.mp4'; near: /a/walk.mp4"),
        ("zzz", "there are: /a/walk.mp4, /a/tour.mp4, /b/tour.mp4"),
        ("", "no source is called"),
    ],
)
def test_source_fails_with_near_names(store: Store, name: str, message: str) -> None:
    store.begin_source(info("walk.mp4", "1", "/a"))
    store.begin_source(info("tour.mp4", "2", "/a"))
    store.begin_source(info("tour.mp4", "3", "/b"))
    with pytest.raises(UsageError, match=message):
        store.source(name)


def test_source_fails_in_an_empty_memory(store: Store) -> None:
    with pytest.raises(UsageError, match="index a video first"):
        store.source("walk.mp4")
    with pytest.raises(UsageError, match="no source has the id 7"):
        store.source_by_id(7)


def test_checkpoint_round_trips(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [track(0), track(1)], [frame(5, [1, 0])], state="done")
    one, missing_left_out = store.tracks([2, 1])[0], store.tracks([99, 1])
    want = track(1)
    assert (one.id, one.source_id, one.ordinal, one.start_ns, one.end_ns) == (2, row.id, 1, 10, 15)
    assert (one.frames, one.best_ns, one.best_box) == (3, 12, (1.0, 2.0, 3.5, 4.25))
    np.testing.assert_allclose(one.visual, want.visual / np.linalg.norm(want.visual), atol=5e-4)
    assert [t.id for t in missing_left_out] == [1]
    (got,) = store.regions(row.id, 5, 5)
    np.testing.assert_array_equal(got.masks, frame(5, [1, 0]).masks)
    done = store.source("walk.mp4")
    assert done.state == "done"
    assert done.finished_at


def test_checkpoint_fails_whole(store: Store) -> None:
    row = store.begin_source(info())
    with pytest.raises(StoreError, match="source 9 is not in this memory"):
        add(store, 9, [track(0)])
    with pytest.raises(ValueError, match="24 and 3 values"):
        add(store, row.id, [track(0), track(1, text=np.ones(3, np.float32))], [frame(0, [0])])
    with pytest.raises(ValueError, match="state must be"):
        add(store, row.id, [], state="finished")
    assert contents(store) == [(row.id, row.uri, "open", 0, 0, None, b"")]
    assert store.extent()[0] == 0


def test_regions_come_by_time(store: Store) -> None:
    row = store.begin_source(info())
    for start in (0, 30, 60):
        frames = [frame(t, [t], grid=(3, 3 + (t > 40))) for t in range(start, start + 30, 10)]
        add(store, row.id, [], frames)
    assert [f.t_ns for f in store.regions(row.id, 20, 50)] == [20, 30, 40, 50]
    assert [f.t_ns for f in store.regions(row.id, 0, 10**18)] == list(range(0, 90, 10))
    assert not list(store.regions(row.id, 21, 29))
    assert not list(store.regions(99, 0, 100))


def test_damaged_regions_fail(store: Store, folder: Path) -> None:
    row = store.begin_source(info())
    add(store, row.id, [], [frame(0, [1])])
    assert store._conn is not None
    store._conn.execute("UPDATE regions SET blob = zeroblob(length(blob))")
    with pytest.raises(StoreError, match=f"regions are damaged.*index it again: {folder}$"):
        list(store.regions(row.id, 0, 9))


@pytest.mark.parametrize("stops", [(4,), (1, 3), (2, 3, 5)])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path, stops: tuple[int, ...]) -> None:
    def run(folder: Path, first: int, last: int) -> list[object]:
        with Store.open(folder, create=True) as store:
            store.set_model(MODEL)
            row = store.begin_source(info())
            assert row.next_t_ns == (first * 10 or None)
            for n in range(first, last):  # each continues two tracks and starts two
                tracks = [track(i, seed=n * 100 + i) for i in (2 * n + 1, 2 * n, 2 * n - 1, 2 * n - 2) if i >= 0]
                add(store, row.id, tracks, [frame(n * 10, [2 * n, 2 * n + 1])], next_t_ns=n * 10 + 10)
            return contents(store)

    whole = run(tmp_path / "whole", 0, 6)
    bounds = (0, *stops, 6)
    for first, last in itertools.pairwise(bounds):
        parts = run(tmp_path / "parts", first, last)
    assert parts == whole


def test_ids_do_not_depend_on_where_checkpoints_fall(tmp_path: Path) -> None:
    ids = []
    for size in (1, 3, 6):
        with Store.open(tmp_path / str(size), create=True) as store:
            row = store.begin_source(info())
            for n in range(0, 6, size):
                add(store, row.id, [track(i) for i in range(n + size)])  # old ones are updated again and again
            ids.append([(t.id, t.ordinal) for t in store.source_tracks(row.id)])
    assert ids[0] == ids[1] == ids[2] == [(i + 1, i) for i in range(6)]


def test_generation_counts_changes_of_tracks(store: Store) -> None:
    row = store.begin_source(info())
    add(store, row.id, [])
    assert store.extent()[0] == 0
    add(store, row.id, [track(0)])
    assert store.extent()[0] == 1
    store.remove_source(row.id)
    assert store.extent()[0] == 2


def test_stats(store: Store) -> None:
    assert store.stats().bytes_per_hour is None
    row = store.begin_source(info())
    add(store, row.id, [track(0), track(1)], [frame(0, [0, 1]), frame(1, [1])], damaged=4)
    VectorCache(store)
    stats = store.stats()
    assert (stats.sources, stats.frames, stats.damaged, stats.tracks, stats.regions) == (1, 2, 4, 2, 3)
    assert stats.region_bytes > 0
    assert stats.cache_bytes > 4096
    assert stats.duration_ns == 60 * NS
    assert stats.bytes_per_hour == pytest.approx((stats.database_bytes + stats.cache_bytes) * 60)


def in_files(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


@pytest.mark.parametrize("then", ["remove", "change"])
def test_remove_source_leaves_no_byte(store: Store, folder: Path, then: str) -> None:
    keep = store.begin_source(info("keep.mp4", "k"))
    secret = store.begin_source(info("secret-name.mp4", "secret-print"))
    vector = track(0, seed=12345)
    for n in range(5):
        add(store, keep.id, [track(i) for i in range(n * 40, n * 40 + 40)], [frame(n, [1, 2])])
        add(
            store,
            secret.id,
            [dataclasses.replace(vector, ordinal=i) for i in range(n * 40 + 40)],
            [frame(n, [1])],
            tracker_state=b"secret-state" * 1000,
        )
    VectorCache(store)
    half, needles = pack_vector(vector.visual), [b"secret-name", b"secret-print", b"secret-state"]
    assert all(in_files(folder, needle) for needle in needles)
    assert "vectors.bin" in in_files(folder, half)
    if then == "remove":
        store.remove_source(secret.id)
    else:  # a changed file is scrubbed when the memory is opened next
        store.begin_source(info("secret-name.mp4", "new"))
        store.remove_source(store.source("secret-name.mp4").id)
    for needle in (*needles, half, pack_vector(vector.text)):
        assert not in_files(folder, needle)
    assert len(store.source_tracks(keep.id)) == 200
    assert len(list(store.regions(keep.id, 0, 9))) == 5
    assert len(VectorCache(store)) == 200


def test_remove_source_fails_beside_a_reader_and_is_finished_by_the_next_writer(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidmem.store.database.BUSY_SECONDS", 0.05)
    store.close()
    with Store.open(folder, write=True) as writer, Store.open(folder) as reader:
        row = writer.begin_source(info("secret-name.mp4"))
        with reader.track_changes(-1), pytest.raises(StoreError, match="another process is reading"):
            writer.remove_source(row.id)
        assert writer.sources() == []
        assert in_files(folder, b"secret-name")
    Store.open(folder, write=True).close()
    assert not in_files(folder, b"secret-name")


def test_remove_source_fails_for_an_unknown_one(store: Store) -> None:
    with pytest.raises(StoreError, match="source 5 is not in this memory"):
        store.remove_source(5)


@pytest.mark.parametrize("norm", [0.0, 1e-30, 1.0, 1e30])
def test_vectors_of_any_norm_keep_their_direction(norm: float) -> None:
    vector = np.array([3, -4, 0], np.float32) * np.float32(norm)
    want = [0.6, -0.8, 0] if norm else [0, 0, 0]
    np.testing.assert_allclose(unpack_vector(pack_vector(vector)), want, atol=5e-4)


def test_half_to_float_is_exact() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    np.testing.assert_array_equal(half_to_float(every), every.astype(np.float32))


def test_failing_open_lets_go_of_the_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(conn: object) -> int:
        raise StoreError("no")

    refused: Callable[[], Store] = lambda: Store.open(folder, create=True)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr("vidmem.store.migrations.migrate", fail)
        with pytest.raises(StoreError, match="no"):
            refused()
    try:
        refused().close()
    except LockedError:
        pytest.fail("still locked")
