"""Small files that would become gigabytes: each is refused, or stays within the memory budget."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from media import make_logs

from needs import needs
from vidmem.encoders.masks.folder import read_masks
from vidmem.errors import MediaError, ModelError, StoreError
from vidmem.limits import VARIABLE, check_frame
from vidmem.media import open_source
from vidmem.media.base import Damage
from vidmem.media.lerobot import filled, read_table
from vidmem.media.logs import bag_packing, mcap_reader, mcap_table, open_log
from vidmem.media.logs.mcap_table import CHUNK, MAGIC, Block, BlockError, unpack
from vidmem.media.logs.pixels import raw
from vidmem.records import FrameRegions
from vidmem.store import region_blobs

BUDGET_MB = 24
SLACK_MB = 12

_PEAKS = """
import io, os, resource, sys
import numpy as np
from PIL import Image
from vidmem.errors import MediaError
from vidmem.media.images import load

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

def run(data, shape):
    before = peak()
    try:
        load(io.BytesIO(data), shape, "a")
    except MediaError as error:
        assert "would take" in str(error), error
        return -1
    return peak() - before

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
CASES = [("JPEG", "RGB", {}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {}), ("JPEG", "L", {}),
         ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("PNG", "L", {}), ("PNG", "I;16", {}), ("PNG", "P", {}),
         ("WEBP", "RGB", {"quality": 1, "method": 0}), ("WEBP", "RGBA", {"lossless": True, "method": 0}),
         ("BMP", "RGB", {}), ("GIF", "P", {}), ("TIFF", "RGB", {"compression": "tiff_deflate"}),
         ("TIFF", "F", {}), ("TIFF", "I;16", {"compression": "tiff_lzw"}), ("AVIF", "RGB", {"speed": 10})]
