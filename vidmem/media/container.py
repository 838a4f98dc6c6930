"""Opening a video file with PyAV, safely: local files, known formats, bounded pictures; and why it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import MediaError
from ..limits import LEAST_BITS, check_frame, check_regular, max_video_pixels
from .recorded import Recorded, from_tags

# Formats that contain pictures. Playlists (hls, dash, concat) are left out on purpose: they name other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,asf,ogg,mxf,gif,dv,nut,"
    "h264,hevc,av1,obu,ivf,yuv4mpegpipe,rm,wtv,apng"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS, "fflags": "+genpts"}

_MAX_STREAMS = 64
_THREADS = 2  # more gain little below 4K, and the encoder needs the other cores


@contextmanager
def open_video(path: str, *, frame_threads: bool) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a container and its main video stream for decoding.

    frame_threads: decode several frames at once. This is twice as fast, but a damaged packet then spoils the frames
    around it in ways that differ from run to run.

    Raises:
        MediaError: not a video, no pictures in it, no decoder for it, or pictures beyond the limits.
    """
    check_regular(path)
    limit = {"max_pixels": str(max_video_pixels())}
    try:
        container = _opened(path, limit)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{_why(path, error)}: {path}") from None
    try:
        stream = _main_stream(container, path)
        stream.codec_context.options = limit
        stream.thread_count = _THREADS
        stream.codec_context.thread_type = "AUTO" if frame_threads else "SLICE"
        yield container, stream
    finally:
        container.close()


def _opened(path: str, limit: dict[str, str]) -> InputContainer:
    """Open a container. limit: options for its streams, of which FFmpeg decodes a little when it opens the file."""
    options: Any = [limit] * _MAX_STREAMS
    try:
        return av.open(f"file:{path}", container_options=_OPTIONS, stream_options=options, metadata_errors="ignore")
    except ValueError as error:
        if "stream_options" not in str(error):
            raise
    # MPEG-TS and PS make their streams only while they are decoded, and PyAV then refuses options for them.
    return av.open(f"file:{path}", container_options=_OPTIONS, metadata_errors="ignore")


def from_container(path: str) -> Recorded | None:
    """The recording time in a video's container; None if it has none, or cannot be read."""
    try:
        with open_video(path, frame_threads=False) as (container, stream):
            return from_tags(container.metadata, stream.metadata)
    except MediaError:
        return None


def _main_stream(container: InputContainer, path: str) -> VideoStream:
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not pictures:
        kinds = " and ".join(sorted({s.type for s in container.streams})) or "no stream"
        raise MediaError(f"the file has no video, only {kinds}; give a file that has one: {path}")
    best = container.streams.best("video")
    stream = next((s for s in pictures if best is not None and s.index == best.index), pictures[0])
    if stream.codec_context is None:
        raise MediaError(f"no decoder for the video in this file; convert it to H.264: {path}")
    bits = LEAST_BITS if stream.format is None else stream.format.padded_bits_per_pixel
    check_frame(stream.width, stream.height, bits, path)
    return stream


def _why(path: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read the file; change its rights"
    try:
        if os.path.getsize(path) == 0:
            return "the file is empty (0 bytes); copy or record it again"
        if _lacks_index(path):
            return "the recording was cut off before its index (moov) was written; repair it, e.g. with untrunc"
    except OSError as fault:
        return f"the file cannot be read ({fault.strerror}); check the disk"
    return "not a video that FFmpeg can read; check that the file is a video and was copied whole"


def _lacks_index(path: str) -> bool:
    """Return True for an MP4 or QuickTime file without a top-level moov box."""
    kinds: list[bytes] = []
    with open(path, "rb") as file:
        while len(header := file.read(8)) == 8 and len(kinds) < 1000:
            size, kind = int.from_bytes(header[:4], "big"), header[4:]
            kinds.append(kind)
            if size == 1:
                size = int.from_bytes(file.read(8), "big") - 8
            if size < 8:  # size 0: the box extends to the end of the file
                break
            file.seek(size - 8, os.SEEK_CUR)
    return bool(kinds) and kinds[0] in (b"ftyp", b"mdat", b"wide", b"skip") and b"moov" not in kinds
