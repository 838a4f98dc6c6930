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
from vidmem.query.question import Question
from vidmem.query.where import each, timeline, where
from vidmem.records import SourceInfo, SourceKind
from vidmem.store import PICTURE_NS, Picture, PictureFile, Store, VectorCache
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
        "the order in time is a guess: 2 of 3 recordings know the time of the file alone; "
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
