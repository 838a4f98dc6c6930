"""MCAP: what is in the messages, whose clock counts, and everything that can be wrong with a log."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make
import numpy as np
import pytest
from mcap.writer import CompressionType
from media import make_logs
from media.make_logs import SKEW, START, STEP, Log, times

from vidmem.address import Address
from vidmem.errors import MediaError, UsageError
from vidmem.media import Source, open_source, parts
from vidmem.media.logs import mcap_reader, mcap_table
from vidmem.media.logs.mcap_reader import McapReader


def numbers(source: Source, fps: float = 0) -> list[int]:
    return [make.number_in(frame.image) for frame in source.frames(fps)]


def offsets(source: Source) -> list[int]:
    return [frame.t_ns for frame in source.frames(0)]


@pytest.mark.parametrize("compression", list(CompressionType))
def test_ros2_compressed(tmp_path: Path, compression: CompressionType) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 30, compression=compression)
    with open_source(path) as source:
        assert (source.info.uri, source.info.kind) == (f"{path}#/cam/front", "log")
        assert (source.info.start_ns, source.info.duration_ns) == (START, 29 * STEP)
        frames = list(source.frames(0))
        assert [make.number_in(frame.image) for frame in frames] == list(range(30))
        assert [frame.t_ns for frame in frames] == [STEP * i for i in range(30)]
        mark = frames[7].mark
        assert mark is not None
        assert (mark.log_ns, mark.stamp_ns, mark.sequence) == (START + 7 * STEP, START + 7 * STEP - SKEW, 1008)
        assert not source.damage


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
@pytest.mark.parametrize("schema", ["CompressedImage", "RawImage"])
def test_foxglove(tmp_path: Path, schema: str, encoding: str) -> None:
    with open_source(make_logs.foxglove(tmp_path / "run.mcap", 5, schema, encoding)) as source:
        frames = list(source.frames(0))
        assert [make.number_in(frame.image) for frame in frames] == list(range(5))
        assert [f.mark.stamp_ns for f in frames if f.mark] == [t - SKEW for t in times(5)]
        assert not source.damage


def uyvy(rgb: np.ndarray[Any, Any], swap: bool) -> np.ndarray[Any, Any]:
    import av

    yuyv = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuyv422").to_ndarray()
    return np.ascontiguousarray(yuyv[..., ::-1]) if swap else yuyv


def grey(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return rgb.max(2)


def bayer(rgb: np.ndarray[Any, Any], pattern: str) -> np.ndarray[Any, Any]:
    out = np.zeros(rgb.shape[:2], np.uint8)
    for i, colour in enumerate(pattern):
        out[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, "rgb".index(colour)]
    return out


def wide(rgb: np.ndarray[Any, Any], order: str = "<u2") -> np.ndarray[Any, Any]:
    return (rgb.astype(np.uint16) * 257).astype(order)


COLOURED: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "rgb8": lambda rgb: rgb,
    "bgr8": lambda rgb: rgb[..., ::-1],
    "8UC3": lambda rgb: rgb[..., ::-1],
    "rgba8": lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
    "bgra8": lambda rgb: np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 255, np.uint8)]),
    "yuyv": lambda rgb: uyvy(rgb, False),
    "yuv422_yuy2": lambda rgb: uyvy(rgb, False),
    "uyvy": lambda rgb: uyvy(rgb, True),
    "yuv422": lambda rgb: uyvy(rgb, True),
    "rgb16": wide,
    "bgr16": lambda rgb: wide(rgb[..., ::-1]),
    **{f"bayer_{p}8": lambda rgb, p=p: bayer(rgb, p) for p in ("rggb", "bggr", "gbrg", "grbg")},
}


@pytest.mark.parametrize("encoding", COLOURED)
@pytest.mark.parametrize("pad", [0, 12])
def test_raw_in_colour(tmp_path: Path, encoding: str, pad: int) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate(times(3)):
        log.image("/cam", encoding, COLOURED[encoding](make.picture(37 * i)), t, pad)
    with open_source(log.close()) as source:
        assert numbers(source) == [0, 37, 74]
        assert not source.damage


@pytest.mark.parametrize(
    ("encoding", "pixels", "more"),
    [
        ("mono8", lambda rgb: grey(rgb), {}),
        ("8UC1", lambda rgb: grey(rgb), {}),
        ("mono16", lambda rgb: wide(grey(rgb)), {}),
        ("mono16", lambda rgb: wide(grey(rgb), ">u2"), {"is_bigendian": 1}),
    ],
)
def test_raw_in_grey(tmp_path: Path, encoding: str, pixels: Any, more: dict[str, int]) -> None:
    log = Log(tmp_path / "run.mcap")
    log.image("/cam", encoding, pixels(make.picture(5)), START, 6, **more)
    with open_source(log.close()) as source:
        (frame,) = source.frames(0)
        assert np.array_equal(frame.image, np.repeat(grey(make.picture(5))[..., None], 3, 2))


def test_raw_nv12(tmp_path: Path) -> None:
    import av

    planes = av.VideoFrame.from_ndarray(make.picture(9), "rgb24").reformat(format="nv12").to_ndarray()
    log = Log(tmp_path / "run.mcap")
    log.image("/cam", "nv12", planes, START, height=make.HEIGHT)
    with open_source(log.close()) as source:
        assert numbers(source) == [9]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_video(tmp_path: Path, codec: str) -> None:
    with open_source(make_logs.video(tmp_path / "run.mcap", 40, codec)) as source:
        assert numbers(source) == list(range(40))
        assert offsets(source) == [STEP * i for i in range(40)]
        assert make.number_in(source.frame_at(25 * STEP + 1).image) == 25
        assert not source.damage


def test_after_lost_video_the_next_keyframe_goes_on(tmp_path: Path) -> None:
    def spoil(i: int, data: bytes) -> bytes:
        return data[: len(data) // 2] + bytes(len(data) // 2) if i == 14 else data

    with open_source(make_logs.video(tmp_path / "run.mcap", 40, "libx264", change=spoil)) as source:
        seen = numbers(source)
        assert seen[:14] == list(range(14))
        assert seen[-20:] == list(range(20, 40))
        assert source.damage
        whole = [frame.t_ns for frame in source.frames(0)]
        assert [f.t_ns for f in source.frames(0, whole[20] + 1)] == whole[21:]


def test_video_that_does_not_begin_with_a_keyframe(tmp_path: Path) -> None:
    with open_source(make_logs.video(tmp_path / "run.mcap", 25, "libx264", drop=range(3))) as source:
        assert numbers(source) == list(range(10, 25))
        assert (source.damage.frames, source.damage.notes) == (7, ["video pictures before the first keyframe"])


def test_video_in_another_codec_fails(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    log.protobuf("/cam", make_logs._message("CompressedVideo", START, b"x", {"format": "vp9"}), START)
    with pytest.raises(MediaError, match=r"video in 'vp9' cannot be read from logs; h264 and h265 can"):
        open_source(log.close())


# Topics


def several(path: Path) -> Path:
    log = Log(path)
    for i, t in enumerate(times(10)):
        log.compressed("/cam/front", i, t)
        log.compressed("/cam/rear", 100 + i, t + STEP // 2)
        log.json("/chatter", "std_msgs/String", {"data": ""}, t)
    return log.close()


def test_topics_are_sources_on_one_clock(tmp_path: Path) -> None:
    path = str(several(tmp_path / "run.mcap"))
    front, rear = parts(Address(path), ["/cam/*"])
    assert (front, rear) == (Address(path, "/cam/front"), Address(path, "/cam/rear"))
    assert parts(Address(path), ["/cam/rear"]) == [rear]
    assert parts(rear) == [rear]
    with open_source(front) as a, open_source(rear) as b:
        assert numbers(b) == list(range(100, 110))
        assert a.info.start_ns == b.info.start_ns == START
        assert (offsets(a)[0], offsets(b)[0]) == (0, STEP // 2)
        assert a.info.fingerprint != b.info.fingerprint


def test_ambiguous_topics_are_listed(tmp_path: Path) -> None:
    path = str(several(tmp_path / "run.mcap"))
    told = r"/cam/front \(sensor_msgs/msg/CompressedImage, 10 messages\), /cam/rear"
    with pytest.raises(UsageError, match=rf"2 to choose from; name them as `topics`.*{told}.*: {path}$"):
        parts(Address(path))
    with pytest.raises(UsageError, match=f"nothing with pictures is called '/cam/left'; there are {told}"):
        parts(Address(path), ["/cam/left"])
    with pytest.raises(UsageError, match="leave `topics` out"):
        parts(Address(path, "/cam/rear"), ["/cam/rear"])
    with pytest.raises(UsageError, match="leave it out"):
        parts(Address("walk.mp4"), ["/cam/rear"])
    with pytest.raises(UsageError, match="log, header"):
        parts(Address(path), ["/cam/rear"], "sun")
    with pytest.raises(MediaError, match=r"no pictures in /chatter \(std_msgs/String\)"):
        open_source(f"{path}#/chatter")
    with pytest.raises(MediaError, match="no topic '/nothing'"):
        open_source(f"{path}#/nothing")


def test_a_log_without_pictures_fails(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    log.json("/chatter", "std_msgs/String", {"data": ""}, START)
    with pytest.raises(MediaError, match=r"no topic .* has pictures .* /chatter \(std_msgs/String, json\)"):
        parts(Address(str(log.close())))


def test_mixed_encodings_are_read_by_what_each_message_is(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate(times(9)):
        if i % 3 == 0:
            log.compressed("/cam", i, t)
        elif i % 3 == 1:
            log.image("/cam", "bgr8", make.picture(i)[..., ::-1], t)
        else:
            log.json("/cam", "my_msgs/Temperature", {"celsius": 20}, t)
    with open_source(log.close()) as source:
        assert numbers(source) == [0, 1, 3, 4, 6, 7]
        assert source.damage.frames == 3
        assert source.damage.notes == ["messages of schema my_msgs/Temperature in /cam are not pictures"]


def test_pictures_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    t = times(8)
    log.compressed("/cam", 0, t[0])
    log.compressed("/cam", 1, t[1], data=b"no picture")
    log.compressed("/cam", 2, t[2], format="16UC1; compressedDepth png")
    log.image("/cam", "32FC1", np.zeros((4, 4), np.float32), t[3])
    log.image("/cam", "rgb8", make.picture(4), t[4], height=10**5)
    log.image("/cam", "rgb8", make.picture(4), t[5], height=make.HEIGHT + 1)
    log.image("/cam", "rgb8", make.picture(4), t[6], width=0)
    log.compressed("/cam", 7, t[7])
    with open_source(log.close()) as source:
        assert numbers(source) == [0, 7]
        assert source.damage.frames == 6
        told = "\n".join(source.damage.notes)
        for cause in (
            "not a picture",
            "depth picture",
            "'32FC1' cannot be read; rgb8",
            "exceeds the limit",
            "fewer than",
            "is empty",
        ):
            assert cause in told
        assert str(tmp_path) not in told


@pytest.mark.parametrize(
    ("encoding", "schema_encoding", "told"),
    [
        (
            "ros1",
            "ros1msg",
            "messages in ros1 with a schema in ros1msg cannot be read; cdr with ros2msg, protobuf and json",
        ),
        ("cdr", "ros2idl", "messages in cdr with a schema in ros2idl cannot be read"),
    ],
)
def test_an_unknown_encoding_fails(tmp_path: Path, encoding: str, schema_encoding: str, told: str) -> None:
    log = Log(tmp_path / "run.mcap")
    log.add("/cam", "sensor_msgs/msg/CompressedImage", encoding, schema_encoding, b"?", b"??", START)
    with pytest.raises(MediaError, match=told):
        open_source(log.close())


def test_a_schema_that_lies_fails_in_one_line(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    log.json("/cam", "foxglove.RawImage", {"pixels": "none"}, START)
    log.add("/other", "sensor_msgs/msg/Image", "cdr", "ros2msg", b"int32 x\n", b"\0\1\0\0", START)
    path = log.close()
    with pytest.raises(MediaError, match=r"does not fit its schema foxglove\.RawImage"):
        open_source(f"{path}#/cam")
    with pytest.raises(MediaError, match="cannot be decoded"):
        open_source(f"{path}#/other")


# Clocks


def test_the_clock_of_the_header(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate(times(10)):
        log.compressed("/cam", i, t, stamp=5 * 10**9 + 3 * STEP * i)
    path = log.close()
    with open_source(f"{path}#header:/cam") as source:
        assert source.info.start_ns == 5 * 10**9
        assert offsets(source) == [3 * STEP * i for i in range(10)]
        assert make.number_in(source.frame_at(7 * STEP).image) == 2
        by_log = open_source(path)
        assert by_log.info.fingerprint != source.info.fingerprint
        assert by_log.info.start_ns == START


def test_a_clock_that_jumps_back_is_partial(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    stamps = [0, 1, 2, 3, 1, 2, 3, 4, 5, 6]
    for i, t in enumerate(times(10)):
        log.compressed("/cam", i, t, stamp=START + STEP * stamps[i])
    with open_source(f"{log.close()}#header:/cam") as source:
        assert numbers(source) == [0, 1, 2, 3, 7, 8, 9]
        assert source.damage.frames == 3
        assert source.damage.notes[0] == "the clock of /cam jumps back; try `clock` log"
        rest = list(source.frames(0, 2 * STEP + 1))
        assert [make.number_in(f.image) for f in rest] == [3, 7, 8, 9]


def test_equal_times_are_partial(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate([0, 1, 1, 2]):
        log.compressed("/cam", i, START + STEP * t)
    with open_source(log.close()) as source:
        assert numbers(source) == [0, 1, 3]
        assert source.damage.notes == ["pictures in /cam with the same time as the one before; try `clock` header"]


def test_a_stamp_that_was_never_set_says_what_to_do(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate(times(3)):
        log.compressed("/cam", i, t, stamp=0)
    with open_source(f"{log.close()}#header:/cam") as source:
        assert numbers(source) == [0]
        assert "same time" in source.damage.notes[0]


def test_messages_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap", chunk_size=3000)
    order = [1, 0, 3, 2, 6, 7, 4, 5, 9, 8, 11, 10]
    for i in order:
        log.compressed("/cam", i, START + STEP * i)
    path = log.close()
    with open_source(path) as source:
        assert numbers(source) == list(range(12))
        assert not source.damage
        assert [make.number_in(f.image) for f in source.frames(0, 5 * STEP)] == list(range(5, 12))


def test_what_waits_for_its_turn_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_reader, "MAX_WAITING", 1000)
    log = Log(tmp_path / "run.mcap", chunk_size=1)
    for i in [*range(1, 30), 0]:
        log.compressed("/cam", i, START + STEP * i)
    with open_source(log.close()) as source:
        assert numbers(source) == list(range(30))  # chunks are known by their start: nothing has to wait


# Damage


def chunks(path: Path) -> list[mcap_table.Block]:
    return mcap_table.read_table(str(path)).blocks


def spoil(path: Path, block: mcap_table.Block) -> None:
    data = bytearray(path.read_bytes())
    middle = block.offset + block.length // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)


@pytest.mark.parametrize("compression", list(CompressionType))
def test_damaged_chunks_are_skipped_and_counted(tmp_path: Path, compression: CompressionType) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 60, compression=compression)
    blocks = chunks(path)
    assert len(blocks) > 6
    for block in (blocks[2], blocks[4]):
        spoil(path, block)
    with open_source(path) as source:
        seen = offsets(source)
        assert source.damage.packets == 2
        lost = {t - START for t in times(60)} - set(seen)
        assert lost == {t - START for t in times(60) for b in (blocks[2], blocks[4]) if b.start_ns <= t <= b.end_ns}
        source.damage.packets = 0
        after = next(t for t in seen if t > blocks[2].end_ns - START) + 1
        assert [f.t_ns for f in source.frames(0, after)] == [t for t in seen if t >= after]
        assert source.damage.packets == 1  # the other one was counted by whoever came this far


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("share", [0.5, 0.83])
def test_a_truncated_log_is_read_as_far_as_it_goes(tmp_path: Path, compression: CompressionType, share: float) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 60, compression=compression)
    whole = chunks(path)
    cut = int((whole[-1].offset + whole[-1].length) * share)
    path.write_bytes(path.read_bytes()[:cut])
    kept = [b for b in whole if b.offset + b.length <= cut]
    with open_source(path) as source:
        seen = offsets(source)
        assert seen[:3] == [0, STEP, 2 * STEP]
        assert seen == [STEP * i for i in range(len(seen))]
        assert seen[-1] >= kept[-1].end_ns - START
        assert "not closed properly" in source.damage.notes[0]
        assert source.damage.packets == 1
        assert make.number_in(source.frame_at(2 * STEP).image) == 2


def test_a_recorder_that_was_killed(tmp_path: Path) -> None:
    log = Log(tmp_path / "run.mcap")
    for i, t in enumerate(times(20)):
        log.compressed("/cam", i, t)
    with open_source(log.crash()) as source:
        assert numbers(source) == list(range(20))
        assert source.damage.packets == 1


def test_a_damaged_index_costs_nothing(tmp_path: Path) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 20)
    data = bytearray(path.read_bytes())
    data[-37:-8] = b"\x02" + struct.pack("<Q", 20) + bytes(20)  # a footer that points nowhere
    path.write_bytes(data)
    with open_source(path) as source:
        assert numbers(source) == list(range(20))
        assert not source.damage


def test_large_chunks_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 10)
    monkeypatch.setattr(mcap_table, "MAX_BLOCK", 100)
    with pytest.raises(MediaError, match=r"no picture of the topic can be read \(a chunk of 0 MiB is too large"):
        open_source(path)


@pytest.mark.parametrize("content", [b"", b"no log at all", mcap_table.MAGIC, mcap_table.MAGIC + bytes(100)])
def test_what_is_no_log_fails_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"not an MCAP file|no message that can be read") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_noise_never_escapes(tmp_path: Path) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 12)
    whole = path.read_bytes()
    noise = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in noise.integers(8, len(data), 5):
            data[place] = noise.integers(256)
        path.write_bytes(data[: noise.integers(100, len(data))] if noise.random() < 0.5 else data)
        try:
            with open_source(path) as source:
                seen = offsets(source)
                assert seen == sorted(set(seen))
        except (MediaError, UsageError):
            continue


def test_without_the_library_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 2)
    for name in ("mcap.reader", "mcap_ros2.decoder"):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, name, None)
            with pytest.raises(MediaError, match=r"pip install 'vidmem\[robotics\]'"):
                open_source(path)


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    import tracemalloc

    log = Log(tmp_path / "run.mcap", chunk_size=1 << 20, compression=CompressionType.NONE)
    row = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for t in times(120):
        log.add("/cam", "foxglove.RawImage", "json", "jsonschema", b"{}", b"{}" + row.tobytes(), t)
    reader = McapReader(str(log.close()))
    tracemalloc.start()
    count = sum(1 for _ in reader.messages(["/cam"], 0, make_damage()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 120  # 27 MB
    assert peak < 8 << 20


def make_damage() -> Any:
    from vidmem.media.base import Damage

    return Damage()
