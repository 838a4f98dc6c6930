"""The picture in a message: compressed ones through Pillow, raw ones in the encodings of ROS and Foxglove."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ...errors import MediaError
from ..base import Shape, check_size
from ..images import load

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
        return load(BytesIO(bytes(value.data)), shape, path)
    except MediaError as error:
        raise MediaError(f"format {form!r}: {error}") from None


def raw(value: Any, shape: Shape | None, path: str) -> Pixels:
    """The picture `(H, W, 3)` RGB in an Image or a RawImage. Raises MediaError if it cannot be read."""
    width, height, step = int(value.width), int(value.height), int(value.step)
    if width <= 0 or height <= 0:
        raise MediaError(f"a raw picture of {width}x{height} pixels is empty: {path}")
    check_size(width, height, path)
    encoding = str(value.encoding).lower()
    data = np.frombuffer(value.data, np.uint8)
    if encoding in _SAME:
        name, pixel = _SAME[encoding]
        pixels = _rows(data, width * pixel, height, step, path)
        return to_rgb(pixels if pixel == 1 else pixels.reshape(height, width, pixel), name, shape, path)
    if encoding in _OTHERS:
        big = bool(getattr(value, "is_bigendian", 0))
        return _OTHERS[encoding](data, width, height, step, big, shape, path)
    known = ", ".join([*_SAME, *_OTHERS])
    raise MediaError(f"raw pictures in {value.encoding!r} cannot be read; {known} can: {path}")


def _rows(data: Pixels, row: int, height: int, step: int, path: str) -> Pixels:
    """The rows `(height, row)` in bytes, without their padding to `step` bytes."""
    step = step or row  # Foxglove: 0 where rows are not padded
    if step < row or len(data) < step * (height - 1) + row:
        raise MediaError(f"a raw picture has {len(data)} bytes, fewer than its size needs: {path}")
    if len(data) < step * height:  # the last row needs no padding
        data = np.concatenate([data, np.zeros(step * height - len(data), np.uint8)])
    return np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :row])


def _mono16(data: Pixels, width: int, height: int, step: int, big: bool, shape: Shape | None, path: str) -> Pixels:
    """Scaled by the full range of 16 bits: scaling by the picture's own range would flicker."""
    pixels = _rows(data, 2 * width, height, step, path).view(">u2" if big else "<u2")
    return to_rgb((pixels >> 8).astype(np.uint8), "gray", shape, path)


def _deep(order: str) -> Callable[..., Pixels]:
    def convert(data: Pixels, width: int, height: int, step: int, big: bool, shape: Shape | None, path: str) -> Pixels:
        channels = len(order)
        pixels = _rows(data, 2 * channels * width, height, step, path).view(">u2" if big else "<u2")
        wide = (pixels >> 8).astype(np.uint8).reshape(height, width, channels)
        return to_rgb(wide, {"rgb": "rgb24", "bgr": "bgr24", "rgba": "rgba", "bgra": "bgra"}[order], shape, path)

    return convert


def _uyvy(data: Pixels, width: int, height: int, step: int, big: bool, shape: Shape | None, path: str) -> Pixels:
    pixels = _rows(data, 2 * width, height, step, path).reshape(height, width, 2)[..., ::-1]
    return to_rgb(np.ascontiguousarray(pixels), "yuyv422", shape, path)


def _nv12(data: Pixels, width: int, height: int, step: int, big: bool, shape: Shape | None, path: str) -> Pixels:
    if width % 2 or height % 2:
        raise MediaError(f"an nv12 picture of {width}x{height} has odd sides: {path}")
    return to_rgb(_rows(data, width, height * 3 // 2, step, path), "nv12", shape, path)


_OTHERS: dict[str, Callable[..., Pixels]] = {
    "mono16": _mono16,
    "uyvy": _uyvy,
    "yuv422": _uyvy,
    "uyvy422": _uyvy,
    "yuv422_uyvy": _uyvy,
    "nv12": _nv12,
    "rgb16": _deep("rgb"),
    "bgr16": _deep("bgr"),
    "rgba16": _deep("rgba"),
    "bgra16": _deep("bgra"),
}


def to_rgb(pixels: Pixels, name: str, shape: Shape | None, path: str) -> Pixels:
    """Convert pixels in FFmpeg's format `name` to RGB `(H, W, 3)` in the wanted size."""
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
