"""What is forgotten: by age, by source and by thing, on small memories."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import numpy as np
import pytest
from store.making import MODEL, add, frame, info, track

from vidmem.encoders import Reading
from vidmem.errors import UsageError
from vidmem.query.retention import carry_out, plan, removals, remove, tracks_of
from vidmem.records import Float32, SourceInfo, SourceKind
from vidmem.store import PICTURE_NS, Loss, Part, Picture, PictureFile, Store, VectorCache
from vidmem.timecode import NS, Moment

NOON = 1_800_000_000 * NS


def date(ns: int) -> Moment:
    return Moment(ns, True, "a date")


def media(ns: int) -> Moment:
    return Moment(ns, False, "12s")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "m", create=True) as opened:
        opened.set_model(MODEL)
        yield opened


def source(store: Store, name: str, start_ns: int | None = None, state: str = "done", **more: Any) -> int:
    """Frames at 0, 10, ... 90 of two tracks: 0 until 40, 1 from 50 on. The duration is 100 ns."""
    row = store.begin_source(
        dataclasses.replace(
            info(name, name), start_ns=start_ns, duration_ns=100, recorded_by="given" if start_ns else ""
        )
    )
    tracks = [track(i, start_ns=50 * i, end_ns=50 * i + 40, frames=5, best_ns=50 * i) for i in (0, 1)]
    frames = [frame(t, [t // 50]) for t in range(0, 100, 10)]
    add(store, row.id, tracks, frames, frames_done=10, state=state, **more)
    return row.id


def photos(store: Store, state: str = "done") -> int:
    """A folder of a.jpg, and of b.jpg and c.jpg, which are copies of another picture."""
    row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    pictures = [Picture(i * PICTURE_NS, bytes([i]) * 32, 64, 48, None, "") for i in (0, 1)]
    files = [PictureFile(f"{name}.jpg", 1, 1, i * PICTURE_NS) for name, i in (("a", 0), ("b", 1), ("c", 1))]
    tracks = [track(i, start_ns=i * PICTURE_NS, end_ns=i * PICTURE_NS, best_ns=i * PICTURE_NS) for i in (0, 1)]
    add(store, row.id, tracks, files=files, pictures=pictures, state=state)
    return row.id


def planned(store: Store, **what: Any) -> list[tuple[str, bool, int | None]]:
    return [(Path(f.source.uri).name, f.whole, f.part.before_ns) for f in plan(store, **what)]


def test_nothing_said_nothing_planned(store: Store) -> None:
    with pytest.raises(UsageError, match="say what to forget: `before`, `sources` or `thing`"):
        plan(store)
    with pytest.raises(UsageError, match="`thing` is forgotten at all times; give it without `before`"):
        plan(store, before=date(1), tracks={})
    with pytest.raises(UsageError, match="'12s' is a time in a video; say in which with `sources`"):
        plan(store, before=media(12))
    assert plan(store, before=date(1)) == []
    assert plan(store, tracks={}) == []


def test_sources_go_whole_and_each_once(store: Store) -> None:
    source(store, "a.mp4")
    b = source(store, "b.mp4")
    (step,) = plan(store, sources=["b.mp4", "/videos/b.mp4"])
    assert (step.source.id, step.whole) == (b, True)
    assert step.loss == Loss(tracks=2, shortened=0, frames=10, regions=10)
    assert planned(store, sources=["b.mp4", "a.mp4"]) == [("b.mp4", True, 1 << 62), ("a.mp4", True, 1 << 62)]
    with pytest.raises(UsageError, match="no source"):
        plan(store, sources=["c.mp4"])


def test_a_date_before_a_source_takes_nothing_and_after_it_all(store: Store) -> None:
    source(store, "a.mp4", NOON)
    assert planned(store, before=date(NOON)) == []
    assert planned(store, before=date(NOON + 1)) == [("a.mp4", False, 1)]
    assert planned(store, before=date(NOON + 100)) == [("a.mp4", False, 100)]
    assert planned(store, before=date(NOON + 101)) == [("a.mp4", True, 1 << 62)]


def test_a_part_that_holds_nothing_is_left_out(store: Store) -> None:
    source(store, "a.mp4")
    store.remove_parts([Part(1, 50)])
    assert planned(store, before=media(50), sources=["a.mp4"]) == []
    assert planned(store, before=media(51), sources=["a.mp4"]) == [("a.mp4", False, 51)]


def test_where_indexing_went_on_counts_as_long_as_the_duration(store: Store) -> None:
    source(store, "a.mp4", NOON, next_t_ns=150)
    assert planned(store, before=date(NOON + 150)) == [("a.mp4", False, 150)]
    assert planned(store, before=date(NOON + 151)) == [("a.mp4", True, 1 << 62)]


def test_a_source_without_a_date_is_as_old_as_its_adding(store: Store) -> None:
    source(store, "a.mp4")
    added = store.sources()[0].added_at
    assert planned(store, before=date(added)) == []
    assert planned(store, before=date(added + 1)) == [("a.mp4", True, 1 << 62)]


def test_one_source_without_a_loss_does_not_end_the_list(store: Store) -> None:
    source(store, "a.mp4", NOON + 200)
    source(store, "b.mp4", NOON)
    assert planned(store, before=date(NOON + 50)) == [("b.mp4", False, 50)]


def test_tracks_are_parts_of_their_sources(store: Store) -> None:
    a, b = source(store, "a.mp4"), source(store, "b.mp4")
    (track_id,) = (t.id for t in store.source_tracks(b) if t.ordinal == 1)
    (step,) = plan(store, tracks={b: [track_id], 99: [5]})
    assert step.part == Part(b, None, (track_id,))
    assert not step.whole
    assert step.loss.tracks == 1
    assert plan(store, sources=["a.mp4"], tracks={b: [track_id]}) == []
    assert a != b


def test_an_open_source_goes_whole_or_not_at_all(store: Store) -> None:
    source(store, "a.mp4", NOON, state="open")
    with pytest.raises(UsageError, match=r"index it, or forget all of it: /videos/a\.mp4"):
        plan(store, before=date(NOON + 50))
    assert planned(store, before=date(NOON + 1000)) == [("a.mp4", True, 1 << 62)]
    assert planned(store, sources=["a.mp4"]) == [("a.mp4", True, 1 << 62)]


def test_what_is_planned_is_carried_out(store: Store) -> None:
    source(store, "a.mp4", NOON)
    source(store, "b.mp4", NOON + 50)
    c = source(store, "c.mp4", NOON + 1000)
    steps = plan(store, before=date(NOON + 120))
    assert [step.whole for step in steps] == [True, False]
    carry_out(store, steps)
    assert [Path(row.uri).name for row in store.sources()] == ["b.mp4", "c.mp4"]
    assert [f.t_ns for f in store.regions(2, 0, 1000)] == [70, 80, 90]
    carry_out(store, plan(store, sources=["b.mp4"]))
    assert [row.id for row in store.sources()] == [c]
    carry_out(store, [])


def test_photos_are_removed_by_name_or_with_their_folder(store: Store) -> None:
    folder = photos(store)
    source(store, "a.mp4")
    found = removals(store, ["/photos/a.jpg", "a.mp4", "/photos"])
    assert [(row.id, path) for row, path in found] == [(folder, "a.jpg"), (2, None), (folder, None)]
    with pytest.raises(UsageError, match="no source"):
        removals(store, ["/photos/z.jpg"])
    remove(store, removals(store, ["/photos/a.jpg", "/photos/a.jpg"]))
    assert [f.path for f in store.picture_files(folder)] == ["b.jpg", "c.jpg"]
    assert len(store.source_tracks(folder)) == 1
    remove(store, removals(store, ["/photos/b.jpg"]))  # its copy still shows it
    assert len(store.source_tracks(folder)) == 1
    remove(store, removals(store, ["a.mp4", "/videos/a.mp4"]))
    assert [row.id for row in store.sources()] == [folder]


def test_the_last_photo_takes_its_folder_along(store: Store) -> None:
    photos(store)
    remove(store, removals(store, ["/photos/b.jpg", "/photos/a.jpg", "/photos/c.jpg"]))
    assert store.sources() == []


def test_a_folder_and_a_photo_in_it_go_together(store: Store) -> None:
    photos(store)
    remove(store, removals(store, ["/photos/a.jpg", "/photos"]))
    assert store.sources() == []


def test_a_photo_of_an_open_folder_stays_and_so_does_the_rest(store: Store) -> None:
    photos(store, state="open")
    source(store, "a.mp4")
    with pytest.raises(UsageError, match=r"a photo is not forgotten before its folder is indexed .*: /photos"):
        remove(store, removals(store, ["a.mp4", "/photos/a.jpg"]))
    assert len(store.sources()) == 2
    remove(store, removals(store, ["/photos"]))
    assert len(store.sources()) == 1


class Colours(fakes.Colours):
    def reading(self, phrase: str) -> Reading:
        return Reading("red", "`crimson` is read as `red`") if phrase == "crimson" else Reading(phrase)


class Asking:
    """The part of a Query that is needed."""

    def __init__(self, store: Store) -> None:
        self.store, self.text_encoder = store, Colours()
        self.calibration = self.text_encoder.info.calibration

    @contextmanager
    def view(self) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(cache=VectorCache(self.store), calibration=self.calibration, text=self.text_encoder)

    def reading(self, phrase: str) -> Reading:
        return self.text_encoder.reading(phrase)


def vector(name: str, lean: float = 0.0) -> Float32:
    token = fakes.Colours().encode_text([name])[0].copy()
    token[-1] += lean
    return token


@pytest.fixture
def coloured(tmp_path: Path) -> Iterator[Store]:
    """Ids of tracks: 1 red, 2 blue in view together with it; in another source 3 red, 4 green that looks like blue."""
    with Store.open(tmp_path / "c", create=True) as opened:
        opened.set_model(dataclasses.replace(MODEL, visual_dim=8, text_dim=8))
        looks = (("red", "red"), ("blue", "blue")), (("red", "red"), ("green", "blue"))
        for name, pairs in zip("ab", looks, strict=True):
            row = opened.begin_source(info(name, name))
            tracks = [
                track(i, text=vector(text), visual=vector(visual, 0.1 * i), start_ns=0, end_ns=9)
                for i, (text, visual) in enumerate(pairs)
            ]
            add(opened, row.id, tracks, [frame(0, [0, 1])], state="done")
        yield opened


def test_all_tracks_of_a_phrase_and_what_looks_like_them(coloured: Store) -> None:
    query: Any = Asking(coloured)
    assert tracks_of(query, "red") == {1: [1], 2: [3]}
    assert tracks_of(query, "green") == {1: [2], 2: [4]}  # blue looks the same
    assert tracks_of(query, "white") == {}


def test_all_tracks_of_the_thing_of_a_track(coloured: Store) -> None:
    query: Any = Asking(coloured)
    assert tracks_of(query, 1) == tracks_of(query, 3) == {1: [1], 2: [3]}
    assert tracks_of(query, 4) == {1: [2], 2: [4]}
    for wrong in (0, -1, 5, 10**40, -(10**40)):
        with pytest.raises(UsageError, match=f"there is no track {wrong}; an answer's `tracks`"):
            tracks_of(query, wrong)


def test_a_track_that_looks_alike_beside_it_is_another_thing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "c", create=True) as opened:
        opened.set_model(dataclasses.replace(MODEL, visual_dim=8, text_dim=8))
        row = opened.begin_source(info("a"))
        tracks = [track(i, text=vector("red"), visual=vector("red"), start_ns=0, end_ns=9) for i in (0, 1)]
        regions = frame(0, [0, 1])
        boxes = np.array([[0, 0, 10, 10], [500, 0, 510, 10]], np.float32)
        add(opened, row.id, tracks, [dataclasses.replace(regions, boxes=boxes)], state="done")
        query: Any = Asking(opened)
        assert tracks_of(query, 2) == {1: [2]}
        assert tracks_of(query, "red") == {1: [1, 2]}


def test_a_phrase_that_is_read_as_another_is_not_forgotten(coloured: Store) -> None:
    query: Any = Asking(coloured)
    with pytest.raises(UsageError, match=r"`crimson` is read as `red`; to forget that, name it so: 'red'"):
        tracks_of(query, "crimson")


def test_a_track_that_is_more_of_another_name_is_not_forgotten(coloured: Store) -> None:
    """It passes the threshold of `red`, and is less red than blue."""
    row = coloured.begin_source(info("c", "c"))
    text = vector("red") + 1.2 * vector("blue")
    text /= np.linalg.norm(text)
    assert text @ vector("red") > 0.65
    add(coloured, row.id, [track(0, text=text, visual=vector("white"))], state="done")
    query: Any = Asking(coloured)
    assert tracks_of(query, "red") == {1: [1], 2: [3]}
    assert tracks_of(query, "blue") == {1: [2], 2: [4], 3: [5]}
