"""Picture files made to hurt: other formats under a picture's name, and what small headers claim."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from vidmem.encoders.masks.folder import read_masks
from vidmem.errors import MediaError, ModelError, VidmemError
from vidmem.evaluation.panoptic import Picture, segment_masks
from vidmem.export.coco import open_picture
from vidmem.export.trainset.content import Labelled, check_picture, see
from vidmem.limits import VARIABLE
from vidmem.media.exif import from_exif
from vidmem.media.film import looks_like_film
from vidmem.media.images import load
from vidmem.media.logs.pixels import still
from vidmem.picture_headers import HeaderError, check_tags, jpeg_header
from vidmem.picture_reading import FORMATS, opened
from vidmem.query.picture import load_picture

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` on the PATH that leaves a mark when it runs."""
    mark, program = tmp_path / "ran", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return mark


def _labelled(path: str) -> object:
    picture = f"{path}.true.png"
    Image.new("L", (64, 64)).save(picture)
    return see(Labelled(picture=picture, labels=path, names=("a",), first=0))


READERS: dict[str, Callable[[str], object]] = {
    "photo": lambda path: load(path, None, path),
    "shaped": lambda path: load(path, lambda w, h: (w, h), path),
    "question": load_picture,
    "message": lambda path: still(SimpleNamespace(data=Path(path).read_bytes(), format="jpeg"), None, path),
    "training": check_picture,
    "annotated": lambda path: open_picture(Path(path)),
    "segments": lambda path: segment_masks(Picture(Path(path), Path(path), 64, 64, {}, frozenset())),
    "label masks": lambda path: read_masks(Path(path).rename(f"{path}.png")),
    "labels": _labelled,
}


def test_pillow_alone_would_start_ghostscript(ghostscript: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(EPS)
    with pytest.raises(OSError, match=r"Ghostscript|image"), Image.open(tmp_path / "a.jpg") as image:
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("reader", READERS)
def test_an_eps_under_another_name_starts_nothing(ghostscript: Path, tmp_path: Path, reader: str) -> None:
    (tmp_path / "a.jpg").write_bytes(EPS)
    with pytest.raises((MediaError, ModelError), match="not a picture"):
        READERS[reader](str(tmp_path / "a.jpg"))
    assert from_exif(str(tmp_path / "a.jpg")) is None
    assert not looks_like_film([str(tmp_path / "a.jpg")] * 12)
    assert not ghostscript.exists()


def _saved(form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, form)
    return out.getvalue()


FOREIGN = {
    "eps": EPS,
    "binary eps": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(EPS)) + bytes(20) + EPS,
    "fits": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "wmf": b"\xd7\xcd\xc6\x9a\x00\x00" + struct.pack("<hhhhH", 0, 0, 64, 64, 72).ljust(90, b"\0"),
    "psd": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(64),
    **{form.lower(): _saved(form) for form in ("PPM", "TGA", "ICO", "PCX", "SGI", "PDF", "DDS", "IM", "JPEG2000")},
}


@pytest.mark.parametrize("form", FOREIGN)
def test_other_formats_are_refused(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.png").write_bytes(FOREIGN[form])
    for read in (READERS["photo"], READERS["question"], READERS["message"]):
        with pytest.raises(MediaError, match=r"cannot be read \(not a picture\)"):
            read(str(tmp_path / "a.png"))


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "AVIF" or "AVIF" in Image.SAVE])
def test_known_formats_are_read(tmp_path: Path, form: str) -> None:
    (tmp_path / "a").write_bytes(_saved(form))
    assert load(str(tmp_path / "a"), None, "a").shape == (32, 32, 3)
    with opened(str(tmp_path / "a")) as held:
        assert held.image.format == form


