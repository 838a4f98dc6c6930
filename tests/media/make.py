"""Small videos whose pictures say which frame they are, made when the tests run."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.codec
import numpy as np
import pytest
from numpy.typing import NDArray

BITS = 8
WIDTH, HEIGHT = 128, 96


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """`number` as eight black or white bars in the lower half; the upper left quarter red, the upper right green."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    for bit in range(BITS):
        if number >> bit & 1:
            image[height // 2 :, bit * width // BITS : (bit + 1) * width // BITS] = 255
    return image


def number_in(image: NDArray[np.uint8]) -> int:
    """The number that `picture` wrote; fails when the bars are not clear or the picture is not upright."""
    height, width = image.shape[:2]
    red, green = image[height // 4, width // 4], image[height // 4, 3 * width // 4]
    assert red[1] < 100 < 150 < red[0], f"upper left is {red}, not red"
    assert green[0] < 100 < 150 < green[1], f"upper right is {green}, not green"
    row = image[height * 3 // 4].astype(int).mean(axis=1)
    bars = [row[(2 * bit + 1) * width // (2 * BITS)] for bit in range(BITS)]
    assert all(bar < 90 or bar > 165 for bar in bars), f"bars are not clear: {bars}"
    return sum(1 << bit for bit, bar in enumerate(bars) if bar > 127)


def video(
    path: Path,
    ticks: Sequence[int] = range(60),
    time_base: Fraction = Fraction(1, 30),
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    degrees: int = 0,
    turn: int = 0,
    hflip: bool = False,
    first: int = 0,
) -> Path:
    """Write frame i, showing first + i, at ticks[i] * time_base. turn: quarter turns (counterclockwise) of the pixels;
    degrees, hflip: the display matrix. Skips the test when this build has no such encoder."""
    require_encoder(codec)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=round(1 / time_base) if time_base > Fraction(1, 240) else 30)
        width, height = size if turn % 2 == 0 else size[::-1]
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.options = options or {}
        stream.codec_context.time_base = stream.time_base = time_base
        if degrees or hflip:
            stream.set_display_rotation(degrees, hflip=hflip)
        for number, tick in enumerate(ticks):
            image = picture(first + number, *size)
            image = np.ascontiguousarray(np.rot90(image[:, ::-1] if hflip else image, turn))
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def audio(path: Path) -> Path:
    """An MP4 with sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        for i in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def require_encoder(codec: str) -> None:
    try:
        av.codec.Codec(codec, "w")
    except Exception:
        pytest.skip(f"this PyAV has no encoder {codec}")


def damage(path: Path, at: float, share: float = 0.02) -> Path:
    """Overwrite a `share` of the file's media data, from the share `at` of it on, with noise."""
    data = bytearray(path.read_bytes())
    start, size = _media_data(data)
    place, length = start + int(size * at), int(size * share)
    data[place : place + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of the file's media data. The file needs its index in front (faststart)."""
    data = path.read_bytes()
    start, size = _media_data(data)
    path.write_bytes(data[: start + int(size * share)])
    return path


def set_edit_start(path: Path, media_time: int) -> Path:
    """Let an MP4 begin `media_time` ticks of its track's clock into the media, as a trimmed phone clip does."""
    data = bytearray(path.read_bytes())
    place = data.find(b"elst")
    assert place > 0, "no edit list to patch"
    version, count = data[place + 4], struct.unpack_from(">I", data, place + 8)[0]
    assert (version, count) == (0, 1), f"edit list of version {version} with {count} entries"
    struct.pack_into(">i", data, place + 16, media_time)
    path.write_bytes(data)
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write the display matrix of an MP4's first track header, as a phone would."""
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 4 + 40  # version 0: the matrix lies 40 bytes into the box
    struct.pack_into(">9i", data, place, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def _media_data(data: bytes | bytearray) -> tuple[int, int]:
    place = data.find(b"mdat")
    return place + 4, struct.unpack_from(">I", data, place - 4)[0] - 8
