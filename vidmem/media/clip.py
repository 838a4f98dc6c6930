"""Cutting a clip out of a video."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import chain, takewhile

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MediaError
from ..records import Frame
from ..replacing import replacing
from .base import Shape, Source
from .opening import open_source

_TICK_NS = 1000  # time base of the clip: a microsecond keeps the times of any source


Drawn = Callable[[Frame], Frame]
"""A function applied to each frame of a clip, for example to draw on it."""


def save_clip(path_in: str, path_out: str, start_ns: int, end_ns: int, drawn: Drawn | None = None) -> None:
    """Write the pictures from start_ns to end_ns to path_out: H.264 in MP4, no sound.

    Times are kept to the microsecond, also at a variable frame rate; the first frame is at 0. Pictures are upright; an
    odd last row or column is cut off, since H.264 needs even sides. Nothing is left at path_out on failure.

    Args:
        path_in: A source, as `open_source` takes it.
        path_out: The MP4.
        start_ns: Start; the picture on display then is the first one.
        end_ns: End, inclusive.
        drawn: Applied to each frame.

    Raises:
        MediaError: path_in cannot be read, path_out cannot be written, or the span is empty.
    """
    if end_ns < start_ns:
        raise MediaError(f"the span ends at {end_ns} ns, before it starts at {start_ns} ns; swap them: {path_in}")
    with open_source(path_in) as source:
        cut_clip(source, path_out, start_ns, end_ns, drawn)


def cut_clip(
    source: Source,
    path_out: str,
    start_ns: int,
    end_ns: int,
    drawn: Drawn | None = None,
    *,
    fps: float = 0,
    shape: Shape | None = None,
) -> None:
    """`save_clip` of an open source.

    Args:
        source: It.
        path_out: The MP4.
        start_ns: Start; the picture on display then is the first one.
        end_ns: End, inclusive.
        drawn: Applied to each frame.
        fps: Maximum number of frames a second; 0 for all.
        shape: The size in which pictures are wanted; by default their own.
    """
    if os.path.realpath(source.path) == os.path.realpath(path_out):
        raise MediaError(f"the clip would overwrite its source; choose another name: {path_out}")
    first = source.frame_at(start_ns)
    if shape is not None:
        first = Frame(_resized(first.image, shape), first.t_ns, first.index, first.mark)
    rest = takewhile(lambda frame: frame.t_ns <= end_ns, source.frames(fps, first.t_ns + 1, shape=shape))
    frames = chain([first], rest)
    save_frames(frames if drawn is None else map(drawn, frames), path_out)


def clip_data(
    source: Source,
    start_ns: int,
    end_ns: int,
    drawn: Drawn | None = None,
    *,
    fps: float = 0,
    shape: Shape | None = None,
) -> bytes:
    """The MP4 of `cut_clip` as bytes. It is written to the folder of temporary files, which needs room for it.

    Raises:
        MediaError: It cannot be written, or the frames cannot be read.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="vidmem-") as folder:
            path = os.path.join(folder, "clip.mp4")
            cut_clip(source, path, start_ns, end_ns, drawn, fps=fps, shape=shape)
            with open(path, "rb") as file:
                return file.read()
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"the clip cannot be written ({cause}); make room for temporary files") from None


def _resized(image: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    size = shape(image.shape[1], image.shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def save_frames(frames: Iterable[Frame], path_out: str) -> None:
    """Write frames, in order of time, to path_out like `save_clip`.

    Raises:
        MediaError: path_out cannot be written, or the frames cannot be read.
    """
    try:
        with replacing(path_out) as part:
            _write(frames, part)
    except (av.error.FFmpegError, OSError) as error:
        cause = error.strerror or str(error)
        raise MediaError(f"the clip cannot be written ({cause}); check the folder and the disk: {path_out}") from None


def _write(frames: Iterable[Frame], path: str) -> None:
    clock = Fraction(_TICK_NS, 1_000_000_000)
    first_ns: int | None = None
    with av.open(f"file:{path}", "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = clock
        for frame in frames:
            image = frame.image[: frame.image.shape[0] // 2 * 2, : frame.image.shape[1] // 2 * 2]
            if first_ns is None:
                first_ns = frame.t_ns
                stream.height, stream.width = image.shape[:2]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            picture = picture.reformat(stream.width, stream.height, "yuv420p")
            picture.pts, picture.time_base = (frame.t_ns - first_ns) // _TICK_NS, clock
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
