"""The picture in a message: compressed ones through Pillow, raw ones in the encodings of ROS and Foxglove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ...errors import MediaError
from ...limits import check_bytes, check_size
from ..base import Shape
from ..images import load
from .base import content_of

Pixels = NDArray[np.uint8]

_SAME = {  # encoding -> (FFmpeg's name, bytes per pixel)
    "rgb8": ("rgb24", 3),
    "bgr8": ("bgr24", 3),
    "8uc3": ("bgr24", 3),  # OpenCV's order, as cv_bridge has it
    "rgba8": ("rgba", 4),
    "bgra8": ("bgra", 4),
    "8uc4": ("bgra", 4),
    "mono8": ("gray", 1),
    "8uc1": ("gray", 1),
    "yuyv": ("yuyv422", 2),
    "yuv422_yuy2": ("yuyv422", 2),
    "yuyv422": ("yuyv422", 2),
    "bayer_rggb8": ("bayer_rggb8", 1),
    "bayer_bggr8": ("bayer_bggr8", 1),
    "bayer_gbrg8": ("bayer_gbrg8", 1),
    "bayer_grbg8": ("bayer_grbg8", 1),
}


def still(value: Any, shape: Shape | None, path: str) -> Pixels:
    """The picture `(H, W, 3)` RGB in a CompressedImage. Raises MediaError if it cannot be read."""
    form = str(getattr(value, "format", ""))
    if "compressedDepth" in form:
        raise MediaError(f"a depth picture ({form}) has no colours; choose a colour topic: {path}")
    try:
        return load(BytesIO(content_of(value)), shape, path)
    except MediaError as error:
        raise MediaError(f"format {form!r}: {error}") from None


def raw(value: Any, shape: Shape | None, path: str) -> Pixels:
    """The picture `(H, W, 3)` RGB in an Image or a RawImage. Raises MediaError if it cannot be read."""
    width, height, step = int(value.width), int(value.height), int(value.step)
    if width <= 0 or height <= 0:
        raise MediaError(f"a raw picture of {width}x{height} pixels is empty: {path}")
    check_size(width, height, path)
    encoding = str(value.encoding).lower()
    check_bytes(16 * width * height, f"a raw picture of {width}x{height}", path)  # with 16 bits, and what is made of it
    picture = _Raw(
        np.frombuffer(value.data, np.uint8), width, height, step, bool(getattr(value, "is_bigendian", 0)), path
    )
    if encoding in _SAME:
        name, channels = _SAME[encoding]
        return _to_rgb(picture.channels(channels), name, shape, path)
    if encoding in _CONVERTED:
        pixels, name = _CONVERTED[encoding](picture)
        return _to_rgb(pixels, name, shape, path)
    known = ", ".join([*_SAME, *_CONVERTED])
    raise MediaError(f"raw pictures in {value.encoding!r} cannot be read; {known} can: {path}")


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """A raw picture. step: bytes of a row with its padding, 0 without padding. big_endian: of values of 16 bits."""

    data: Pixels
    width: int
    height: int
    step: int
    big_endian: bool
    path: str

    def rows(self, row: int, height: int) -> Pixels:
        """`height` rows of `row` bytes each, `(height, row)`, without their padding."""
        step, data = self.step or row, self.data
        if step < row or len(data) < step * (height - 1) + row:
            raise MediaError(f"a raw picture has {len(data)} bytes, fewer than its size needs: {self.path}")
        if step * height <= len(data):
            return np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :row])
        out = np.empty((height, row), np.uint8)  # the last row needs no padding, which may be of any length
        out[:-1] = data[: step * (height - 1)].reshape(height - 1, step)[:, :row]
        out[-1] = data[step * (height - 1) :][:row]
        return out

    def channels(self, count: int) -> Pixels:
        """The pixels `(H, W, count)` of 8 bits a channel; `(H, W)` for one channel."""
        return self._split(self.rows(self.width * count, self.height), count)

    def deep_channels(self, count: int) -> Pixels:
        """The same from 16 bits a channel, scaled by the full range: a picture's own range would make it flicker."""
        wide = self.rows(2 * self.width * count, self.height).view(">u2" if self.big_endian else "<u2")
        return self._split((wide >> 8).astype(np.uint8), count)

    def _split(self, rows: Pixels, count: int) -> Pixels:
        return rows if count == 1 else rows.reshape(self.height, self.width, count)


def _deep(name: str, count: int) -> Callable[[_Raw], tuple[Pixels, str]]:
    return lambda picture: (picture.deep_channels(count), name)


def _uyvy(picture: _Raw) -> tuple[Pixels, str]:
    return np.ascontiguousarray(picture.channels(2)[..., ::-1]), "yuyv422"


def _nv12(picture: _Raw) -> tuple[Pixels, str]:
    if picture.width % 2 or picture.height % 2:
        raise MediaError(f"an nv12 picture of {picture.width}x{picture.height} has odd sides: {picture.path}")
    return picture.rows(picture.width, picture.height * 3 // 2), "nv12"


_CONVERTED: dict[str, Callable[[_Raw], tuple[Pixels, str]]] = {
    "mono16": _deep("gray", 1),
    "uyvy": _uyvy,
    "yuv422": _uyvy,
    "uyvy422": _uyvy,
    "yuv422_uyvy": _uyvy,
    "nv12": _nv12,
    "rgb16": _deep("rgb24", 3),
    "bgr16": _deep("bgr24", 3),
    "rgba16": _deep("rgba", 4),
    "bgra16": _deep("bgra", 4),
}
"""Encoding -> the pixels, and FFmpeg's name of their format."""


def _to_rgb(pixels: Pixels, name: str, shape: Shape | None, path: str) -> Pixels:
    try:
        return of_frame(av.VideoFrame.from_ndarray(pixels, name), shape, VideoReformatter())
    except (ValueError, av.error.FFmpegError) as error:
        raise MediaError(f"a picture in {name} cannot be made RGB ({error}): {path}") from None


def of_frame(frame: av.VideoFrame, shape: Shape | None, reformatter: VideoReformatter) -> Pixels:
    """Convert a decoded frame to RGB `(H, W, 3)` in the wanted size."""
    width, height = frame.width, frame.height
    if shape is not None:
        width, height = shape(width, height)
    rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA")
    return np.ascontiguousarray(rgb.to_ndarray(), dtype=np.uint8)
