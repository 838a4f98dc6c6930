"""Live sessions: nothing waits for the encoder, what is dropped is counted, readers see what is committed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from encoders.fake import LookingEncoder
from encoders.fake import picture as square

from vidmem.config import IndexConfig
from vidmem.errors import MediaError, ModelError, ModelMismatchError, StoreError, UsageError
from vidmem.indexer.live import SessionStats
from vidmem.memory import Memory
from vidmem.timecode import NS

START = 1_700_000_000 * NS
STEP = NS // 10
EVERY = IndexConfig(fps=0, still=0)


pytestmark = pytest.mark.usefixtures("colours")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        yield m


def picture(colour: str | None, size: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    image = np.full((fakes.HEIGHT, fakes.WIDTH, 3), fakes.GROUND, np.uint8)
    if colour:
        image[32:64, 8:40] = fakes.COLOURS[colour]
    return image.repeat(size, 0).repeat(size, 1)


def wait_until(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_what_was_seen_live_is_found(memory: Memory) -> None:
    with memory.session("cam0", depth=100) as session:
        for i in range(60):
            session.append(picture("red" if i < 30 else None, 2), START + i * STEP)
    stats = session.stats
    assert (stats.appended, stats.unsampled, stats.dropped, stats.late) == (60, 30, 0, 0)
    assert stats.encoded + stats.still == stats.committed == 30
    assert memory.sources()[0].duration_ns == 58 * STEP  # from the first to the last that was looked at
    assert stats.encoded == 2  # the first, and the one without the red square: at 0 and 15
    (row,) = memory.sources()
    assert (row.uri, row.kind, row.state, row.frames, row.start_ns) == ("cam0", "live", "done", 30, START)
    (sighting,) = memory.where("red")
    assert (sighting.start_s, sighting.end_s) == pytest.approx((0, 2.8))
    assert sighting.box == pytest.approx((16, 64, 80, 128), abs=17)
    assert not memory.where("green")
    with pytest.raises(MediaError, match="a live source keeps no pictures"):
        memory.picture(sighting)


def test_a_session_takes_an_encoder_that_is_loaded(tmp_path: Path) -> None:
    encoder = fakes.Colours()
    with Memory.open(tmp_path / "a") as a, Memory.open(tmp_path / "b") as b:  # new: they would take `tiny`
        for memory, colour in ((a, "red"), (b, "blue")):
            with memory.session("cam0", encoder=encoder) as session:
                session.append(picture(colour), START)
            assert memory.encoder is encoder
        assert (a.where("red").total, a.where("blue").total, b.where("blue").total) == (1, 0, 1)
    with Memory.open(tmp_path / "a") as again:
        assert again.text_encoder.info.name == "colours"
        again.session("cam1", encoder="colours").close()


def test_a_session_refuses_another_encoder_than_the_memorys(memory: Memory) -> None:
    class Other(fakes.Colours):
        def __init__(self) -> None:
            super().__init__()
            self.info = dataclasses.replace(self.info, weights="d1" * 32)

    with memory.session("cam0") as session:
        session.append(picture("red"), START)
    with pytest.raises(ModelMismatchError, match="weights"):
        memory.session("cam1", encoder=Other())
    with pytest.raises(ModelError, match="did you mean 'colours'"):
        memory.session("cam1", encoder="colour")
    assert memory.where("red")


def test_an_encoder_that_nobody_knows_makes_a_memory(tmp_path: Path) -> None:
    class Own(fakes.Colours):
        def __init__(self) -> None:
            super().__init__()
            self.info = dataclasses.replace(self.info, name="my own")

    with Memory.open(tmp_path / "own") as memory:
        with memory.session("cam0", encoder=Own()) as session:
            session.append(picture("red"), START)
        assert memory.where("red")


def test_readers_see_open_tracks_while_it_runs(memory: Memory) -> None:
    with memory.session("cam0", config=EVERY, interval_s=0.05) as session:
        session.append(picture("blue"), START)
        wait_until(lambda: session.stats.committed)
        with Memory.open(memory.store.folder, read_only=True) as reader:
            assert reader.where("blue")[0].end_ns == 0
            session.append(picture("blue"), START + STEP)
            wait_until(lambda: session.stats.committed == 2)
            assert reader.where("blue")[0].end_ns == STEP
            assert reader.sources()[0].state == "open"


@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_a_slow_encoder_holds_nobody_up(memory: Memory, drop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    encode = memory.encoder.encode

    def slow(*args: Any) -> Any:
        assert free.wait(60)
        return encode(*args)

    monkeypatch.setattr(memory.encoder, "encode", slow)
    session = memory.session("cam0", config=EVERY, depth=5, drop=drop)
    session.append(picture("red"), START)
    wait_until(lambda: not session.stats.waiting)  # the encoder has it, and sits there
    taken = [session.append(picture("red"), START + i * STEP) for i in range(1, 101)]
    assert session.stats.waiting == 5
    assert session.stats.dropped == 95
    assert sum(taken) == (100 if drop == "oldest" else 5)
    free.set()
    session.close()
    assert (session.stats.encoded, session.stats.still) == (6, 0)
    times = [frame.t_ns for frame in memory.store.regions(memory.sources()[0].id, 0, 1 << 62)]
    kept = range(96, 101) if drop == "oldest" else range(1, 6)
    assert times == [0, *(i * STEP for i in kept)]


def test_the_callers_array_may_change(memory: Memory) -> None:
    image = picture("red")
    with memory.session("cam0", config=EVERY) as session:
        session.append(image, START)
        image[:] = 0
    assert memory.where("red")


def test_times_that_go_back_are_counted(memory: Memory) -> None:
    with memory.session("cam0", config=EVERY) as session:
        assert [session.append(picture(None), START + t) for t in (5, 5, 4, 6)] == [True, False, False, True]
    assert session.stats.late == 2


def test_a_later_session_goes_on(memory: Memory) -> None:
    for part in range(2):
        with memory.session("cam0", config=EVERY, depth=100) as session:
            for i in range(10 * part, 10 * part + 10):
                session.append(picture("red"), START + i * STEP)
    (row,) = memory.sources()
    assert row.frames == 20
    (track,) = memory.store.source_tracks(row.id)
    assert (track.start_ns, track.end_ns, track.frames) == (0, 19 * STEP, 20)
    with memory.session("cam0", config=EVERY) as session:
        assert not session.append(picture("red"), START)
    assert session.stats.late == 1


def test_a_crash_loses_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
sys.path[:0] = {[str(Path(fakes.__file__).parent), str(Path(__file__).parent)]!r}
import fakes
fakes.register()
from test_live import EVERY, START, STEP, picture
from vidmem.memory import Memory
memory = Memory.open({str(tmp_path / "memory")!r}, encoder="colours")
session = memory.session("cam0", config=EVERY, interval_s=0.05, depth=100)
session.append(picture("red"), START)
while not session.stats.committed:
    time.sleep(0.01)
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 9
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        assert m.where("red")
        with m.session("cam0") as session:
            session.append(picture("red"), START + STEP)
        (row,) = m.sources()
        assert (row.state, row.frames) == ("done", 2)
        (track,) = m.store.source_tracks(row.id)
        assert track.frames == 2


def test_a_failure_of_the_encoder_is_told(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(memory.encoder, "encode", fail)
    session = memory.session("cam0", config=EVERY)
    session.append(picture("red"), START)
    wait_until(lambda: session._failure is not None)
    with pytest.raises(StoreError, match="disk is full"):
        session.append(picture("red"), START + STEP)
    with pytest.raises(StoreError, match="disk is full"):
        session.close()
    session.close()


def test_wrong_use_fails(memory: Memory) -> None:
    for bad in ({"depth": 0}, {"interval_s": 0}, {"interval_s": -1.5}, {"drop": "all"}):
        with pytest.raises(UsageError, match="a session has a name, a depth above 0"):
            memory.session("cam0", **bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a session has a name"):
        memory.session(" ")
    session = memory.session("cam0")
    with pytest.raises(UsageError, match="open already"):
        memory.session("cam0")
    with pytest.raises(ValueError, match="uint8"):
        session.append(np.zeros((4, 4), np.uint8), 0)
    session.close()
    with pytest.raises(UsageError, match="is closed"):
        session.append(picture(None), START)
    assert memory.sources() == []


def test_a_video_is_no_camera(memory: Memory, tmp_path: Path) -> None:
    path = fakes.squares(tmp_path / "walk.mp4", [("red", 0, 1, 8)], 2)
    memory.index(path)
    with pytest.raises(UsageError, match="not a live source"):
        memory.session(str(path))


def test_closing_the_memory_closes_its_sessions(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.session("cam0", config=EVERY).append(picture("red"), START)
    with Memory.open(tmp_path / "memory", read_only=True) as m:
        assert m.where("red")
        assert m.sources()[0].state == "done"


class Counting(fakes.Colours):
    """Wants half of the size, and notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[int, ...]] = []

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 2, height // 2

    def encode(self, images: Any, width: int, height: int) -> Any:
        self.given += [(*image.shape, width, height) for image in images]
        return super().encode(images, width, height)


