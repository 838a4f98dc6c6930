"""Memory: index, ask, forget; and what it refuses."""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import fake
from encoders.fake import COLOURS, picture, save, video, walk
from PIL import Image
from store.making import add, info, track

import vidmem
from vidmem.config import IndexConfig, default_address, preset
from vidmem.encoders import Reading
from vidmem.errors import (
    LockedError,
    MediaError,
    ModelError,
    ModelMismatchError,
    StoreError,
    UnknownWordError,
    UsageError,
)
from vidmem.media import open_source
from vidmem.memory import Memory
from vidmem.render.contact_sheet import contact_sheet
from vidmem.timecode import NS, parse_moment

CONFIG = IndexConfig(checkpoint_frames=8)


pytestmark = pytest.mark.usefixtures("default_fake")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s: blue until 2.2 s and from 9.6 s, green at 6 s, red nearly always."""
    return video(tmp_path_factory.mktemp("clip") / "walk.mp4", walk())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "memory"


@pytest.fixture
def memory(folder: Path, clip: Path) -> Iterator[Memory]:
    with Memory.open(folder) as m:
        m.index(clip, config=CONFIG)
        yield m


def test_index_ask_forget(folder: Path, clip: Path) -> None:
    with vidmem.Memory.open(folder) as m:
        (report,) = m.index(clip)
        assert (report.frames, report.skipped) == (60, False)
        answer = m.where("blue")
        assert answer.found
        assert len(answer) == 1
        assert answer.total == 2
        assert answer[0].source == str(clip)
        assert (answer[0].start_s, answer[0].end_s) == pytest.approx((9.6, 11.8))
        x0, y0, x1, y1 = answer[0].box
        assert abs(x0 - 64) <= 8
        assert (y0, y1) == (56, 88)
        assert x1 - x0 >= 32 - 1e-3  # edges lie between cells, in float32
        assert [s.start_s for s in m.where("blue", top=None)] == pytest.approx([9.6, 0])
        assert answer.query == {"text": "blue", "image": None, "crop": None}

        missing = m.where("yellow")
        assert not missing
        assert missing.near_misses

        assert [row.uri for row in m.sources()] == [str(clip)]
        assert m.stats().tracks == 5
        assert [row.uri for row in m.remove("walk.mp4")] == [str(clip)]
        assert m.sources() == []
        assert m.stats().tracks == m.stats().regions == 0
        assert not m.where("blue")


def test_what_was_indexed_is_there_in_a_new_process(memory: Memory, folder: Path, clip: Path) -> None:
    memory.close()
    memory.close()
    with Memory.open(folder) as again:
        assert again.where("green")[0].start_s == pytest.approx(6)
        assert again.index(clip)[0].skipped


def test_by_picture_and_by_both(memory: Memory, tmp_path: Path) -> None:
    path = save(tmp_path / "thing.png", {"green": (64, 32)})
    by_path = memory.where(image=path)
    assert by_path[0].start_s == pytest.approx(6)
    assert by_path[0].text_score is None
    assert by_path.query["image"] == str(path)
    by_picture = memory.where(image=Image.new("RGB", (50, 50), COLOURS["green"]))
    assert by_picture[0].tracks == by_path[0].tracks
    assert by_picture.query["image"] == "picture"
    both = memory.where("green", image=path)
    assert both[0].score == pytest.approx(both[0].text_score * both[0].visual_score)  # type: ignore[operator]
    assert not memory.where("red", image=path)


def test_by_a_box_in_an_indexed_video(memory: Memory) -> None:
    answer = memory.where(crop=("walk.mp4", NS, (60.0, 50.0, 110.0, 90.0)), top=None)
    assert [s.start_s for s in answer] == pytest.approx([9.6, 0])
    assert answer.query["crop"] == {"source": "walk.mp4", "t_ns": str(NS), "box": [60, 50, 110, 90]}
    assert not memory.where("red", crop=("walk.mp4", NS, (60.0, 50.0, 110.0, 90.0)))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "ask for something: a text, `image` or `crop`"),
        ({"text": "  "}, "the text is empty"),
        ({"text": "gibberish"}, "no colour in"),
        ({"image": Image.new("RGB", (9, 9)), "crop": ("walk.mp4", 0, (0, 0, 9, 9))}, "give one of them"),
        ({"crop": ("walk.mp4", 0, (9, 9, 9, 20))}, "the crop's box is empty"),
        ({"crop": ("walk.mp4", 50 * NS, (0, 0, 9, 9))}, "nothing was indexed within a second of 50 s"),
        ({"crop": ("walk.mp4", 4_200_000_000, (0, 0, 90, 90))}, "no region was found in that box"),
        ({"crop": ("talk.mp4", 0, (0, 0, 9, 9))}, "no source is called 'talk.mp4'; near: .*walk.mp4"),
        ({"image": Image.new("RGB", (9, 9))}, "no region stands out"),
    ],
)
def test_a_question_that_makes_no_sense_fails(memory: Memory, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        memory.where(**asked)


def test_a_picture_that_is_not_there_fails(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such picture"):
        memory.where(image=tmp_path / "no.png")


def test_resume_after_an_interruption(folder: Path, clip: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def on_source(path: str, source: object) -> Any:
        def progress(t_ns: int, frames: int) -> None:
            if frames == 28:
                raise Stop

        return progress

    with Memory.open(folder) as m, pytest.raises(Stop):
        m.index(clip, config=CONFIG, on_source=on_source)
    with Memory.open(folder) as m:
        assert m.where("blue")[0].start_s == 0  # what was kept can be asked already
        (report,) = m.index(clip)  # goes on with the settings that made the memory
        assert (report.new_frames, report.frames) == (36, 60)
        resumed = m.where("blue", top=None)
    with Memory.open(tmp_path / "other") as m:
        m.index(clip, config=CONFIG)
        whole = m.where("blue", top=None)
    assert resumed == whole


def test_another_encoders_memory_fails(memory: Memory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.close()
    for read_only in (False, True):
        with pytest.raises(ModelMismatchError, match=r"encoder \(fake in .*, tiny asked for\).*use `encoder` fake"):
            Memory.open(folder, encoder="tiny", read_only=read_only)
    with monkeypatch.context() as patch:
        patch.setattr("encoders.fake.load_text", lambda options: fake.ColourEncoder("fake-2"))
        with pytest.raises(ModelMismatchError, match=r"weights \(fake-1 in the memory, fake-2 asked for\)"):
            Memory.open(folder)
    Memory.open(folder).close()  # the lock was let go of each time


def test_other_settings_fail(memory: Memory, tmp_path: Path) -> None:
    other = save(tmp_path / "p.png", {"red": (0, 0)})
    with pytest.raises(ModelMismatchError, match=r"merge\.keep_singletons"):
        memory.index(other, config=preset("paper"))
    assert len(memory.sources()) == 1


def test_an_empty_memory_takes_any_encoder_and_settings(folder: Path, clip: Path) -> None:
    with Memory.open(folder, encoder="tiny") as m:
        assert not m.where("umbrella")
    with Memory.open(folder, encoder="fake") as m:
        m.index(clip, config=preset("paper"))
    with Memory.open(folder) as m:
        assert m.store.model().encoder == "fake"  # type: ignore[union-attr]
        assert m.index(clip)[0].skipped  # and keeps them


def test_an_unknown_encoder_fails_and_makes_nothing(folder: Path) -> None:
    with pytest.raises(ModelError, match="no encoder 'fak'; did you mean 'fake'"):
        Memory.open(folder, encoder="fak")
    assert not folder.exists()


def test_missing_weights_fail(folder: Path, clip: Path) -> None:
    with Memory.open(folder, encoder="fake:broken") as m, pytest.raises(ModelError, match="the weights are missing"):
        m.index(clip)
    Memory.open(folder).close()


def test_one_writer_and_many_readers(memory: Memory, folder: Path) -> None:
    with pytest.raises(LockedError):
        Memory.open(folder)
    with Memory.open(folder, read_only=True) as a, Memory.open(folder, read_only=True) as b:
        assert a.where("green")[0] == b.where("green")[0] == memory.where("green")[0]


def test_a_reader_cannot_write(memory: Memory, folder: Path, clip: Path) -> None:
    with Memory.open(folder, read_only=True) as reader:
        writes: list[Callable[[], object]] = [
            lambda: reader.index(clip),
            lambda: reader.remove("walk.mp4"),
            lambda: reader.session("cam"),
            lambda: reader.set_recorded("walk.mp4", "none"),
            lambda: reader.forget(sources="walk.mp4", dry_run=False),
            reader.compact,
            reader.reembed,
            reader.uncalibrate,
            lambda: reader.calibrate("questions.csv"),
        ]
        for write in writes:
            with pytest.raises(StoreError, match="this memory was opened for reading; open it without `read_only`"):
                write()
        assert reader.forget(sources="walk.mp4")  # what it would do may be asked


def test_a_reader_sees_what_the_writer_adds(memory: Memory, folder: Path, tmp_path: Path) -> None:
    with Memory.open(folder, read_only=True) as reader:
        assert not reader.where("yellow")
        memory.index(save(tmp_path / "p.png", {"yellow": (32, 32)}))
        assert reader.where("yellow")[0].picture == str(tmp_path / "p.png")
        memory.remove(str(tmp_path))
        assert not reader.where("yellow")


def test_reading_what_is_not_there_fails(folder: Path) -> None:
    with pytest.raises(StoreError, match="there is no memory here"):
        Memory.open(folder, read_only=True)
    assert not folder.exists()


def test_a_closed_memory_fails(memory: Memory) -> None:
    memory.close()
    with pytest.raises(StoreError, match="closed"):
        memory.sources()


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clip: Path) -> None:
    monkeypatch.setenv("VIDMEM_MEMORY", str(tmp_path / "mine"))
    assert Path(default_address()) == tmp_path / "mine"
    with Memory.open() as m:
        assert m.store.folder == tmp_path / "mine"
    for value in (None, ""):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        monkeypatch.delenv("VIDMEM_MEMORY") if value is None else monkeypatch.setenv("VIDMEM_MEMORY", value)
        assert Path(default_address()).parts[-2:] == ("vidmem", "memory")


def test_a_folder_of_pictures_of_different_sizes(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    save(pictures / "1.png", {"red": (32, 32)}, (160, 96))
    save(pictures / "2.png", {"blue": (64, 96)}, (192, 384))
    save(pictures / "10.png", {"red": (64, 64)}, (320, 192))
    with Memory.open(folder) as m:
        (report,) = m.index(pictures, film=True)
        assert (report.frames, report.info.kind) == (3, "images")
        seen = m.where("blue")[0]
        assert (seen.source, seen.start_s) == (str(pictures), 1)
        red = m.where("red", top=None)
        assert [(s.start_s, s.end_s) for s in red] == [(0, 2)]  # natural order: 10 comes after 2
    with open_source(pictures) as source:
        sheet = np.asarray(contact_sheet(source, seen, "blue"))
    # the box is drawn around the square, although the picture is larger than the first one
    blue = (np.abs(sheet.astype(int) - COLOURS["blue"]) < 40).all(-1)
    ys, xs = np.nonzero(blue)
    mark = (sheet == (230, 57, 70)).all(-1)[: ys.max() + 20]
    my, mx = np.nonzero(mark)
    assert abs(int(mx.min()) - int(xs.min())) < 12
    assert abs(int(my.max()) - int(ys.max())) < 12


def test_the_same_content_under_two_paths_is_one(memory: Memory, clip: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(clip, tmp_path / "copy.mp4"))
    (report,) = memory.index(copy)
    assert report.skipped
    assert [row.uri for row in memory.sources()] == [str(clip)]


def test_a_moved_file_is_known_at_its_new_place(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "old.mp4"
    video(path, [{"yellow": (32, 32)}] * 10)
    memory.index(path)
    moved = path.rename(tmp_path / "new.mp4")
    (report,) = memory.index(moved)
    assert report.skipped
    assert memory.where("yellow")[0].source == str(moved)


def test_a_changed_file_is_indexed_anew(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "cam.mp4"
    video(path, [{"yellow": (32, 32)}] * 10)
    memory.index(path)
    assert memory.where("yellow")[0].end_s == pytest.approx(1.8)
    video(path, [{"magenta": (32, 32)}] * 6)
    (report,) = memory.index(path)
    assert (report.skipped, report.frames) == (False, 6)
    assert not memory.where("yellow")
    assert memory.where("magenta")[0].source == str(path)
    assert len(memory.sources()) == 2


def test_several_paths_a_folder_and_a_glob(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more").mkdir()
    for i, name in enumerate(("a.mp4", "more/b.mp4", "more/c.mp4", "d.mp4")):
        video(tmp_path / name, [{"red": (8 * i, 8)}] * 4)
    monkeypatch.chdir(tmp_path)
    with Memory.open(folder) as m:
        reports = m.index("a.mp4", "more", "d*.mp4", "a.mp4")
        assert [os.path.basename(r.info.uri) for r in reports] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
        assert m.where("red")[0].source == str(tmp_path / "d.mp4")
        assert len(m.where("red", top=None)) == 4


@pytest.mark.parametrize("bad", ["missing.mp4", "http://example.com/a.mp4"])
def test_a_path_that_cannot_be_fails(folder: Path, bad: str) -> None:
    with Memory.open(folder) as m, pytest.raises((MediaError, UsageError)):
        m.index(bad)


def test_no_path_and_no_such_decoder_fail(memory: Memory, clip: Path) -> None:
    with pytest.raises(UsageError, match="nothing to index"):
        memory.index()
    with pytest.raises(UsageError, match="no decoder 'ffmpeg'; there are: pyav, decord"):
        memory.index(clip, decoder="ffmpeg")


def test_one_bad_file_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    video(tmp_path / "good.mp4", [{"red": (0, 0)}] * 4)
    seen: list[tuple[str, str]] = []
    with Memory.open(folder) as m:
        reports = m.index(
            tmp_path / "bad.mp4",
            tmp_path / "good.mp4",
            on_source=lambda path, what: seen.append((Path(path).name, type(what).__name__)),
        )
        assert [r.frames for r in reports] == [4]
        assert seen == [("bad.mp4", "MediaError"), ("good.mp4", "VideoSource")]
        with pytest.raises(MediaError, match=r"bad\.mp4"):
            m.index(tmp_path / "bad.mp4")


def test_removing_what_is_not_there_removes_nothing(memory: Memory) -> None:
    with pytest.raises(UsageError, match=r"no source is called 'talk\.mp4'"):
        memory.remove("walk.mp4", "talk.mp4")
    assert len(memory.sources()) == 1
    assert len(memory.remove("walk.mp4", "walk.mp4")) == 2  # named twice, removed once


def test_nothing_of_a_removed_source_is_left_in_the_files(folder: Path, clip: Path, tmp_path: Path) -> None:
    path = video(tmp_path / "secret-name.mp4", [{"yellow": (i, 8)} for i in range(20)])
    with Memory.open(folder) as m:
        m.index(clip, path)
        m.where("yellow")
        (token,) = [t.visual for t in m.store.source_tracks(2)]
        m.remove("secret-name.mp4")
        left = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert b"secret-name" not in left
    assert token.astype("<f2").tobytes() not in left
    assert b"walk.mp4" in left


def test_the_fake_draws_what_it_says() -> None:
    assert tuple(picture({"red": (8, 8)})[10, 10]) == COLOURS["red"]


def test_no_folder_is_made_for_an_encoder_without_weights(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the region encoder is missing"):
        Memory.open(folder, encoder="tren", weights=tmp_path / "none")
    assert not folder.exists()


def test_what_a_question_may_be_made_of(memory: Memory, clip: Path, tmp_path: Path) -> None:
    """Each argument in all of its forms gives the same answer."""
    starts = [s.start_s for s in memory.where("blue", top=2)]
    assert starts == pytest.approx([9.6, 0])
    assert [s.start_s for s in memory.where("blue", top=None, after="5s")] == pytest.approx([9.6])
    assert not memory.where("blue", after=parse_moment("3s"), before="0:08")
    for source in (clip, str(clip), "walk.mp4", [clip, "walk.mp4"]):
        assert [s.start_s for s in memory.where("blue", sources=source, top=None)] == starts
    assert memory.where("blue", sources=clip).query["sources"] == [str(clip)]
    assert memory.where("blue", near="red", within="0.5s", apart=9.0)
    assert not memory.where("green", near=["red", "blue"], within="0s")
    assert memory.where("green", near=["red", "blue"], within="5s", apart=9.0).query["within_ns"] == str(5 * NS)
    by_text = memory.where(crop="walk.mp4@1s:60,50,50,40", top=None)
    by_parts = memory.where(crop=(Path("walk.mp4"), NS, (60, 50, 110, 90)), top=None)
    assert by_text.sightings == by_parts.sightings
    assert by_text.query == by_parts.query
    array = picture({"green": (64, 32)})
    assert memory.where(image=array)[0].start_s == pytest.approx(6)
    assert memory.where(image=array).query["image"] == "picture"
    assert [len(thing.sightings) for thing in memory.timeline("blue", sources="walk.mp4", before="5s")] == [1]
    assert [answer.found for answer in memory.watch("blue", after="0s", sources=clip)] == [True]
    assert memory.watch([]) == []
    assert [step.part.before_ns for step in memory.forget(before="5s", sources="walk.mp4")] == [5 * NS]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top": 0}, "`top` is a whole number"),
        ({"after": "soon"}, "'soon' is not a time"),
        ({"within": "x"}, "is not a time"),
        ({"crop": "walk.mp4"}, "`crop` is VIDEO@TIME"),
        ({"image": np.zeros((3, 3))}, "multiply by 255"),
        ({"min_probability": 2}, "`min_probability` is a probability"),
        ({"apart": float("nan")}, "`apart` is a number"),
        ({"after": "5s", "before": "0:05"}, "nothing lies between"),
        ({"sources": "walk"}, "no source is called"),
        ({"min_probability": 0.5, "threshold": 0.5}, "`threshold` and `min_probability` are two tests"),
    ],
)
def test_arguments_that_make_no_sense_fail(memory: Memory, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        memory.where("blue", **asked)


def test_dates_as_python_has_them(memory: Memory) -> None:
    """For `after`, `before` and `set_recorded`; a date is the whole day."""
    assert memory.set_recorded(Path("walk.mp4"), datetime(2026, 1, 31, 8, 30)).by == "given"
    assert memory.where("blue", after=datetime(2026, 1, 31, 8, 30, 5), before=date(2026, 2, 1), top=None).total == 1
    assert not memory.where("blue", after=datetime(2026, 1, 31, 8, 31))
    assert memory.where("blue", after=date(2026, 1, 31)).query["after"] == "2026-01-31"
    assert [step.whole for step in memory.forget(before=datetime(2026, 2, 1))] == [True]
    assert memory.set_recorded("walk.mp4", date(2026, 1, 31)).by == "day"
    with pytest.raises(UsageError, match="too far away"):
        memory.set_recorded("walk.mp4", datetime(9999, 1, 1))


def test_one_by_one_or_as_a_list(folder: Path, clip: Path, tmp_path: Path) -> None:
    thing = save(tmp_path / "p.png", {"yellow": (32, 32)})
    with Memory.open(folder) as m:
        assert len(m.index([clip, thing])) == 2
        assert [report.skipped for report in m.index(clip, (thing,))] == [True, True]
        labels = tmp_path / "labels.txt"
        labels.write_text("blue\nred\n")
        assert m.things(["walk.mp4"], labels=labels) == m.things(clip, labels=str(labels))
        assert len(m.things("walk.mp4", labels=labels, top=1)) == 1
        track = m.where("blue")[0].tracks[0]
        assert m.forget(thing=track) == m.forget(thing=str(track)) != []
        named = m.name_tracks("walk.mp4", "blue")
        assert named == m.name_tracks(m.sources()[0], ["blue"]) != {}
        assert m.annotate(clip, tmp_path / "a.rrd", labels="blue").boxes > 0
        assert len(m.remove([clip])) == 1


WRONG: dict[str, Callable[[Memory, Any], object]] = {
    "`after` is a time": lambda m, _: m.watch("blue", after=5),  # type: ignore[arg-type]
    "`before` is a time": lambda m, _: m.forget(before=5),  # type: ignore[arg-type]
    "`sources` is a path": lambda m, _: m.timeline("blue", sources=5),  # type: ignore[arg-type]
    "`near` is a text or several": lambda m, _: m.where("blue", near=5),  # type: ignore[arg-type]
    "`names` is a text or several": lambda m, _: m.watch(None),  # type: ignore[arg-type]
    "`names` is a path": lambda m, _: m.remove(5),  # type: ignore[arg-type]
    "`text` is a text; got 5": lambda m, _: m.where(5),  # type: ignore[arg-type]
    "`threshold` is a score": lambda m, _: m.where("blue", threshold=float("nan")),
    "`apart` is a number": lambda m, _: m.where("blue", near="red", apart="1"),  # type: ignore[arg-type]
    "`alike` is True or False": lambda m, _: m.timeline("blue", alike="no"),  # type: ignore[arg-type]
    "`top` is a whole number": lambda m, _: m.things(top=0),
    "`top` is a whole number from 1": lambda m, _: m.things(top=True),
    "`newest` is True": lambda m, _: m.things(newest="x"),  # type: ignore[arg-type]
    "`labels` is a path": lambda m, _: m.things(labels=5),  # type: ignore[arg-type]
    "`paths` is a path or a name; got 5": lambda m, _: m.index(5),  # type: ignore[arg-type]
    "`config` is an IndexConfig": lambda m, clip: m.index(clip, config=5),  # type: ignore[arg-type]
    "`progress` is a function": lambda m, clip: m.index(clip, progress=5),  # type: ignore[arg-type]
    "`recorded` is a date": lambda m, clip: m.index(clip, recorded=5),  # type: ignore[arg-type]
    "`when` is a date": lambda m, clip: m.set_recorded(clip, None),  # type: ignore[arg-type]
    "`thing` is a text": lambda m, _: m.forget(thing=1.5),  # type: ignore[arg-type]
    "there is no track -1": lambda m, _: m.forget(thing=-5),
    "`dry_run` is True or False": lambda m, _: m.forget(thing="blue", dry_run=None),  # type: ignore[arg-type]
    "`source` is a path": lambda m, _: m.parse(5, "coco"),  # type: ignore[arg-type]
    "`labels` is a LabelSet": lambda m, clip: m.parse(clip, 5),  # type: ignore[arg-type]
    "`out` is a path": lambda m, clip: m.annotate(clip, 5),  # type: ignore[arg-type]
    "`anchor` is a text": lambda m, _: m.haystack(5, "red"),  # type: ignore[arg-type]
    "`path` is a path": lambda m, _: m.calibrate(5),  # type: ignore[arg-type]
    "`name` is a text": lambda m, _: m.session(5),  # type: ignore[arg-type]
    "`depth` is a whole number; got True": lambda m, _: m.session("cam", depth=True),
    "`interval_s` is a number of seconds": lambda m, _: m.session("cam", interval_s=float("nan")),
    "`encoder` is a name": lambda m, _: m.session("cam", encoder=5),  # type: ignore[arg-type]
    "`encoder` is a text": lambda m, _: m.reembed(5),  # type: ignore[arg-type]
    "`sighting` is a sighting": lambda m, _: m.picture("x"),  # type: ignore[arg-type]
    "`sighting` is a sighting, such as": lambda m, _: m.explain(None, "x"),  # type: ignore[arg-type]
    "`sightings` is several sightings": lambda m, _: m.sheet(5),  # type: ignore[arg-type]
    "`others` is a sighting": lambda m, _: m.picture(m.where("blue")[0], others=[5]),  # type: ignore[list-item]
    "`things` is what `things` gives": lambda m, _: m.things_sheet([]),  # type: ignore[arg-type]
    "`things` is what `timeline` gives": lambda m, _: m.timeline_sheet([5]),  # type: ignore[list-item]
    "`margin_ns` is a whole number": lambda m, _: m.clip(m.where("blue")[0], "x.mp4", margin_ns=-1),
    "`phrase` is a text": lambda m, _: m.reading(5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_of_a_wrong_type_is_told(memory: Memory, clip: Path, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        WRONG[message](memory, clip)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": 5}, "`path` is a path"),
        ({"path": "a\0b"}, "`path` is a path"),
        ({"path": ""}, "`path` is empty"),
        ({"encoder": 5}, "`encoder` is a text"),
        ({"weights": 5}, "`weights` is a path"),
        ({"device": 5}, "`device` is a"),
        ({"masks": 5}, "`masks` is a path"),
        ({"read_only": "yes"}, "`read_only` is True or False"),
    ],
)
def test_what_no_memory_can_be_opened_with_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        Memory.open(**{"path": "m", **given})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that reports unknown words."""

    def reading(self: object, phrase: str) -> Reading:
        unknown = next((word for word in phrase.split() if word not in COLOURS), "")
        return Reading("", unknown=unknown, near=("green",)) if unknown else Reading(phrase)

    monkeypatch.setattr(fake.ColourEncoder, "reading", reading)


