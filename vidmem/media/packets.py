"""Reading and decoding packet by packet: a damaged packet costs one packet, not the file."""

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

_MAX_READ_ERRORS = 100  # in a row; else a reader that cannot get past a fault would never end


def demux(container: InputContainer, stream: VideoStream, damage: Damage) -> Iterator[VideoPacket]:
    """Yield the packets of `stream` from the container's position to its end; count read errors in `damage`."""
    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                errors = 0
                if packet.is_corrupt:
                    damage.packets += 1
                    damage.note("a packet is cut off or marked as damaged")
                if packet.size:  # to the decoder, an empty packet is the end of the stream
                    yield packet
            return
        except av.error.FFmpegError as error:
            errors += 1
            damage.packets += 1
            damage.note(f"reading: {error.strerror}")


def decode(stream: VideoStream, packet: VideoPacket | None, damage: Damage) -> list[VideoFrame]:
    """Decode `packet`, None at the end, and return the undamaged frames that come out; count damage in `damage`."""
    try:
        frames = stream.codec_context.decode(packet)
    except av.error.FFmpegError as error:
        if packet is None or not packet.is_corrupt:  # a corrupt one was counted when it was read
            damage.packets += 1
        damage.note(f"decoding: {error.strerror}")
        return []
    sound = [frame for frame in frames if not frame.is_corrupt]
    if len(sound) < len(frames):
        damage.frames += len(frames) - len(sound)
        damage.note("a frame came out damaged")
    return sound
