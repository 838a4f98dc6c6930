"""Reading and decoding packet by packet, so that one damaged packet costs one packet and not the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .base import Damage

VideoPacket: TypeAlias = "Packet[VideoStream]"

_MAX_READ_ERRORS = 100  # in a row; a reader that cannot get past a fault would otherwise never end


def demux(container: InputContainer, stream: VideoStream, met: Damage) -> Iterator[VideoPacket]:
    """The packets of `stream` from where the container stands to its end; read errors are counted in `met`."""
    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                errors = 0
                if packet.is_corrupt:
                    met.packets += 1
                    met.note("a packet is cut off or marked as damaged")
                if packet.size:  # an empty one would tell the decoder that the stream has ended
                    yield packet
            return
        except av.error.FFmpegError as error:
            errors += 1
            met.packets += 1
            met.note(f"reading: {error.strerror}")


def decode(stream: VideoStream, packet: VideoPacket | None, met: Damage) -> list[VideoFrame]:
    """The sound frames that come out when `packet` goes in, None at the end; damage is counted in `met`."""
    try:
        frames = stream.codec_context.decode(packet)
    except av.error.FFmpegError as error:
        if packet is None or not packet.is_corrupt:  # those were counted when they were read
            met.packets += 1
        met.note(f"decoding: {error.strerror}")
        return []
    sound = [frame for frame in frames if not frame.is_corrupt]
    if len(sound) < len(frames):
        met.frames += len(frames) - len(sound)
        met.note("a frame came out damaged")
    return sound