fast = lambda w, h: (w // 8, h // 8)
for form, mode, options in CASES:
    if form not in Image.SAVE:
        Image.init()
    if form not in Image.SAVE:
        continue
    for shape in (None, fast) if form in ("JPEG", "WEBP") else (None,):
        side = 2400
        while True:
            if form == "AVIF" and side > 1000:
                side = 1000
            read, write = os.pipe()
            if (child := os.fork()) == 0:
                out = io.BytesIO()
                Image.new(mode, (side, side)).save(out, form, **options)
                data = out.getvalue()
                with os.fdopen(write, "wb") as pipe:
                    pipe.write(data)
                os._exit(0)
            os.close(write)
            with os.fdopen(read, "rb") as pipe:
                data = pipe.read()
            os.waitpid(child, 0)
            read, write = os.pipe()
            if (child := os.fork()) == 0:
                os.write(write, str(run(data, shape)).encode())
                os._exit(0)
            os.close(write)
            with os.fdopen(read, "rb") as pipe:
                grown = int(pipe.read() or b"9999")
            os.waitpid(child, 0)
            if grown >= 0:
                print(form, mode, "shaped" if shape else "full", side, grown, flush=True)
                break
            side = side * 4 // 5
"""


@pytest.mark.slow
def test_the_largest_picture_that_is_accepted_stays_within_the_budget() -> None:
    env = {"PATH": "/usr/bin:/bin", VARIABLE: str(BUDGET_MB), "OPENBLAS_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", _PEAKS], capture_output=True, text=True, env=env, timeout=120)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    assert len(lines) >= 20
    over = [line for line in lines if int(line.split()[-1]) > BUDGET_MB + SLACK_MB]
    assert not over, "\n".join(lines)


def _chunk(packed: bytes, size: int, compression: str) -> bytes:
    name = compression.encode()
    body = struct.pack("<QQQII", 1, 2, size, 0, len(name)) + name + struct.pack("<Q", len(packed)) + packed
    return struct.pack("<BQ", CHUNK, len(body)) + body


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("claimed", [1 << 10, 1 << 40, (1 << 64) - 1])
def test_a_chunk_unpacks_to_what_it_claims_and_that_is_bounded(compression: str, claimed: int) -> None:
    library = needs("lz4.frame" if compression == "lz4" else "zstandard")
    compress = library.compress if compression == "lz4" else library.ZstdCompressor().compress
    packed = compress(bytes(1 << 24))
    data = _chunk(packed, claimed, compression)
    block = Block(0, len(data), 1, 2)
    if claimed > 1 << 30:
        with pytest.raises(BlockError, match="is too large"):
            unpack(io.BytesIO(data), block)
    else:
        assert len(unpack(io.BytesIO(data), block)) == claimed


def test_a_chunk_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = needs("zstandard")
    data = _chunk(zstandard.ZstdCompressor().compress(bytes(3 << 20)), 3 << 20, "zstd")
    assert len(unpack(io.BytesIO(data), Block(0, len(data), 1, 2))) == 3 << 20
    monkeypatch.setenv(VARIABLE, "2")
    with pytest.raises(BlockError, match="a chunk of 3 MiB is too large"):
        unpack(io.BytesIO(data), Block(0, len(data), 1, 2))


def test_a_log_that_unpacks_to_thousands_of_times_its_size_is_refused(tmp_path: Path) -> None:
    needs("mcap")
    zstandard = needs("zstandard")
    packed = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    (tmp_path / "a.mcap").write_bytes(MAGIC + _chunk(packed, 1 << 20, "zstd") * 50)
    with pytest.raises(MediaError, match="unpack to more than 1000 times its size"):
        mcap_table.read_table(str(tmp_path / "a.mcap"))


def test_a_chunk_of_millions_of_empty_messages_is_read_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("mcap")
    zstandard = needs("zstandard")
    channel = struct.pack("<HH", 1, 0) + b"".join(struct.pack("<I", len(t)) + t for t in (b"/a", b"json")) + bytes(4)
    message = struct.pack("<BQHIQQ", 5, 22, 1, 0, 5, 5)
    inner = struct.pack("<BQ", 4, len(channel)) + channel + message * 20_000
    packed = zstandard.ZstdCompressor().compress(inner)
    body = struct.pack("<QQQII", 5, 5, len(inner), 0, 4) + b"zstd" + struct.pack("<Q", len(packed)) + packed
    (tmp_path / "a.mcap").write_bytes(MAGIC + struct.pack("<BQ", CHUNK, len(body)) + body + bytes(10_000))
    monkeypatch.setattr(mcap_reader, "MAX_WAITING", 100_000)
    with open_log(str(tmp_path / "a.mcap")) as log:
        tracemalloc.start()
        found = sum(1 for _ in log.messages(["/a"], 0, Damage()))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found == 20_000
    assert peak < 2 * len(inner) + (2 << 20)


@pytest.mark.parametrize("step", [(1 << 32) - 1, 1 << 31, 3 * 64])
@pytest.mark.parametrize("size", [(64, 64), (16_384, 6_000), (1, 16_384), (1 << 31, 1 << 31)])
def test_a_raw_picture_takes_what_its_data_allow(size: tuple[int, int], step: int) -> None:
    value = SimpleNamespace(width=size[0], height=size[1], step=step, encoding="rgb8", data=bytes(3 * 64 * 64))
    if (size, step) == ((64, 64), 3 * 64):
        assert raw(value, None, "a").shape == (64, 64, 3)
        return
    with pytest.raises(MediaError, match=r"fewer than its size needs|exceeds the limit|would take"):
        raw(value, None, "a")


def test_the_padding_of_one_row_is_not_made_up() -> None:
    value = SimpleNamespace(width=64, height=1, step=(1 << 32) - 1, encoding="rgb8", data=bytes(3 * 64))
    assert raw(value, None, "a").shape == (1, 64, 3)  # only 192 of 4 billion bytes are there, and only these are taken


@pytest.mark.parametrize("bits", [12, 64])
def test_frames_of_a_video_are_counted_by_their_format(bits: int) -> None:
    check_frame(7680, 4320, 24, "a")
    with pytest.raises(MediaError, match=r"exceeds the limit|would take"):
        check_frame(12_000, 8_300, bits, "a")


def _vp8(path: Path, size: tuple[int, int], told: tuple[int, int]) -> Path:
    """An IVF file whose frames say that they are larger; `told` is what its header says."""
    with av.open(str(path), "w", format="ivf") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.options = 64, 48, "yuv420p", {"g": "1"}
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 * number, np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data, place = bytearray(path.read_bytes()), 0
    data[12:16] = struct.pack("<HH", *told)
    while (place := data.find(b"\x9d\x01\x2a", place)) >= 0:
        data[place + 3 : place + 7] = struct.pack("<HH", *size)
        place += 7
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("told", [(64, 48), (12_000, 8_000), (16_000, 16_000)])
def test_a_video_that_claims_large_frames_is_refused(tmp_path: Path, told: tuple[int, int]) -> None:
    if "libvpx" not in av.codecs_available:
        pytest.skip("this PyAV has no encoder libvpx")
    size = (16_000, 16_000) if told == (64, 48) else told
    with pytest.raises(MediaError, match=r"exceeds the limit|would take|no picture of the video can be decoded"):
        open_source(_vp8(tmp_path / "a.ivf", size, told))


def _npy(shape: tuple[int, ...], dtype: str, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue() + data


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(4096, 1 << 20, 1 << 20), (1 << 62, 1 << 62, 1), (600, 1024, 1024)])
def test_arrays_of_masks_are_counted_from_their_headers(tmp_path: Path, packed: bool, shape: tuple[int, ...]) -> None:
    data = _npy(shape, "|u1", bytes(100))
    path = tmp_path / ("a.npz" if packed else "a.npy")
    if packed:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("masks.npy", data)
    else:
        path.write_bytes(data)
    with pytest.raises(ModelError, match="the masks would take"):
        read_masks(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x93NUMPY\x09\x09" + bytes(50)])
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_what_is_no_array_is_a_model_error(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match="the masks cannot be read"):
        read_masks(tmp_path / name)


def _blob(frames: int, regions: int, tracks: int, h: int, w: int) -> bytes:
    lengths = [8 * frames, 4 * tracks, tracks * -(-frames // 8), 4 * regions, 8 * regions, regions * -(-h * w // 8)]
    packed = lzma.compress(bytes(sum(lengths)), lzma.FORMAT_RAW, filters=region_blobs._FILTERS)
    head = struct.pack("<4sIIIIIHH", b"VR1\0", 0, sum(lengths), frames, regions, tracks, h, w)
    return head[:4] + struct.pack("<I", zlib.crc32(packed, zlib.crc32(head[8:]))) + head[8:] + packed


@pytest.mark.parametrize("claim", [(1, 300, 300, 256, 256), (4_000, 0, 4_000, 1, 1)])
def test_bits_of_stored_regions_count_as_the_bytes_they_become(
    claim: tuple[int, int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "8")
    with pytest.raises(StoreError, match="would take"):
        region_blobs.decode(_blob(*claim))


def test_stored_regions_within_the_budget_are_read() -> None:
    frame = FrameRegions(5, np.array([1]), np.zeros((1, 4), np.float32), np.ones((1, 12, 20), bool))
    (back,) = region_blobs.decode(region_blobs.encode([frame]))
    np.testing.assert_array_equal(back.masks, frame.masks)


@pytest.mark.parametrize(
    "template",
    ["{a:>99999999}", "{a:099999999d}", "{a.__class__}", "{a[0]}", "{a!r}", "{b}", "{", "{a:{a}}", "{}", "{a:e}"],
)
def test_patterns_of_paths_hold_names_and_widths_alone(template: str) -> None:
    assert filled("x/{a:03d}/{a}.mp4", {"a": 7}) == "x/007/7.mp4"
    with pytest.raises((KeyError, ValueError)):
        filled(template, {"a": 7})


def test_a_dataset_with_a_pattern_that_pads_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "features": {"cam": {"dtype": "video"}},
        "data_path": "d.parquet",
        "video_path": "{episode_index:>9999999999}",
    }
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    (tmp_path / "meta" / "episodes.jsonl").write_text('{"episode_index": 0}\n')
    with pytest.raises(MediaError, match="has a broken path"):
        open_source(f"{tmp_path}#0/cam")


def test_rows_of_a_table_are_counted_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = needs("pyarrow")
    parquet = needs("pyarrow.parquet")
    path = str(tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"x": np.zeros(1_000_000, np.int64)}), path)  # a few kilobytes
    assert len(read_table(path, ["x"])) == 1_000_000
    monkeypatch.setenv(VARIABLE, "16")
    with pytest.raises(MediaError, match="a table of the dataset would take"):
        read_table(path, ["x"])


def _packers() -> dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]:
    lz4, zstandard = needs("lz4.frame"), needs("zstandard")
    return {
        "bz2": (bz2.compress, bag_packing._bz2),
        "lz4": (lz4.compress, bag_packing._lz4),
        "zstd": (zstandard.ZstdCompressor().compress, bag_packing._zstd),
    }


@pytest.mark.parametrize("kind", ["bz2", "lz4", "zstd"])
def test_parts_of_bags_unpack_within_the_budget(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pack, read = _packers()[kind]
    data = bytes(range(256)) * 4096
    assert read(pack(data)) == data
    monkeypatch.setenv(VARIABLE, "1")
    assert len(read(pack(bytes(1 << 20)))) == 1 << 20
    for bomb in (bytes((1 << 20) + 1), bytes(8 << 20)):
        with pytest.raises(bag_packing.PackedError):
            read(pack(bomb))
    if kind == "zstd":  # of several frames, each of which is small
        with pytest.raises(bag_packing.PackedError):
            read(pack(bytes(1 << 19)) * 3)


def test_a_bag_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    zstandard = needs("zstandard")
    (tmp_path / "a.db3.zstd").write_bytes(zstandard.ZstdCompressor().compress(bytes(100 << 20)))
    with pytest.raises(MediaError, match="unpacks to more than 1000 times its size"):
        bag_packing.check_bag(tmp_path)
    (tmp_path / "a.db3.zstd").write_bytes(b"no zstd at all")
    with pytest.raises(MediaError, match="cannot be unpacked"):
        bag_packing.check_bag(tmp_path)


def test_readers_of_a_bag_get_the_bounds() -> None:
    chunk: Any = needs("rosbags.rosbag1.reader")
    pieces = {n: chunk.Chunk(1, 2, chunk.decompressors[n]) for n in chunk.decompressors}
    bag = SimpleNamespace(is2=False, readers=[SimpleNamespace(chunks=dict(pieces))])
    bag_packing.bound(bag)
    bounded = bag.readers[0].chunks
    assert bounded["bz2"].decompressor is bag_packing._bz2
    assert bounded["lz4"].decompressor is bag_packing._lz4
    assert bounded["none"] is pieces["none"]


@pytest.mark.parametrize("kind", ["message", "file"])
def test_packed_bags_are_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("rosbags")
    path = make_logs.bag(tmp_path / "bag", 5, kind)
    with open_source(path) as source:
        assert len(list(source.frames(0))) == 5
    if kind == "message":
        monkeypatch.setattr(bag_packing, "budget", lambda: 100)
        with pytest.raises(MediaError, match="unpacks to more than the memory budget"):
            open_source(path)
