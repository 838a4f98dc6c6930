"""One bad file never ends a run: it is named, the others are indexed, and nothing waits."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from encoders.fake import ColourEncoder, save, video
from media import make, make_logs
from PIL import Image

from needs import needs
from vidmem.config import IndexConfig
from vidmem.errors import MediaError, StoreError
from vidmem.indexer.indexing import IndexOptions, find_sources, index_all
from vidmem.indexer.pipeline import SourceReport
from vidmem.indexer.plan import planned
from vidmem.limits import MAX_NS
from vidmem.media import discover, open_source
from vidmem.media.lerobot import is_dataset
from vidmem.media.logs import open_log
from vidmem.media.logs.base import Message, MessageKind
from vidmem.media.logs.mcap_table import CHUNK, MAGIC, MESSAGE, SCHEMA, read_table
from vidmem.media.logs.shots import Shot
from vidmem.records import Mark
from vidmem.store import ModelRecord, Store

CONFIG = IndexConfig(fps=5, checkpoint_frames=4, batch=2, still=0)
DEEP = "[" * 200_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        info = ColourEncoder().info
        store.set_model(ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, CONFIG.as_dict()))
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sound photo, a sound video, and much that is not."""
    top = tmp_path / "in"
    top.mkdir()
    save(top / "sound.png", {"red": (40, 24)})
    video(top / "sound.mp4", [{"red": (40, 24)}] * 6)
    for name in ("pipe.mp4", "pipe.mkv", "pipe.jpg", "pipe.mcap", "pipe.bag", "pipe.db3", "pipe.rrd"):
        os.mkfifo(top / name)
    for name in ("empty.mp4", "empty.jpg", "empty.mcap", "empty.bag", "empty.rrd", "empty.avif"):
        (top / name).write_bytes(b"")
    (top / "folder.mp4").mkdir()
    (top / "folder.jpg").mkdir()
    (top / "zero.mp4").symlink_to("/dev/zero")
    (top / "zero.jpg").symlink_to("/dev/zero")
    (top / "lost.mp4").symlink_to("/nowhere")
    (top / "lost.jpg").symlink_to("/nowhere")
    (top / "long.mcap").write_bytes(MAGIC + struct.pack("<BQ", MESSAGE, 1 << 63) + bytes(40))
    (top / "noise.mp4").write_bytes(random.Random(0).randbytes(5000))
    (top / "noise.avif").write_bytes(b"\0\0\0\x1cftypavif" + random.Random(1).randbytes(500))
    (top / "dataset" / "meta").mkdir(parents=True)
    (top / "dataset" / "meta" / "info.json").write_text(DEEP)
    (top / "dataset2" / "meta").mkdir(parents=True)
    os.mkfifo(top / "dataset2" / "meta" / "info.json")
    (top / "bag").mkdir()
    os.mkfifo(top / "bag" / "metadata.yaml")
    with socket.socket(socket.AF_UNIX) as plug:
        here = os.getcwd()
        os.chdir(top)  # names of sockets are short
        plug.bind("plug.mp4")
        os.chdir(here)
    with open(os.fsencode(top) + b"/\xff\xfe.mp4", "wb") as odd:
        odd.write(b"x")
    with open(os.fsencode(top) + b"/\xff\xfe.jpg", "wb") as odd:
        odd.write(b"x")
    return top


BAD = {"pipe.mp4", "pipe.mkv", "pipe.mcap", "pipe.bag", "pipe.db3", "pipe.rrd", "empty.mp4", "empty.mcap", "empty.bag",
       "empty.rrd", "zero.mp4", "lost.mp4", "long.mcap", "noise.mp4", "plug.mp4"}  # fmt: skip
BAD_PHOTOS = {"pipe.jpg", "empty.jpg", "empty.avif", "zero.jpg", "lost.jpg", "noise.avif"}


