from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import make
import numpy as np
import pytest
from PIL import Image

from vidmem.errors import MediaError
from vidmem.media import open_source
from vidmem.timecode import NS


def _save(path: Path, number: int, size: tuple[int, int] = (128, 96), **options: object) -> Path:
    Image.fromarray(make.picture(number, *size)).save(path, **options)
    return path


def _bomb(path: Path, side: int = 50_000) -> Path:
    """A valid PNG header of side x side with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_natural_order_and_own_sizes(tmp_path: Path) -> None:
    for i, kind in [(0, "png"), (1, "webp"), (2, "bmp"), (10, "jpg")]:
        _save(tmp_path / f"p{i}.{kind}", i, (128 + 16 * i, 96))
    (tmp_path / "notes.txt").write_text("no picture")
    with open_source(tmp_path) as source:
        frames = list(source.frames(30))
        assert [make.number_in(f.image) for f in frames] == [0, 1, 2, 10]
        assert [f.t_ns for f in frames] == [0, NS, 2 * NS, 3 * NS]
        assert [f.image.shape[1] for f in frames] == [128, 144, 160, 288]
        assert (source.info.kind, source.info.duration_ns) == ("images", 4 * NS)


def test_single_picture_is_a_source(tmp_path: Path) -> None:
    with open_source(_save(tmp_path / "one.jpg", 5)) as source:
        assert [(make.number_in(f.image), f.t_ns) for f in source.frames(5)] == [(5, 0)]
        assert source.info.kind == "image"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    stored = make.picture(9)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(undo[orientation](stored)))
    image.save(tmp_path / "p.jpg", exif=exif, quality=95)
    with open_source(tmp_path / "p.jpg") as source:
        frame = next(source.frames(1))
        assert make.number_in(frame.image) == 9
        assert (source.info.width, source.info.height) == (128, 96)
        small = next(source.frames(1, shape=lambda w, h: (w // 2, h // 2)))
        assert small.image.shape == (48, 64, 3)
        assert make.number_in(small.image) == 9


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("p.jpg" if mode == "CMYK" else "p.png")
    Image.new(mode, (20, 10)).save(path)
    with open_source(path) as source:
        assert next(source.frames(1)).image.shape == (10, 20, 3)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 32896, 65535]], np.uint16)).save(tmp_path / "p.png")
    with open_source(tmp_path / "p.png") as source:
        assert next(source.frames(1)).image[0, :, 0].tolist() == [0, 128, 255]


def test_damaged_picture_is_left_out_and_counted(tmp_path: Path) -> None:
    for i in range(4):
        _save(tmp_path / f"p{i}.png", i)
    (tmp_path / "p1.png").write_bytes((tmp_path / "p1.png").read_bytes()[:150])
    _bomb(tmp_path / "p4.png")
    with open_source(tmp_path) as source:
        frames = list(source.frames(5))
        assert [make.number_in(f.image) for f in frames] == [0, 2, 3]
        assert [f.t_ns for f in frames] == [0, 2 * NS, 3 * NS]
        assert source.damage.frames == 2
        assert "p1.png" in source.damage.notes[0]
        assert source.frame_at(NS).t_ns == 0


def test_fingerprint_follows_the_files(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", 1)
    before = open_source(tmp_path).info.fingerprint
    assert open_source(tmp_path).info.fingerprint == before
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert open_source(tmp_path).info.fingerprint != before


@pytest.mark.parametrize("side", [20_000, 50_000])
def test_huge_picture_fails(tmp_path: Path, side: int) -> None:
    with pytest.raises(MediaError, match=r"(too large|exceeds the limit).*scale it down.*big\.png$"):
        open_source(_bomb(tmp_path / "big.png", side))


def test_text_as_picture_fails(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(MediaError, match=r"not a picture.*a\.jpg$"):
        open_source(tmp_path / "a.jpg")


def test_folder_without_readable_picture_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="the folder has no picture"):
        open_source(tmp_path)
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("hello")
    with pytest.raises(MediaError, match="none of the 2 pictures"):
        open_source(tmp_path)
