"""Rerun recordings as sources: what is read, by which clock, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from media import make
from PIL import Image

from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.media import open_source
from vidmem.media.logs import open_log
from vidmem.memory import Memory
from vidmem.timecode import NS

rr = needs("rerun")
START = 1_700_000_000 * NS
STEP = NS // 10
N = 24


class Recording:
    """A recording being written; `at` sets the times of what is logged next."""

    def __init__(self, path: Path, name: str = "a") -> None:
        self.path = path
        self.stream = rr.RecordingStream("test", recording_id=name)
        self.stream.save(str(path))

    def at(self, number: int, *, wall: bool = True) -> None:
        if wall:
            self.stream.set_time("stamp", timestamp=np.datetime64(START + number * STEP, "ns"))
        else:
            self.stream.set_time("stamp", duration=np.timedelta64(number * STEP, "ns"))
        self.stream.set_time("frame", sequence=100 + number)

    def encoded(self, entity: str, number: int, form: str = "PNG") -> None:
        out = io.BytesIO()
        Image.fromarray(make.picture(number)).save(out, form)
        media_type = f"image/{form.lower()}"
        self.stream.log(entity, rr.EncodedImage(contents=out.getvalue(), media_type=media_type))

    def close(self) -> Path:
        self.stream.flush()
        self.stream.disconnect()
        return self.path


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path / "run.rrd")


def shown(path: Path, topic: str) -> list[tuple[int, int]]:
    """Time and picture number of every frame."""
    with open_source(f"{path}#{topic}") as source:
        out = [(frame.t_ns, make.number_in(frame.image)) for frame in source.frames(0)]
        assert not source.damage, source.damage.notes
    return out


def test_pictures_in_files(recording: Recording) -> None:
    for i in range(N):
        recording.at(i)
        recording.encoded("cam/front", i)
    path = recording.close()
    assert shown(path, "/cam/front") == [(i * STEP, i) for i in range(N)]
    with open_source(f"{path}#/cam/front") as source:
        assert (source.info.start_ns, source.info.duration_ns) == (START, (N - 1) * STEP)
        frame = source.frame_at(5 * STEP + 1)
        assert (frame.t_ns, make.number_in(frame.image)) == (5 * STEP, 5)
        assert frame.mark is not None
        assert (frame.mark.log_ns, frame.mark.sequence) == (START + 5 * STEP, 105)
        assert source.trail() is None
        with pytest.raises(UsageError, match="there are no poses in '/pose'"):
            source.trail("/pose")


@pytest.mark.parametrize("model", ["RGB", "BGR", "RGBA", "BGRA"])
def test_raw_pictures(recording: Recording, model: str) -> None:
    order = {"RGB": [0, 1, 2], "BGR": [2, 1, 0], "RGBA": [0, 1, 2, 2], "BGRA": [2, 1, 0, 0]}[model]
    for i in range(6):
        recording.at(i)
        pixels = make.picture(i)[..., order]
        recording.stream.log("raw", rr.Image(pixels, color_model=model))
    assert shown(recording.close(), "/raw") == [(i * STEP, i) for i in range(6)]


def test_grey_and_deep_pictures_and_others_that_are_not_read(recording: Recording) -> None:
    grey = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)
    recording.at(0)
    recording.stream.log("grey", rr.Image(grey, color_model="L"))
    recording.stream.log("deep", rr.Image(grey.astype(np.uint16) << 8, color_model="L"))
    recording.stream.log("real", rr.Image(grey.astype(np.float32), color_model="L"))
    path = recording.close()
    for topic in ("/grey", "/deep"):
        with open_source(f"{path}#{topic}") as source:
            assert np.array_equal(source.frame_at(0).image, grey[..., None].repeat(3, axis=2))
    with pytest.raises(MediaError, match="raw pictures in 'mono of another type' cannot be read"):
        open_source(f"{path}#/real")


def test_a_format_that_was_said_once_for_all(recording: Recording) -> None:
    height, width = make.picture(0).shape[:2]
    form = rr.components.ImageFormat(width=width, height=height, color_model="RGB", channel_datatype="U8")
    recording.stream.log("raw", rr.Image.from_fields(format=form), static=True)
    for i in range(6):
        recording.at(i)
        recording.stream.log("raw", rr.Image.from_fields(buffer=make.picture(i).tobytes()))
    assert shown(recording.close(), "/raw") == [(i * STEP, i) for i in range(6)]


def test_video(recording: Recording) -> None:
    import av

    context: Any = av.CodecContext.create("libx264", "w")
    height, width = make.picture(0).shape[:2]
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.options = 10, {"bf": "0", "g": "8", "crf": "12", "tune": "zerolatency"}
    recording.stream.log("vid", rr.VideoStream(codec=rr.VideoCodec.H264), static=True)
    for i in range(N):
        recording.at(i)
        frame = av.VideoFrame.from_ndarray(make.picture(i), "rgb24").reformat(format="yuv420p")
        frame.pts = i
        for packet in context.encode(frame):
            recording.stream.log("vid", rr.VideoStream.from_fields(sample=bytes(packet)))
    assert shown(recording.close(), "/vid") == [(i * STEP, i) for i in range(N)]


def test_times_that_count_from_the_start(recording: Recording) -> None:
    for i in range(5):
        recording.at(i, wall=False)
        recording.encoded("cam", i)
    with open_source(f"{recording.close()}#/cam") as source:
        assert source.info.start_ns is None
        assert [frame.t_ns for frame in source.frames(0)] == [i * STEP for i in range(5)]


def test_rows_out_of_order_are_put_in_order(recording: Recording) -> None:
    for i in (0, 3, 1, 2, 5, 4):
        recording.at(i)
        recording.encoded("cam", i)
        recording.stream.flush()
    assert shown(recording.close(), "/cam") == [(i * STEP, i) for i in range(6)]


def test_a_picture_that_is_damaged_is_counted(recording: Recording) -> None:
    for i in range(6):
        recording.at(i)
        if i == 3:
            recording.stream.log("cam", rr.EncodedImage(contents=b"no picture", media_type="image/png"))
        else:
            recording.encoded("cam", i)
    with open_source(f"{recording.close()}#/cam") as source:
        assert len(list(source.frames(0))) == 5
        assert source.damage.frames == 1


def test_what_is_asked_for_is_found(recording: Recording, tmp_path: Path, colours: None) -> None:
    for i in range(20):
        recording.at(i)
        image = np.full((fakes.HEIGHT, fakes.WIDTH, 3), fakes.GROUND, np.uint8)
        if 5 <= i < 15:
            image[32:64, 8:40] = fakes.COLOURS["red"]
        recording.stream.log("cam/front", rr.Image(image))
    with Memory.open(tmp_path / "memory", encoder="colours") as memory:
        memory.index(recording.close())
        (sighting,) = memory.where("red")
        assert sighting.source.endswith("run.rrd#/cam/front")
        assert sighting.last is not None
        assert (sighting.last.time_ns, sighting.last.sequence) == (START + 14 * STEP, 114)


def test_what_annotate_writes_can_be_read(tmp_path: Path, colours: None) -> None:
    video = fakes.squares(tmp_path / "walk.mp4", [("red", 0, 2, 8)], 3)
    with Memory.open(tmp_path / "memory", encoder="colours") as memory:
        memory.index(video)
        memory.annotate(video, tmp_path / "out.rrd")
    with open_source(f"{tmp_path / 'out.rrd'}#/video") as source:
        assert len(list(source.frames(0))) == 15


def test_a_recording_that_is_damaged_is_read_as_far_as_it_goes(recording: Recording) -> None:
    for i in range(60):
        recording.at(i)
        recording.encoded("cam", i)
        if i % 10 == 0:
            recording.stream.flush()
    path = recording.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    with open_source(f"{path}#/cam") as source:
        seen = [make.number_in(frame.image) for frame in source.frames(0)]
        assert 10 <= len(seen) < 60
        assert seen == list(range(len(seen)))
        assert source.damage.packets == 1
        assert "cannot be read any further" in source.damage.notes[0]


def test_a_recording_that_breaks_off_says_what_to_do(recording: Recording) -> None:
    for i in range(30):
        recording.at(i)
        recording.encoded("cam", i)
    path = recording.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"cannot be read .*rerun rrd filter"):
        open_log(str(path))


def test_memory_is_bounded_where_rows_come_from_last_to_first(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(12):
        recording.at(11 - i)
        recording.encoded("cam", 11 - i)
        recording.stream.flush()
    path = recording.close()
    monkeypatch.setattr("vidmem.media.logs.rrd_reader.MAX_WAITING", 0)
    with open_source(f"{path}#/cam") as source:  # none may wait: all but the first are late, and counted
        assert [frame.t_ns for frame in source.frames(0)] == [11 * STEP]
        assert source.damage.frames == 11


def test_recordings_without_pictures_fail(recording: Recording) -> None:
    recording.at(0)
    recording.stream.log("note", rr.TextLog("nothing"))
    with pytest.raises(MediaError, match="the recording has no pictures with times"):
        open_log(str(recording.close()))


def test_several_recordings_in_a_file_fail(tmp_path: Path) -> None:
    parts = []
    for name in ("a", "b"):
        part = Recording(tmp_path / f"{name}.rrd", name)
        part.at(0)
        part.encoded("cam", 0)
        parts.append(part.close())
    both = tmp_path / "both.rrd"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(MediaError, match="recording"):
        open_log(str(both))


@pytest.mark.parametrize("content", [b"", b"RRF2 and then nothing", json.dumps({"a": 1}).encode()])
def test_other_files_fail(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.rrd"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"recording.*no\.rrd"):
        open_log(str(path))


@pytest.mark.parametrize("length", [1 << 30, 1 << 40, (1 << 64) - 1])
def test_a_message_that_claims_too_much_fails(recording: Recording, length: int) -> None:
    """The SDK would take so much memory, and a number that no machine has ends its process."""
    recording.at(0)
    recording.encoded("cam", 0)
    path = recording.close()
    sound = path.read_bytes()
    assert [topic.name for topic in open_log(str(path)).topics()] == ["/cam"]
    path.write_bytes(sound[:20] + length.to_bytes(8, "little") + sound[28:])
    with pytest.raises(MediaError, match=r"the message at byte 12 of the recording would take [\d,]+ MB of memory"):
        open_log(str(path))
    path.write_bytes(sound[:-24] + length.to_bytes(8, "little") + sound[-16:])
    with pytest.raises(MediaError, match="the index at the end of the recording is damaged"):
        open_log(str(path))
