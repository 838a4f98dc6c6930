"""The one place where picture files are opened: known formats only, within the memory budget, one kind of error.

Left to itself, Pillow tries some forty formats on a file, whatever its name, and hands some of them to other programs:
an EPS named .jpg starts Ghostscript.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import MediaError, VidmemError
from .limits import check_bytes, check_size, open_regular
from .picture_headers import (
    MAX_EXIF,
    MAX_SCANS,
    HeaderError,
    JpegHeader,
    check_tags,
    count_scans,
    jpeg_header,
    webp_canvas,
)

_PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "BMP": "Bmp", "GIF": "Gif", "TIFF": "Tiff"}
if int(PIL.__version__.partition(".")[0]) >= 13:  # before, the EXIF data of an AVIF took any amount of memory
    _PLUGINS["AVIF"] = "Avif"
FORMATS = tuple(_PLUGINS)
"""What may be opened, in Pillow's names. Files with several pictures give their first."""
_MAX_AVIF = 48 << 20
"""Maximum size of an AVIF file in bytes: Pillow parses its EXIF data, which may fill it, while it opens the file."""
_UNREADABLE = frozenset({".heic", ".heif"})

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes that Pillow stores for a pixel, by mode; 4 in all others, which have 2 to 4 channels of 8 bits, or 32 bits."""
_DECODER = {"WEBP": 12, "AVIF": 14, "GIF": 4}
"""Bytes for a pixel that a decoder holds beside: WebP two canvases and a copy, AVIF planes of 16 bits and a copy."""
_BAND = 256  # rows that are converted together


class Opened:
    """A picture file of which the header was read. image: its size, mode and format; nothing is decoded yet."""

    def __init__(self, image: Image.Image, path: object, what: str, jpeg: JpegHeader | None) -> None:
        self.image = image
        self._path, self._what, self._jpeg = path, what, jpeg

    def load(self, more: int = 0) -> Image.Image:
        """Decode the picture, in its own mode; return `image`.

        more: bytes for a pixel that the caller needs beside, for what it makes of the picture.

        Raises:
            MediaError: that would take more than the memory budget. Pillow's errors become MediaError at the end of the
                block of `opened`.
        """
        check_size(*self.image.size, str(self._path))
        width, height = self.image.size
        per_pixel = _STORED.get(self.image.mode, 4) + _DECODER.get(self.image.format or "", 0) + more
        needed = width * height * per_pixel + self._decoder_bytes()
        check_bytes(needed, f"{self._what}, {width}x{height} in mode {self.image.mode},", self._path)
        self.image.load()
        return self.image

    def _decoder_bytes(self) -> int:
        """Bytes that do not depend on the size in which the picture is decoded."""
        if self._jpeg is not None and self._jpeg.scans > 1:  # coefficients of 16 bits for the whole picture
            return 2 * self._jpeg.width * self._jpeg.height * self._jpeg.channels
        if self.image.format == "TIFF":
            return _strip_bytes(self.image)
        return 0

    def exif(self, more: int = 0) -> Image.Exif:
        """The EXIF data; none if they are larger than MAX_EXIF.

        A PNG is decoded for it, since they may come at its end. more: as in `load`.
        """
        if self.image.format == "PNG":
            self.load(more)
        for name in ("exif", "Raw profile type exif", "Raw profile type APP1"):
            found = self.image.info.get(name)
            if isinstance(found, bytes | str) and len(found) > 2 * MAX_EXIF:
                return Image.Exif()
            if isinstance(found, bytes):
                check_tags(io.BytesIO(found.removeprefix(b"Exif\0\0")))
        return self.image.getexif()


@contextmanager
def opened(
    file: str | os.PathLike[str] | IO[bytes],
    path: object = None,
    *,
    what: str = "the picture",
    remedy: str = "copy or export it again",
) -> Iterator[Opened]:
    """Open a picture file. Keep other work out of the block: whatever is raised in it is taken for a fault of the file.

    Args:
        file: Its path, or its content, seekable.
        path: Its name for errors; by default `file`.
        what: What it is, for errors.
        remedy: What to do about a damaged one, for errors.

    Raises:
        MediaError: it is missing, of another format, too large, damaged, or not a file but a pipe or a device.
    """
    path = file if path is None else path
    with reading(path, what, remedy):
        source = open_regular(file) if isinstance(file, str | os.PathLike) else nullcontext(file)
        with source as content:
            size = content.seek(0, os.SEEK_END)
            check_bytes(size, what, path)
            content.seek(0)
            head = content.read(32)
            if (canvas := webp_canvas(head)) is not None:
                check_size(*canvas, str(path))
                check_bytes(canvas[0] * canvas[1] * (_DECODER["WEBP"] + 4), what, path)
            if head[4:8] == b"ftyp" and size > _MAX_AVIF:
                raise HeaderError(f"it has {size >> 20} MB, and AVIF files of up to {_MAX_AVIF >> 20} MB are read")
            if head[:2] in (b"II", b"MM"):
                check_tags(content)
            jpeg = jpeg_header(content)
            content.seek(0)
            _register()
            with Image.open(content, formats=FORMATS) as image:
                check_size(*image.size, str(path))
                if image.format == "TIFF":
                    _check_tiff(image, content)
                yield Opened(image, path, what, jpeg)


@contextmanager
def reading(path: object, what: str, remedy: str) -> Iterator[None]:
    """Make one MediaError of all that a library raises on the content of a file. For the arguments see `opened`."""
    try:
        yield
    except VidmemError:
        raise
    except FileNotFoundError:
        raise MediaError(f"{what} is missing; check the path: {path}") from None
    except MemoryError:
        raise MediaError(f"{what} does not fit into memory; scale it down first: {path}") from None
    except Image.DecompressionBombError:
        raise MediaError(f"{what} is far too large; scale it down first: {path}") from None
    except UnidentifiedImageError:
        kind = os.path.splitext(str(path))[1].lower()
        if kind == ".avif" and "AVIF" not in FORMATS:
            raise MediaError(f"AVIF is read with Pillow 13; run pip install -U pillow: {path}") from None
        if kind in _UNREADABLE:
            raise MediaError(f"{kind[1:].upper()} cannot be read, save the picture as JPEG: {path}") from None
        raise MediaError(f"{what} cannot be read (not a picture); {remedy}: {path}") from None
    except Exception as error:  # Pillow and its decoders raise anything on damaged bytes
        raise MediaError(f"{what} cannot be read ({cause_of(error)}); {remedy}: {path}") from None


def cause_of(error: Exception) -> str:
    """The message of an error, on one line of at most 200 characters; its class, if it has none."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB with 8 bits a channel. One that is RGB already is returned itself."""
    if image.mode.startswith(("I", "F")):  # 16 bits a channel or more: Pillow would clip at 255
        image = _shallow(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def rgb_array(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels `(H, W, 3)` of a picture of any mode, in bands: NumPy's own conversion holds two more copies."""
    picture = rgb(image)
    width, height = picture.size
    out = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND):
        bottom = min(height, top + _BAND)
        out[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return out


def _shallow(image: Image.Image) -> Image.Image:
    """A grey picture of 8 bits from numbers: 0 to 255 if all are in there, else 0 to 65,535."""
    width, height = image.size
    bands = [(0, top, width, min(height, top + _BAND)) for top in range(0, height, _BAND)]
    largest = max((float(np.asarray(image.crop(band)).max(initial=0)) for band in bands), default=0.0)
    top_value = 255.0 if largest <= 255 else 65535.0
    out = Image.new("L", image.size)
    for band in bands:
        deep = np.nan_to_num(np.asarray(image.crop(band), dtype=np.float64), nan=0.0)
        out.paste(Image.fromarray((deep.clip(0, top_value) * (255.0 / top_value)).astype(np.uint8)), band[:2])
    return out


def _check_tiff(image: Image.Image, file: IO[bytes]) -> None:
    """Raise HeaderError if the JPEGs in a TIFF have far more scans than there are strips or tiles."""
    tags: Any = vars(image).get("tag_v2", {})
    if tags.get(259) not in (6, 7):
        return
    place = file.tell()
    parts = max(len(_several(tags.get(name, ()))) for name in (273, 324))
    if count_scans(file) > MAX_SCANS + 4 * parts:
        raise HeaderError("its JPEG data are made of too many scans, which would take minutes to decode")
    file.seek(place)


def _strip_bytes(image: Image.Image) -> int:
    """Bytes of the strip or tile that libtiff unpacks at once."""
    tags: Any = vars(image).get("tag_v2", {})
    depth = max((int(bits) for bits in _several(tags.get(258, 1))), default=1) * int(tags.get(277, 1))
    if 322 in tags:
        pixels = int(tags[322]) * int(tags.get(323, 0))
    else:
        pixels = image.width * min(int(tags.get(278, image.height)), image.height)
    return pixels * max(-(-depth // 8), 4)


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@functools.cache
def _register() -> None:
    """Make the formats known to Pillow, which otherwise loads all of its own."""
    for name in _PLUGINS.values():
        importlib.import_module(f"PIL.{name}ImagePlugin")