def test_what_is_bad_is_named_and_the_rest_is_indexed(folder: Path, tmp_path: Path) -> None:
    for library in ("mcap", "rosbags", "rerun"):
        needs(library)
    command = [sys.executable, "-m", "vidmem.cli", "index", str(folder), "-m", str(tmp_path / "m"), "--json"]
    out = subprocess.run(command, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    told = out.stderr.decode("utf-8", "backslashreplace")
    assert out.returncode == 3, told
    rows = json.loads(out.stdout)
    assert {os.path.basename(row["source"]) for row in rows} == {"sound.mp4", "in"}
    (photos,) = (row for row in rows if row["kind"] == "pictures")
    named = {os.path.basename(path) for path in photos["unreadable"]}
    assert named >= BAD_PHOTOS
    for name in BAD:
        assert f"/{name}" in told, f"{name} is not named: {told}"
    assert "a bug" not in told
    assert "Traceback" not in told


def index(store: Store, path: Path, told: list[tuple[str, MediaError]]) -> list[SourceReport]:
    def on_source(name: str, source: Any) -> None:
        if isinstance(source, MediaError):
            told.append((os.path.basename(name), source))

    todo = planned(find_sources([str(path)], (), film=False, clock="log", pose=None), store)
    return index_all(todo, store, ColourEncoder, CONFIG, IndexOptions(on_source=on_source))


@pytest.mark.parametrize("error", [RuntimeError("odd"), ZeroDivisionError(), RecursionError("deep"), MemoryError()])
def test_whatever_a_library_raises_is_told_with_its_class(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("1.mp4", "2.mp4"):
        video(tmp_path / name, [{"red": (40, 24)}] * 6)
    (tmp_path / "2.mp4").write_bytes((tmp_path / "2.mp4").read_bytes() + b"\0\0\0\x08free")  # another file

    def fail(*args: object, **options: object) -> Iterator[Any]:
        if str(args[0]).endswith("1.mp4"):
            raise error
        return read(*args, **options)

    from vidmem.media import video as video_module

    read = video_module.read
    monkeypatch.setattr(video_module, "read", fail)
    told: list[tuple[str, MediaError]] = []
    reports = index(store, tmp_path, told)
    assert [os.path.basename(report.info.uri) for report in reports] == ["2.mp4"]
    ((name, said),) = told
    assert name == "1.mp4"
    assert type(error).__name__ in str(said)


def test_an_interrupt_and_a_full_disk_end_the_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "1.mp4", [{"red": (40, 24)}] * 6)
    for error in (KeyboardInterrupt(), StoreError("the disk is full")):

        def fail(*args: object, raised: BaseException = error, **options: object) -> None:
            raise raised

        monkeypatch.setattr("vidmem.indexer.indexing.index_source", fail)
        with pytest.raises(type(error)):
            index(store, tmp_path, [])


@pytest.mark.parametrize("error", [RuntimeError("odd"), OverflowError(), RecursionError()])
def test_opening_raises_media_errors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    make.video(tmp_path / "a.mp4", range(5))

    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("vidmem.media.container.av.open", fail)
    with pytest.raises(MediaError, match=r"the source cannot be read .*a\.mp4"):
        open_source(tmp_path / "a.mp4")


def _record(opcode: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("<BQ", opcode, len(body) if length is None else length) + body


@pytest.mark.parametrize("opcode", [SCHEMA, MESSAGE, CHUNK, 0, 255])
@pytest.mark.parametrize("length", [1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_lengths_of_records_are_no_trouble(tmp_path: Path, opcode: int, length: int) -> None:
    needs("mcap")
    path = tmp_path / "a.mcap"
    path.write_bytes(MAGIC + _record(opcode, bytes(64), length) + bytes(64))
    read_table(str(path))
    with pytest.raises(MediaError, match="no message that can be read"):
        open_log(str(path))


@pytest.mark.parametrize("place", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_an_index_that_points_far_away_is_not_followed(tmp_path: Path, place: int) -> None:
    needs("mcap")
    path = make_logs.ros2_compressed(tmp_path / "run.mcap", 10)
    data = path.read_bytes()
    table = read_table(str(path))
    offset = struct.pack("<Q", table.blocks[0].offset)
    at = data.rindex(offset)
    path.write_bytes(data[:at] + struct.pack("<Q", place) + data[at + 8 :])
    with open_source(path) as source:
        assert len(list(source.frames(0))) == 10


def test_random_damage_to_a_log_is_a_media_error_or_damage(tmp_path: Path) -> None:
    needs("mcap")
    sound = make_logs.ros2_compressed(tmp_path / "run.mcap", 6).read_bytes()
    rng = random.Random(5)
    for number in range(150):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 3, 20))):
            place = rng.randrange(len(data))
            data[place : place + 8] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
        path = tmp_path / f"{number}.mcap"
        path.write_bytes(data)
        try:
            with open_source(path) as source:
                assert 0 <= source.info.duration_ns < MAX_NS
                assert all(abs(frame.t_ns) < MAX_NS for frame in source.frames(0))
        except MediaError:
            pass
        path.unlink()


def test_random_damage_to_pictures_is_a_media_error(tmp_path: Path) -> None:
    from vidmem.media.images import load

    rng, sound = random.Random(7), []
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[274], exif[306] = 6, "2026:01:02 03:04:05"
    for form in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"):
        for options in ({}, {"progressive": True} if form == "JPEG" else {"compression": "tiff_lzw"}):
            out = io.BytesIO()
            if form in Image.SAVE:
                picture.save(out, form, exif=exif, **(options if form in ("JPEG", "TIFF") else {}))
                sound.append(out.getvalue())
    for _ in range(1500):
        data = bytearray(rng.choice(sound))
        for _ in range(rng.choice((1, 2, 5, 30))):
            place = rng.randrange(min(len(data), 400) if rng.random() < 0.7 else len(data))
            data[place] = rng.choice((0, 255, rng.randrange(256), data[place] ^ 1 << rng.randrange(8)))
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        for shape in (None, lambda w, h: (max(1, w // 8), max(1, h // 8))):
            try:
                assert load(io.BytesIO(bytes(data)), shape, "a").dtype == np.uint8
            except MediaError:
                continue


def test_deep_json_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(DEEP)
    assert not is_dataset(str(tmp_path))
    save(tmp_path / "a.png", {"red": (40, 24)})
    assert len(discover([str(tmp_path)])) == 1


@pytest.mark.parametrize("content", [DEEP.encode(), b'{"data": ' + b"[" * 100_000, b'{"a": 1e999}', b"null", b"\xff"])
def test_json_messages_of_any_kind_are_media_errors(content: bytes) -> None:
    from vidmem.media.logs.mcap_reader import from_json

    message = Message("/cam", "foxglove.CompressedImage", MessageKind.STILL, 5, None, 1, lambda: from_json(content))
    with pytest.raises(MediaError, match="a message"):
        Shot(message, "a.mcap").picture(None)


@pytest.mark.parametrize("sec", [10**30, -(10**30), "x", None, float("nan"), [1]])
def test_stamps_that_are_no_time_are_left_out(sec: object) -> None:
    stamp = SimpleNamespace(sec=sec, nanosec=0)
    value = SimpleNamespace(header=SimpleNamespace(stamp=stamp, seq=10**40))
    message = Message("/cam", "sensor_msgs/Image", MessageKind.RAW, 5, None, 1, lambda: value)
    assert Shot(message, "a.mcap").mark() == Mark(5, None, None)
