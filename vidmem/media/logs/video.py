"""Video in messages (foxglove.CompressedVideo): one H.264 or H.265 picture each, Annex B, no B-frames.

After anything that is lost or damaged, what comes before the next keyframe is left out: what a decoder makes of it
depends on where decoding began, and resuming must give what an uninterrupted pass gives.
"""

from __future__ import annotations

import re
from typing import Any

import av
import av.error
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from ...errors import MediaError
from ..base import MAX_PIXELS, Damage, check_size

_START = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_CODECS = {"h264": "h264", "avc": "h264", "h265": "hevc", "hevc": "hevc"}
_H264_KEY = frozenset({5})  # an IDR slice
_H265_KEY = frozenset(range(16, 24))  # the slices that random access may begin with
_HEAD = 4096  # bytes: parameter sets and the first slice's head lie in front


def codec_of(value: Any, path: str) -> str:
    """FFmpeg's name of the codec of a message. Raises MediaError for others than H.264 and H.265."""
    told = str(value.format).lower()
    if told not in _CODECS:
        raise MediaError(f"video in {value.format!r} is not read from logs; h264 and h265 are: {path}")
    return _CODECS[told]


def is_key(data: bytes, codec: str) -> bool:
    """Whether decoding may begin with this picture."""
    for match in _START.finditer(data, 0, len(data) if len(data) < _HEAD else _HEAD):
        head = match[1][0]
        kind = head & 0x1F if codec == "h264" else head >> 1 & 0x3F
        if kind in (_H264_KEY if codec == "h264" else _H265_KEY):
            return True
    return False


class Decoder:
    """Decodes the messages of one topic in order. `frames` are (number, picture), number as given to `feed`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._codec = ""
        self._context: VideoCodecContext | None = None
        self._lost = False  # since the last keyframe

    def feed(self, number: int, value: Any, met: Damage) -> list[tuple[int, av.VideoFrame]]:
        """The pictures that come out when message `number` goes in; damage is counted in `met`.

        Raises:
            MediaError: a codec that is not read, or a picture beyond the limits.
        """
        codec, data = codec_of(value, self._path), bytes(value.data)
        key = is_key(data, codec)
        out: list[tuple[int, av.VideoFrame]] = []
        if key and (self._context is None or self._lost or codec != self._codec):
            out = self.flush(met)
            self._context, self._codec, self._lost = _context(codec), codec, False
        if self._context is None or self._lost:
            met.frames += 1
            met.note(
                "video pictures before the first keyframe"
                if self._context is None
                else "video pictures between damage and the next keyframe"
            )
            return out
        packet = av.Packet(data)
        packet.pts = packet.dts = number
        return out + self._decode(packet, met)

    def flush(self, met: Damage) -> list[tuple[int, av.VideoFrame]]:
        """The pictures that are held back in the decoder; the next message must be a keyframe."""
        out = [] if self._context is None or self._lost else self._decode(None, met)
        self._context = None
        return out

    def lose(self, met: Damage) -> list[tuple[int, av.VideoFrame]]:
        """Messages are missing here: the pictures from before, then none until a keyframe."""
        return self.flush(met)

    def _decode(self, packet: av.Packet[Any] | None, met: Damage) -> list[tuple[int, av.VideoFrame]]:
        assert self._context is not None
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            met.packets += 1
            met.note(f"decoding: {error.strerror}")
            self._lost = True
            return []
        out = []
        for frame in frames:
            if frame.is_corrupt or frame.pts is None:
                met.frames += 1
                met.note("a frame came out damaged")
                self._lost = True
                break
            check_size(frame.width, frame.height, self._path)
            out.append((frame.pts, frame))
        return out


def _context(codec: str) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1  # several lose frames at a break in ways that differ from run to run
    context.flags |= Flags.low_delay
    context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
    return context
