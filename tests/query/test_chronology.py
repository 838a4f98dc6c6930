"""What was last: by the clock, with photos on it, and what is said where the clock is weak."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeing import axis, seen
from store.making import DT, MODEL, add, info

from vidmem.encoders import Calibration
from vidmem.query.chronology import dated, doubt, in_time, mixture
from vidmem.query.question import Question
from vidmem.query.where import each, timeline, where
from vidmem.records import Sighting, SourceInfo, SourceKind
from vidmem.store import PICTURE_NS, Columns, Picture, PictureFile, Store, VectorCache
from vidmem.timecode import NS

NOON = 1_800_000_000 * NS
CALIBRATION = Calibration(text_threshold=0.6, contrast_probability=0.0, visual_threshold=0.6, product_threshold=0.4)


def video(store: Store, name: str, start_s: float | None, by: str = "container") -> int:
    """A thing of kind 0 from 1 to 2 s."""
    start = None if start_s is None else NOON + int(start_s * NS)
    told = dataclasses.replace(info(name, name), start_ns=start, recorded_by="" if start is None else by)
    row = store.begin_source(told)
    add(store, row.id, [seen(0, 0, 1, 2)], state="done")
    return row.id


def photos(store: Store, *dates: float | None, by: str = "exif") -> int:
    """A folder of pictures, each with a thing of kind 0."""
    row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    held, files, tracks = [], [], []
    for i, date in enumerate(dates):
        t = i * PICTURE_NS
        ns = None if date is None else NOON + int(date * NS)
        held.append(Picture(t, bytes([i]) * 32, 640, 480, ns, "" if ns is None else by))
        files.append(PictureFile(f"{i}.jpg", 1, 1, t))
        tracks.append(dataclasses.replace(seen(i, 0, 0, 0), start_ns=t, end_ns=t, best_ns=t))
    add(store, row.id, tracks, files=files, pictures=held, state="done")
    return row.id


def ask(store: Store, top: int | None = None, **question: Any) -> Any:
    return where(store, VectorCache(store), CALIBRATION, Question(axis(DT, 0), **question), top=top)


def names(answer: Any) -> list[str]:
    return [Path(s.picture or s.source).name for s in answer]


@pytest.fixture
def store(tmp_path: Path) -> Any:

    with Store.open(tmp_path / "memory", create=True) as opened:
        opened.set_model(MODEL)
        yield opened


def test_the_order_of_indexing_does_not_count(store: Store) -> None:
    video(store, "late.mp4", 3600)
    video(store, "early.mp4", 0)
    answer = ask(store)
    assert names(answer) == ["late.mp4", "early.mp4"]
    assert answer.notes == ()
    assert [(s.recorded_ns, s.recorded_by) for s in answer] == [
        (s.frame_ns + NOON + after * NS, "container") for s, after in zip(answer, (3600, 0), strict=True)
    ]
    things = timeline(store, VectorCache(store), CALIBRATION, Question(axis(DT, 0)))
    assert names(things[0].sightings) == ["late.mp4", "early.mp4"]


def test_one_without_a_date_and_the_order_is_that_of_indexing(store: Store) -> None:
    video(store, "late.mp4", 3600)
    video(store, "early.mp4", 0)
    video(store, "never.mp4", None)
    answer = ask(store)
    assert names(answer) == ["never.mp4", "early.mp4", "late.mp4"]
    assert answer[0].recorded_ns is None
    assert answer.notes == (
        "the order in time is that of indexing: 1 of 3 recordings has no date; set the dates with `vidmem recorded`",
    )
    assert ask(store, spans={1: (0, 10 * NS), 2: (0, 10 * NS)}).notes == ()  # it may not answer


def test_dates_of_different_worth_are_told(store: Store) -> None:
    video(store, "a.mp4", 0)
    video(store, "b.mp4", 60, "mtime")
    video(store, "c.mp4", 120, "mtime")
    answer = ask(store, top=1)
    assert names(answer) == ["c.mp4"]
    assert answer.notes == (
        "the order in time is a guess: 2 of 3 recordings are dated only by the file time; "
        "set the dates with `vidmem recorded`",
    )
    (one,) = each(store, VectorCache(store), CALIBRATION, [Question(axis(DT, 0), contrast=axis(DT, 1)[None])])
    assert one.notes == answer.notes
    assert ask(store, spans={1: (0, 10 * NS)}).notes == ()  # one source: there is no order
    assert ask(store, spans={2: (0, 10 * NS), 3: (0, 10 * NS)}).notes == ()  # dated alike


def test_photos_have_dates_of_their_own(store: Store) -> None:
    photos(store, 500, 100, 300)
    video(store, "walk.mp4", 200)
    answer = ask(store)
    assert names(answer) == ["0.jpg", "2.jpg", "walk.mp4", "1.jpg"]
    assert [(s.recorded_ns or 0) - NOON for s in answer if s.picture] == [500 * NS, 300 * NS, 100 * NS]
    assert {s.recorded_by for s in answer} == {"exif", "container"}


def test_a_photo_without_a_date(store: Store) -> None:
    photos(store, 500, None, 300)
    video(store, "walk.mp4", 900)
    answer = ask(store)
    assert names(answer) == ["walk.mp4", "2.jpg", "1.jpg", "0.jpg"]
    assert "1 of 4 recordings has no date" in answer.notes[0]


def test_only_photos_of_a_time_may_answer(store: Store) -> None:
    photos(store, 500, 100, 300)
    assert names(ask(store, spans={1: np.array([0, 2 * PICTURE_NS])})) == ["0.jpg", "2.jpg"]
    assert names(ask(store, spans={1: np.array([PICTURE_NS])})) == ["1.jpg"]
    assert not ask(store, spans={1: np.empty(0, np.int64)})


def test_the_clock_of_a_simulation_is_not_the_world_s(store: Store) -> None:
    video(store, "world.mp4", 0)
    told = dataclasses.replace(info("sim.mcap#/cam", "sim"), kind="log", start_ns=12 * NS, recorded_by="log")
    row = store.begin_source(told)
    add(store, row.id, [seen(0, 0, 1, 2)], state="done")
    answer = ask(store)
    assert [s.recorded_ns is None for s in answer] == [True, False]  # as they were added, and no date in 1970


@pytest.mark.parametrize("start", [(1 << 63) - 1, -(1 << 63), "noon", 1.5, b"\xff", (1 << 62) - 1, -(1 << 62) + 1])
def test_a_memory_of_a_stranger(store: Store, start: object) -> None:
    video(store, "a.mp4", 0)
    video(store, "b.mp4", 60)
    photos(store, 10)
    folder = store.folder
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute("UPDATE sources SET start_ns = ?, recorded_by = ? WHERE id = 1", (start, b"\xff\x00"))
        conn.execute("UPDATE sources SET recorded_by = ? WHERE id = 2", ("\x1b[31mred" * 1000,))
        conn.execute("UPDATE pictures SET recorded_ns = ?, recorded_by = 'x'", (start,))
    conn.close()
    answer = ask(store)
    assert sorted(names(answer)) == ["0.jpg", "a.mp4", "b.mp4"]
    assert all(s.recorded_by == "" for s in answer)
    assert timeline(store, VectorCache(store), CALIBRATION, Question(axis(DT, 0)))


def hits_in(cache: VectorCache, *rows: int) -> Columns:
    return cache.columns_of(np.array(rows, np.int64))


def order(store: Store, *rows: int) -> tuple[list[int], list[int] | None]:
    """The ranks, and the zeros in s after noon."""
    cache = VectorCache(store)
    ranks, zeros = in_time(store, {row.id: row for row in store.sources()}, hits_in(cache, *rows))
    assert ranks.dtype == np.int64
    return ranks.tolist(), None if zeros is None else ((zeros - NOON) // NS).tolist()


def test_sources_are_ranked_by_date_and_their_zeros_are_on_one_clock(store: Store) -> None:
    video(store, "late.mp4", 3600)
    video(store, "early.mp4", 0)
    video(store, "middle.mp4", 60)
    assert order(store, 0, 1, 2, 0) == ([2, 0, 1, 2], [3600, 0, 60, 3600])
    assert order(store, 2, 0) == ([0, 1], [60, 3600])
    assert order(store) == ([], [])


def test_without_all_dates_sources_are_ranked_as_they_were_added(store: Store) -> None:
    video(store, "late.mp4", 3600)
    video(store, "early.mp4", 0)
    video(store, "never.mp4", None)
    assert order(store, 1, 0, 2) == ([1, 0, 2], None)
    assert order(store, 1, 0) == ([0, 1], [0, 3600])


def test_sources_of_one_date_are_ranked_as_they_were_added(store: Store) -> None:
    video(store, "a.mp4", 60)
    video(store, "b.mp4", 60)
    assert order(store, 1, 0) == ([1, 0], [60, 60])


def test_the_zero_of_a_photo_is_its_date_less_its_time(store: Store) -> None:
    video(store, "a.mp4", 200)
    photos(store, 500, 100, None)
    ranks, zeros = order(store, 0, 2, 1)
    assert ranks == [1, 0, 0]  # a folder has no date of its own
    assert zeros == [200, 100 - PICTURE_NS // NS, 500]
    assert order(store, 0, 3, 1) == ([0, 1, 1], None)


def test_a_source_that_was_removed_has_no_rank(store: Store) -> None:
    video(store, "a.mp4", 200)
    video(store, "b.mp4", 100)
    cache = VectorCache(store)
    sources = {row.id: row for row in store.sources() if row.id == 2}
    ranks, zeros = in_time(store, sources, hits_in(cache, 0, 1))
    assert ranks.tolist() == [-1, 0]
    assert zeros is not None
    assert zeros.tolist() == [0, NOON + 100 * NS]


def simulation(store: Store, name: str = "sim") -> int:
    made = dataclasses.replace(
        info(f"{name}.mcap#/cam", name), kind=SourceKind.LOG, start_ns=12 * NS, recorded_by="log"
    )
    row = store.begin_source(made)
    add(store, row.id, [seen(0, 0, 1, 2)], state="done")
    return row.id


def test_simulations_have_an_order_among_themselves_and_none_with_the_world(store: Store) -> None:
    simulation(store, "a")
    simulation(store, "b")
    video(store, "c.mp4", 0)
    cache, sources = VectorCache(store), {row.id: row for row in store.sources()}
    assert in_time(store, sources, hits_in(cache, 0, 1))[1] is not None
    assert in_time(store, sources, hits_in(cache, 0, 2))[1] is None
    del sources[1]
    assert in_time(store, sources, hits_in(cache, 0, 2))[1] is not None  # it was removed


def sighting(source: str, frame_ns: int, picture: str | None = None) -> Sighting:
    return Sighting(source, frame_ns, frame_ns, 0.5, None, None, frame_ns, (0, 0, 1, 1), picture=picture)


def test_a_sighting_is_dated_by_its_source_or_its_photo(store: Store) -> None:
    video(store, "a.mp4", 60, "name")
    photos(store, 500, None, by="mtime")
    simulation(store)
    given = [
        sighting("/videos/a.mp4", 5 * NS),
        sighting("/photos", 0, "/photos/0.jpg"),
        sighting("/photos", PICTURE_NS, "/photos/1.jpg"),
        sighting("/videos/sim.mcap#/cam", 5 * NS),
        sighting("/videos/gone.mp4", 5 * NS),
    ]
    found = dated(store, store.sources(), given)
    assert [(s.recorded_ns, s.recorded_by) for s in found] == [
        (NOON + 65 * NS, "name"),
        (NOON + 500 * NS, "mtime"),
        (None, ""),
        (None, ""),
        (None, ""),
    ]
    assert [dataclasses.replace(s, recorded_ns=None, recorded_by="") for s in found] == given
    assert dated(store, store.sources(), []) == []


@pytest.mark.parametrize(
    ("recorded_by", "note"),
    [
        ([], None),
        (["exif"], None),
        ([None, None], None),
        (["mtime", "mtime"], None),
        (["mtime", "day"], None),
        (["exif", "container", "given"], None),
        (["exif", None], "the order in time is that of indexing: 1 of 2 recordings has no date; "),
        ([None, "mtime", None], "the order in time is that of indexing: 2 of 3 recordings have no date; "),
        (["exif", "mtime"], "the order in time is a guess: 1 of 2 recordings is dated only by the file time; "),
        (["day", "day", "exif"], "the order in time is a guess: 2 of 3 recordings are dated only by the day; "),
        (
            ["day", "exif", "mtime"],
            "the order in time is a guess: 2 of 3 recordings are dated only by the file time or the day; ",
        ),
    ],
)
def test_a_note_when_dates_differ_in_worth(recorded_by: list[str | None], note: str | None) -> None:
    assert mixture(recorded_by) == (note and note + "set the dates with `vidmem recorded`")


def doubts(store: Store, *questions: tuple[int, ...]) -> str | None:
    cache = VectorCache(store)
    found = [hits_in(cache, *rows) for rows in questions]
    return doubt(store, {row.id: row for row in store.sources()}, found)


def test_recordings_are_compared_within_a_question_and_counted_over_all(store: Store) -> None:
    video(store, "a.mp4", 0)
    video(store, "b.mp4", 60)
    video(store, "c.mp4", None)
    video(store, "d.mp4", None)
    assert doubts(store, (0, 1)) is None
    assert doubts(store, (0,), (2,)) is None  # one recording each: there is no order
    assert "1 of 2 recordings has" in (doubts(store, (0, 2)) or "")
    assert "2 of 4 recordings have" in (doubts(store, (0, 1), (2, 3)) or "")
    assert "1 of 3 recordings has" in (doubts(store, (3,), (0, 2), (0, 1)) or "")
    assert doubts(store) is None


def test_each_photo_is_a_recording(store: Store) -> None:
    photos(store, 500, 100, None)
    assert doubts(store, (0, 1)) is None
    assert "1 of 3 recordings has no date" in (doubts(store, (0, 1, 2)) or "")
    assert "1 of 2 recordings has no date" in (doubts(store, (0, 2)) or "")
    video(store, "a.mp4", 0, "mtime")
    assert "1 of 3 recordings is dated only by the file time" in (doubts(store, (0, 1, 3)) or "")


def test_a_source_that_was_removed_is_no_recording(store: Store) -> None:
    video(store, "a.mp4", 0)
    video(store, "b.mp4", None)
    cache = VectorCache(store)
    sources = {row.id: row for row in store.sources() if row.id == 1}
    assert doubt(store, sources, [hits_in(cache, 0, 1)]) is None
