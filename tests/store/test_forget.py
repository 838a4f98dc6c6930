"""Forgetting a part of a source leaves no byte of it, and leaves the rest alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vidmem.errors import StoreError
from vidmem.records import FrameRegions, Mark, Trail
from vidmem.store import Part, Store, VectorCache
from vidmem.store.fp16 import pack_vector

from .making import add, frame, info, track
from .test_store import in_files


def fill(store: Store, state: str = "done") -> int:
    """Frames at 0, 10, ... 190 of four tracks: 0 until 90, 1 from 50 to 140, 2 from 100 on, 3 always."""
    row = store.begin_source(info("walk.mp4"))
    held = {0: range(0, 100, 10), 1: range(50, 150, 10), 2: range(100, 200, 10), 3: range(0, 200, 10)}
    tracks = [track(i, start_ns=t[0], end_ns=t[-1], frames=len(t), best_ns=t[0]) for i, t in held.items()]
    frames = [frame(t, [i for i, times in held.items() if t in times]) for t in range(0, 200, 10)]
    for n in range(0, 20, 5):
        last = state if n == 15 else "open"
        add(store, row.id, tracks if n == 0 else [], frames[n : n + 5], frames_done=n + 5, state=last)
    return row.id


def regions(store: Store, source: int) -> list[tuple[int, list[int]]]:
    return [(f.t_ns, f.tracks.tolist()) for f in store.regions(source, 0, 1000)]


def test_what_a_log_said_before_a_time_goes(store: Store) -> None:
    source = fill(store)
    marks = [(t, Mark(1000 + t, None, t // 10)) for t in range(0, 200, 10)]
    add(store, source, [], [], frames_done=20, state="done", marks=marks)
    times = np.arange(0, 200, 20)
    store.set_trail(source, Trail("/odom", "map", times, np.arange(70.0).reshape(10, 7)))
    store.remove_parts([Part(source, 110)])
    assert [t for t, _ in store.marks(source, 0, 1000)] == list(range(110, 200, 10))
    left = store.trail(source)
    assert left is not None
    assert left.t_ns.tolist() == [120, 140, 160, 180]
    np.testing.assert_array_equal(left.values, np.arange(70.0).reshape(10, 7)[6:])
    store.remove_parts([Part(source, 190)])
    assert store.trail(source) is None
    assert [t for t, _ in store.marks(source, 0, 1000)] == [190]


def test_what_was_before_a_time_goes(store: Store, folder: Path) -> None:
    source = fill(store)
    before = list(store.regions(source, 0, 1000))
    gone, kept = (pack_vector(track(i).visual) for i in (0, 2))
    VectorCache(store)
    part = Part(source, 110)
    told = store.preview_removal(part)
    assert len(in_files(folder, gone)) == 2  # telling changes nothing
    (loss,) = store.remove_parts([part])
    assert loss == told
    assert (loss.tracks, loss.shortened, loss.frames) == (1, 3, 11)
    assert loss.regions == sum(len(f) for f in before[:11])
    assert not in_files(folder, gone)
    assert in_files(folder, kept)
    after = list(store.regions(source, 0, 1000))
    assert [f.t_ns for f in after] == list(range(110, 200, 10))
    for old, new in zip(before[11:], after, strict=True):
        np.testing.assert_array_equal(old.masks, new.masks)
        np.testing.assert_array_equal(old.boxes, new.boxes)
    spans = {t.ordinal: (t.start_ns, t.end_ns, t.frames) for t in store.source_tracks(source)}
    assert spans == {1: (110, 140, 4), 2: (110, 190, 9), 3: (110, 190, 9)}
    for t in store.source_tracks(source):  # the evidence is among the frames that are left
        box = max((f.boxes[f.tracks == t.ordinal][0] for f in after if t.ordinal in f.tracks), key=size)
        assert size(t.best_box) == size(box)
        assert t.best_ns >= 110
    assert store.source_by_id(source).frames == 9
    cache = VectorCache(store)
    assert sorted(cache.columns.start_ns.tolist()) == [110, 110, 110]


def size(box: object) -> float:
    x0, y0, x1, y1 = np.asarray(box, float)
    return float((x1 - x0) * (y1 - y0))


def test_a_thing_goes_and_its_frames_stay(store: Store, folder: Path) -> None:
    source = fill(store)
    ids = {t.ordinal: t.id for t in store.source_tracks(source)}
    kept = {t.ordinal: t for t in store.source_tracks(source)}
    secret = pack_vector(track(3).text)
    part = Part(source, None, (ids[3], ids[1]))
    told = store.preview_removal(part)
    VectorCache(store)
    (loss,) = store.remove_parts([part])
    assert loss == told
    assert (loss.tracks, loss.shortened, loss.frames, loss.regions) == (2, 0, 0, 30)
    assert not in_files(folder, secret)
    assert regions(store, source) == [(t, [0] if t < 100 else [2]) for t in range(0, 200, 10)]
    for t in store.source_tracks(source):
        assert (t.id, t.start_ns, t.frames) == (kept[t.ordinal].id, kept[t.ordinal].start_ns, kept[t.ordinal].frames)
    assert VectorCache(store).columns.ids.tolist() == [ids[0], ids[2]]


def test_no_mask_of_a_thing_is_left(store: Store, folder: Path) -> None:
    """One blob whose bytes are known: after forgetting it is exactly the blob of the rest."""
    from vidmem.store.region_blobs import encode

    row = store.begin_source(info("walk.mp4"))
    both = [frame(t, [0, 1]) for t in (0, 10)]
    add(store, row.id, [track(0), track(1)], both, state="done")
    alone = [FrameRegions(f.t_ns, f.tracks[:1], f.boxes[:1], f.masks[:1]) for f in both]
    assert in_files(folder, encode(both))
    store.remove_parts([Part(row.id, None, (store.source_tracks(row.id)[1].id,))])
    assert not in_files(folder, encode(both))
    assert in_files(folder, encode(alone))


def test_both_a_time_and_a_thing(store: Store) -> None:
    source = fill(store)
    ids = {t.ordinal: t.id for t in store.source_tracks(source)}
    (loss,) = store.remove_parts([Part(source, 110, (ids[3],))])
    assert (loss.tracks, loss.shortened) == (2, 2)
    assert all(3 not in tracks for _, tracks in regions(store, source))


def test_nothing_to_forget(store: Store) -> None:
    source = fill(store)
    assert not store.preview_removal(Part(source, 0))
    assert not store.preview_removal(Part(source))
    assert not store.preview_removal(Part(source, None, (10**9,)))
    assert store.preview_removal(Part(source, 10**9)).tracks == 4


def test_an_interrupted_source_fails_and_nothing_goes(store: Store) -> None:
    done = fill(store)
    waiting = store.begin_source(info("other.mp4", "f2"))
    add(store, waiting.id, [track(0)], [frame(0, [0])])
    with pytest.raises(StoreError, match=r"before a source is indexed to its end.*other\.mp4"):
        store.remove_parts([Part(done, 110), Part(waiting.id, 5)])
    assert len(regions(store, done)) == 20
    assert len(store.source_tracks(done)) == 4
    with pytest.raises(StoreError, match="source 77 is not in this memory"):
        store.remove_parts([Part(77, 5)])


def test_a_reader_in_the_way_is_told_and_the_next_writer_finishes(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidmem.store.database.BUSY_SECONDS", 0.05)
    source = fill(store)
    secret = pack_vector(track(0).visual)
    store.close()
    with Store.open(folder, write=True) as writer, Store.open(folder) as reader:
        with reader.track_changes(-1), pytest.raises(StoreError, match="another process is reading"):
            writer.remove_parts([Part(source, 110)])
        assert len(writer.source_tracks(source)) == 3
    Store.open(folder, write=True).close()
    assert not in_files(folder, secret)


def test_compact_joins_blobs_and_keeps_what_is_in_them(store: Store, folder: Path) -> None:
    source = fill(store)
    before = [dataclasses.astuple(f) for f in store.regions(source, 0, 1000)]
    assert store.compact() == 3
    after = [dataclasses.astuple(f) for f in store.regions(source, 0, 1000)]
    for old, new in zip(before, after, strict=True):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)
    assert store.compact() == 0
    assert store.free_bytes() == 0
    assert not store.cache_folder.exists()
    assert len(VectorCache(store)) == 4


def test_compact_does_not_join_what_does_not_fit(store: Store) -> None:
    row = store.begin_source(info("walk.mp4"))
    for n in range(4):
        grid = (5, 7) if n < 2 else (6, 7)
        add(store, row.id, [track(0)], [frame(n * 100 + i, [0], grid=grid) for i in range(30)], state="open")
    assert store.compact() == 0
    add(store, row.id, [], [frame(900 + i, [0], grid=(6, 7)) for i in range(3)], state="done")
    assert store.compact() == 1
    assert len(list(store.regions(row.id, 0, 1000))) == 123