@pytest.mark.usefixtures("names_alone")
def test_unknown_words_beside_a_picture(memory: Memory, tmp_path: Path) -> None:
    """`where` uses the picture alone and says so in a note; `timeline` has no notes and raises."""
    thing = save(tmp_path / "thing.png", {"green": (64, 32)})
    alone = memory.where(image=thing)
    answer = memory.where("gripper", image=thing)
    assert answer.sightings == alone.sightings
    assert answer.notes == ("I don't know the word 'gripper' (near: green); asked by the picture alone",)
    assert answer.query == {"text": "gripper", "image": str(thing), "crop": None, "unknown": "gripper"}
    box = memory.where("gripper", crop="walk.mp4@1s:60,50,50,40")
    assert box.sightings == memory.where(crop="walk.mp4@1s:60,50,50,40").sightings
    assert (box[0].text_score, box.query["unknown"]) == (None, "gripper")
    assert "unknown" not in memory.where("green", image=thing).query
    for ask in (
        lambda: memory.where("gripper"),
        lambda: memory.timeline("gripper", image=thing),
        lambda: memory.where("green", image=thing, near="gripper"),
    ):
        with pytest.raises(UnknownWordError, match="I don't know the word 'gripper'; near: green"):
            ask()


def test_below_the_commands_nobody_speaks_of_options() -> None:
    """Library messages name arguments; the command line replaces them by its options."""
    home = Path(vidmem.__file__).parent
    shared = {"vidmem": home, "indexer": home.parent / "indexer", "query": home.parent / "query"}
    told = []
    for path in (path for folder in shared.values() for path in folder.rglob("*.py")):
        if home / "cli" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                told += [
                    f"{path}: {text}"
                    for text in texts
                    if re.search(r"(?<![\w`-])--[a-z]", text) and not re.search(r"`(vidmem|hf) [^`]*--|python -m", text)
                ]
    assert not told


def test_threads_may_ask_while_one_removes(tmp_path: Path) -> None:
    """A question is answered from the state in which it began."""
    from concurrent.futures import ThreadPoolExecutor

    import fakes

    fakes.register()
    with Memory.open(tmp_path / "m", encoder="colours") as m:
        m.store.set_model(m.model_record(m.settings().as_dict()))
        for name in "abcd":
            row = m.store.begin_source(info(f"{name}.mp4", name))
            red = m.text_encoder.encode_text(["red"])[0]
            visual = np.eye(m.text_encoder.info.visual_dim, dtype=np.float32)[0]
            add(m.store, row.id, [track(i, text=red, visual=visual) for i in range(40)], state="done")

        def ask(_: int) -> int:
            return m.where("red", top=None).total

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, i) for i in range(40)]
            for name in "abc":
                m.remove(f"{name}.mp4")
            asked += [pool.submit(ask, i) for i in range(10)]
            totals = [one.result() for one in asked]
        assert set(totals) <= {0, 1, 2, 3, 4}
        assert totals[-1] == ask(0) == 1