def test_the_formats_do_not_load_the_plugin_of_eps() -> None:
    code = (
        "import io, sys, vidmem.picture_reading as r\n"
        "try:\n    with r.opened(io.BytesIO(b'%!PS-Adobe-3.0 EPSF-3.0'), 'a'): pass\n"
        "except r.MediaError: print('PIL.EpsImagePlugin' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"


def _jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(picture).save(out, "JPEG", quality=70, **options)
    return out.getvalue()


def _with_scans(data: bytes, more: int) -> bytes:
    """A progressive JPEG whose first scan comes again and again."""
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff\xc4", start)  # the tables of the next scan
    return data[:start] + data[start:end] * (more + 1) + data[end:]


def _at(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG, which says that it is larger."""
    frame = data.index(b"\xff\xc2")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def test_scans_of_a_jpeg_are_counted() -> None:
    plain, progressive = _jpeg(), _jpeg(progressive=True)
    for data, scans in ((plain, 1), (progressive, progressive.count(b"\xff\xda"))):
        header = jpeg_header(io.BytesIO(data))
        assert header is not None
        assert (header.width, header.height, header.channels, header.scans) == (64, 64, 3, scans)
    twice = jpeg_header(io.BytesIO(progressive + progressive))  # what follows the picture is not part of it
    assert twice is not None
    assert twice.scans == progressive.count(b"\xff\xda")
    assert jpeg_header(io.BytesIO(_saved("PNG"))) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (_with_scans(_jpeg(progressive=True), 200), (64, 64)),
        (_at(_with_scans(_jpeg(progressive=True), 50), 9000, 9000), (9000, 9000)),
    ],
)
def test_a_jpeg_of_many_scans_is_refused_at_once(data: bytes, size: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == size
    with pytest.raises(MediaError, match=r"made of \d+ scans, which would take minutes"):
        load(io.BytesIO(data), lambda w, h: (w // 8, h // 8), "a.jpg")


@pytest.mark.parametrize(
    "scans",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xda\x00\x00",
        b"\xff\xd8\xff\xc0\x00\x11\x08",
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 20_000,
    ],
)
def test_broken_headers_of_jpegs_are_no_crash(scans: bytes) -> None:
    with pytest.raises(MediaError, match="cannot be read"):
        load(io.BytesIO(scans), None, "a.jpg")


def _tiff(entries: list[tuple[int, int, int, int]], order: str = "<") -> bytes:
    body = struct.pack(f"{order}H", len(entries)) + b"".join(struct.pack(f"{order}HHLL", *e) for e in entries)
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, 8) + body + bytes(4)


def test_scans_of_a_jpeg_in_a_tiff_are_counted() -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "TIFF", compression="jpeg")
    assert load(io.BytesIO(out.getvalue()), None, "a.tif").shape == (64, 64, 3)
    with pytest.raises(MediaError, match="made of too many scans"):
        load(io.BytesIO(out.getvalue() + b"\xff\xda" * 200), None, "a.tif")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bomb", [[(273, 4, 1 << 30, 0)], [(273, 3, 1 << 20, 0), (279, 3, 1, 0)]])
def test_tables_of_numbers_are_bounded(order: str, bomb: list[tuple[int, int, int, int]]) -> None:
    size = [(256, 3, 1, 8), (257, 3, 1, 8)]
    check_tags(io.BytesIO(_tiff(size, order)))
    with pytest.raises(HeaderError, match="hold more than"):
        check_tags(io.BytesIO(_tiff([*size, *bomb], order)))
    with pytest.raises(MediaError, match="hold more than"):
        load(io.BytesIO(_tiff([*size, *bomb], order)), None, "a.tif")


def test_tables_that_point_to_themselves_end() -> None:
    check_tags(io.BytesIO(_tiff([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8)])))
    deep = _tiff([(0x8769, 4, 1, 26)]) + struct.pack("<HHHLL", 1, 0x9003, 4, 1 << 28, 0)
    with pytest.raises(HeaderError, match="hold more than"):
        check_tags(io.BytesIO(deep))


def test_tags_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A table of 64 KB with 3,000 tags, each of which is the whole table: 200 MB for older versions of Pillow."""
    many = _tiff([(number, 7, 60_000, 0) for number in range(1000, 4000)]).ljust(65_000, b"\0")
    few = _tiff([(number, 7, 60_000, 0) for number in range(1000, 1010)]).ljust(65_000, b"\0")
    data = _jpeg()
    for table, mark in ((many, b"Exif\0\0"), (many, b"MPF\0"), (few, b"Exif\0\0")):
        kind = b"\xff\xe1" if mark.startswith(b"Exif") else b"\xff\xe2"
        segment = kind + struct.pack(">H", 2 + len(mark) + len(table)) + mark + table
        file = io.BytesIO(data[:2] + segment + data[2:])
        if table is few:
            assert load(file, None, "a.jpg").shape == (64, 64, 3)
            continue
        with pytest.raises(MediaError, match="hold the same bytes again and again"):
            load(file, None, "a.jpg")


def test_exif_of_any_size_is_not_parsed() -> None:
    data = _jpeg()
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + b"Exif\0\0" + _tiff([(274, 3, 1, 6)]).ljust(65_527, b"\0")
    assert load(io.BytesIO(data[:2] + segment + data[2:]), None, "a.jpg").shape == (64, 64, 3)
    with pytest.raises(MediaError, match="its EXIF data are larger than 1 MB"):
        load(io.BytesIO(data[:2] + segment * 20 + data[2:]), None, "a.jpg")


def _png(width: int, height: int, kind: int, depth: int, more: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _webp(width: int, height: int, form: str) -> bytes:
    if form == "VP8X":
        body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif form == "VP8L":
        body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(9)
    else:
        body = b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(4)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + form.encode() + struct.pack("<I", len(body)) + body


TOO_LARGE = {
    "grey": _png(16_000, 6_000, 0, 8),
    "deep": _png(16_000, 6_000, 0, 16),
    "alpha": _png(16_000, 6_000, 6, 16),
    "colours": _png(16_000, 6_000, 2, 8),
    "long": _png(1 << 20, 1, 0, 8),
    **{f"webp {form}": _webp(16_000, 16_000, form.ljust(4)) for form in ("VP8", "VP8L", "VP8X")},
    "webp in budget of pixels": _webp(12_000, 8_000, "VP8X"),
    "progressive": _at(_jpeg(progressive=True), 11_000, 9_000),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_a_header_claims_is_refused_before_it_is_decoded(name: str) -> None:
    with pytest.raises(MediaError, match=r"exceeds the limit|would take [\d,]+ MB of memory, and the limit is 512 MB"):
        load(io.BytesIO(TOO_LARGE[name]), None, "a.png")


def test_the_budget_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _png(4000, 4000, 2, 8)
    monkeypatch.setenv(VARIABLE, "100")
    with pytest.raises(MediaError, match=r"would take 107 MB of memory, and the limit is 100 MB; set VIDMEM_BUDGET_MB"):
        load(io.BytesIO(data), None, "a.png")
    monkeypatch.setenv(VARIABLE, "110")
    with pytest.raises(MediaError, match="truncated"):  # it gets as far as the pixels
        load(io.BytesIO(data), None, "a.png")
    for wrong in ("0", "-1", "many", "1e3", "9" * 20, "٣"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(VidmemError, match="is a number of MB from 1 to"):
            load(io.BytesIO(data), None, "a.png")


def test_a_tile_of_a_tiff_counts() -> None:
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (277, 3, 1, 1)]
    tiles = [(322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 0), (325, 4, 1, 100)]
    with pytest.raises(MediaError, match="would take"):
        load(io.BytesIO(_tiff([*entries, *tiles])), None, "a.tif")


def test_a_picture_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, kind in ((tmp_path / "pipe.jpg", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(MediaError, match=f"it is {kind}, not a file|Is a directory"):
            load(str(path), None, str(path))
        with pytest.raises(MediaError, match=f"it is {kind}, not a file|Is a directory"):
            load_picture(path)


def test_a_turned_tiff_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.arange(32 * 16 * 3, dtype=np.uint8).reshape(16, 32, 3)).save(tmp_path / "a.tif", exif=exif)
    Image.fromarray(np.arange(32 * 16 * 3, dtype=np.uint8).reshape(16, 32, 3)).save(tmp_path / "a.png", exif=exif)
    for shape in (None, lambda w, h: (w, h)):
        turned = load(str(tmp_path / "a.tif"), shape, "a.tif")
        assert turned.shape == (32, 16, 3)
        np.testing.assert_array_equal(turned, load(str(tmp_path / "a.png"), shape, "a.png"))


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_text_of_a_png_is_bounded(name: bytes) -> None:
    bomb = zlib.compress(bytes(100 << 20))
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[name]
    body = head + bomb
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    data = _saved("PNG")
    tracemalloc.start()
    with suppress(MediaError):  # bad texts are refused, a bad profile is left out
        load(io.BytesIO(data[:33] + chunk + data[33:]), None, "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
