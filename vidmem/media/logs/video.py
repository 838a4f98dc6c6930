"""Video in messages (foxglove.CompressedVideo): one H.264 or H.265 picture each, Annex B, no B-frames.

After a loss or damage, the pictures before the next keyframe are left out: how they decode depends on where decoding
began, and a resumed pass must give what an uninterrupted one gives.
"""

from __future__ import annotations

import re
from typing import Any

import av
import av.error
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from ...errors import MediaError
from ...limits import check_frame, max_video_pixels
from ..base import Damage
from .base import content_of

_START = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_CODECS = {"h264": "h264", "avc": "h264", "h265": "hevc", "hevc": "hevc"}
_H264_KEY = frozenset({5})  # an IDR slice
_H265_KEY = frozenset(range(16, 24))  # the slices that random access may begin with
_HEAD = 4096  # bytes: parameter sets and the head of the first slice come first


def codec_of(value: Any, path: str) -> str:
    """FFmpeg's name of a message's codec. Raises MediaError for others than H.264 and H.265."""
    name = str(value.format).lower()
    if name not in _CODECS:
        raise MediaError(f"video in {value.format!r} cannot be read from logs; h264 and h265 can: {path}")
    return _CODECS[name]


def is_key(data: bytes, codec: str) -> bool:
    """Return True if decoding may begin with this picture."""
    for match in _START.finditer(data, 0, len(data) if len(data) < _HEAD else _HEAD):
        head = match[1][0]
        kind = head & 0x1F if codec == "h264" else head >> 1 & 0x3F
        if kind in (_H264_KEY if codec == "h264" else _H265_KEY):
            return True
    return False


class Decoder:
    """Decodes the messages of one topic in order, into (number, frame) with the number given to `feed`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._codec = ""
        self._context: VideoCodecContext | None = None
        self._lost = False  # since the last keyframe

    def feed(self, number: int, value: Any, damage: Damage) -> list[tuple[int, av.VideoFrame]]:
        """Decode message `number` and return the frames that come out; count damage in `damage`.

        Raises:
            MediaError: an unsupported codec, or a picture beyond the limits.
        """
        codec, data = codec_of(value, self._path), content_of(value)
        key = is_key(data, codec)
        out: list[tuple[int, av.VideoFrame]] = []
        if key and (self._context is None or self._lost or codec != self._codec):
            out = self.flush(damage)
            self._context, self._codec, self._lost = _context(codec), codec, False
        if self._context is None or self._lost:
            damage.frames += 1
            damage.note(
                "video pictures before the first keyframe"
                if self._context is None
                else "video pictures between damage and the next keyframe"
            )
            return out
        packet = av.Packet(data)
        packet.pts = packet.dts = number
        return out + self._decode(packet, damage)

    def flush(self, damage: Damage) -> list[tuple[int, av.VideoFrame]]:
        """Return the frames held back in the decoder; the next message must be a keyframe."""
        out = [] if self._context is None or self._lost else self._decode(None, damage)
        self._context = None
        return out

    def lose(self, damage: Damage) -> list[tuple[int, av.VideoFrame]]:
        """Note that messages are missing here, and return the frames from before; none follow until a keyframe."""
        return self.flush(damage)

    def _decode(self, packet: av.Packet[Any] | None, damage: Damage) -> list[tuple[int, av.VideoFrame]]:
        assert self._context is not None
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            damage.packets += 1
            damage.note(f"decoding: {error.strerror}")
            self._lost = True
            return []
        out = []
        for frame in frames:
            if frame.is_corrupt or frame.pts is None:
                damage.frames += 1
                damage.note("a frame came out damaged")
                self._lost = True
                break
            check_frame(frame.width, frame.height, frame.format.padded_bits_per_pixel, self._path)
            out.append((frame.pts, frame))
        return out


def _context(codec: str) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1  # several threads lose frames at a break in ways that differ from run to run
    context.flags |= Flags.low_delay
    context.options = {"max_pixels": str(max_video_pixels()), "err_detect": "explode"}
    return context