def test_images_are_scaled_to_what_the_encoder_wants(tmp_path: Path) -> None:
    encoder = Counting()
    with Memory.open(tmp_path / "memory") as memory:
        with memory.session("cam0", config=EVERY, encoder=encoder) as session:
            session.append(picture("red", 2), START)
        assert encoder.given == [(fakes.HEIGHT, fakes.WIDTH, 3, 2 * fakes.WIDTH, 2 * fakes.HEIGHT)]
        (row,) = memory.sources()
        assert (row.width, row.height, row.recorded_by, row.duration_ns) == (320, 192, "live", 0)


def test_a_session_has_no_counts_before_its_first_image(memory: Memory) -> None:
    with memory.session("cam0") as session:
        assert session.stats == SessionStats(0, 0, 0, 0, 0, 0, 0, 0)
        assert not session.closed
    assert session.closed
    assert session.stats == SessionStats()
    assert memory.sources() == []


def test_counts_tell_what_became_of_each_image(memory: Memory) -> None:
    config = IndexConfig(fps=5, still=9)
    with memory.session("cam0", config=config, depth=100) as session:
        taken = [session.append(picture("red"), START + t * NS // 10) for t in (0, 1, 2, 2, 4)]
    assert taken == [True, False, True, False, True]
    assert session.stats == SessionStats(
        appended=5, unsampled=1, dropped=0, late=1, encoded=1, still=2, committed=3, waiting=0
    )


def test_a_later_session_samples_on_from_the_last_image(memory: Memory) -> None:
    config = IndexConfig(fps=5, still=0)
    for times, taken in (((0, 1), [True, False]), ((1, 2, 3), [False, True, False])):
        with memory.session("cam0", config=config) as session:
            assert [session.append(picture(None), START + t * NS // 10) for t in times] == taken
    assert [frame.t_ns for frame in memory.store.regions(1, 0, NS)] == [0, NS // 5]


def test_a_failure_counts_what_waited_as_dropped(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def fail(*args: Any) -> Any:
        assert free.wait(60)
        raise StoreError("the disk is full")

    monkeypatch.setattr(memory.encoder, "encode", fail)
    session = memory.session("cam0", config=EVERY)
    session.append(picture("red"), START)
    wait_until(lambda: not session.stats.waiting)
    for i in (1, 2, 3):
        assert session.append(picture("red"), START + i * STEP)
    free.set()
    wait_until(lambda: session._failure is not None)
    assert (session.stats.dropped, session.stats.waiting) == (3, 0)
    with pytest.raises(StoreError, match="disk is full"):
        session.close()


def test_an_image_over_the_limits_is_refused_and_not_counted(memory: Memory) -> None:
    with memory.session("cam0") as session:
        with pytest.raises(MediaError, match="cam0"):
            session.append(np.zeros((1, 70_000, 3), np.uint8), START)
        assert session.stats == SessionStats()


def test_a_later_session_takes_no_image_of_the_last_time_again(memory: Memory) -> None:
    for t_ns, taken in ((5, True), (5, False), (6, True)):
        with memory.session("cam0", config=EVERY, depth=1) as session:
            assert session.append(picture(None), START + t_ns) is taken


@pytest.mark.parametrize("keep", [False, True])
def test_pictures_of_views_are_kept_when_wanted(tmp_path: Path, keep: bool) -> None:
    encoder = LookingEncoder()
    with Memory.open(tmp_path / "memory") as memory:
        with memory.session("cam0", config=EVERY, encoder=encoder, keep_views=keep) as session:
            session.append(square({"red": (40, 24)}), START)
        marks = [mark for views in memory.store.views(1).values() for mark in views]
    assert [mark.image is not None for mark in marks] == [keep]
