"""One pass over the frames of a video file, in one of four ways from fast to careful.

Every way yields the same frames of an undamaged video. A fast way that cannot be sure of that raises DoubtError before
it yields a frame that could be wrong, and the caller goes on from there in the next way.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..limits import MAX_NS
from ..timecode import NS
from .base import Damage
from .container import open_video
from .lookahead import DoubtError, look_ahead
from .packets import VideoPacket, decode, demux
from .sampling import cell, exact_rate

_BACK_NS = NS  # seek this much further back: keyframes are found by decoding time, which runs ahead of display time


class Way(IntEnum):
    """How to read a video.

    SKIP does not decode frames that nothing needs. FAST decodes several frames at once. CAREFUL decodes one by one, so
    that damage spoils the same frames every time. WHOLE is CAREFUL from the start of the file, without seeking.
    """

    SKIP = 0
    FAST = 1
    CAREFUL = 2
    WHOLE = 3


@dataclass(frozen=True, slots=True)
class Clock:
    """From pts to nanoseconds, in integers: (pts * num - zero) / den. first_ns: time of the first frame."""

    num: int
    den: int
    zero: int
    first_ns: int

    def t_ns(self, pts: int) -> int:
        """Presentation time of `pts`, rounded down."""
        return (pts * self.num - self.zero) // self.den

    def pts(self, t_ns: int) -> int:
        """The last pts at or before t_ns."""
        return (t_ns * self.den + self.zero) // self.num


def read(
    path: str, way: Way, clock: Clock, start_ns: int, fps: float, damage: Damage
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (t_ns, frame), times strictly increasing, from a frame before start_ns, or from the first frame.

    Args:
        path: The video.
        way: How to read it. With SKIP, frames that are not sampled at fps may be missing.
        clock: The video's clock.
        start_ns: Where to begin.
        fps: Samples per second; only SKIP uses it.
        damage: Counts damage; must be empty. With the two fast ways it stays empty while frames are yielded.

    Raises:
        DoubtError: go on from the last time yielded in the next way. Never with WHOLE.
        MediaError: the file can no longer be opened.
    """
    fast = way <= Way.FAST
    with open_video(path, frame_threads=fast) as (container, stream):
        if way is Way.SKIP and (not fps or stream.codec_context.codec.name != "h264"):
            raise DoubtError
        packets: Iterable[VideoPacket] = demux(container, stream, damage)
        sure_ns = clock.first_ns
        sought = way is not Way.WHOLE and start_ns - _BACK_NS > clock.first_ns
        if sought:
            key, packets = _seek(container, stream, clock, start_ns, damage)
            sure_ns = key
        owed = _Owed(sure_ns)
        last_ns = sure_ns - 1
        for frame in _frames(stream, _plan(packets, way, clock, fps, owed), damage):
            if (fast and damage) or (sought and damage and last_ns < start_ns):
                raise DoubtError  # after damage, the frames depend on threads and on where decoding began
            t_ns = clock.t_ns(frame.pts) if frame.pts is not None else None
            if t_ns is not None and t_ns >= MAX_NS:
                t_ns = None
            if t_ns is None or t_ns <= last_ns:
                if t_ns is None or t_ns >= sure_ns:
                    damage.frames += 1
                    damage.note("a frame without a time, or out of order")
                continue
            if fast:
                owed.pay(t_ns)
            last_ns = t_ns
            yield t_ns, frame
        if fast and (damage or owed):
            raise DoubtError


class _Owed:
    """Times of the frames that must come out of the decoder, which may lose some silently."""

    def __init__(self, from_ns: int) -> None:
        self._from_ns = from_ns
        self._times: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._times)

    def add(self, t_ns: int) -> None:
        if t_ns >= self._from_ns:
            heapq.heappush(self._times, t_ns)

    def pay(self, t_ns: int) -> None:
        """Take the time of a frame that came out. Raises DoubtError if an earlier frame is missing."""
        if self._times and self._times[0] < t_ns:
            raise DoubtError
        if self._times and self._times[0] == t_ns:
            heapq.heappop(self._times)


def _seek(
    container: InputContainer, stream: VideoStream, clock: Clock, start_ns: int, damage: Damage
) -> tuple[int, Iterator[VideoPacket]]:
    """The time of a keyframe shown before start_ns, and the packets from it on. Raises DoubtError without one."""
    try:
        container.seek(clock.pts(start_ns - _BACK_NS), stream=stream)
    except av.error.FFmpegError:
        raise DoubtError from None
    packets = demux(container, stream, damage)
    key = next((packet for packet in packets if packet.is_keyframe), None)
    if key is None or key.pts is None or clock.t_ns(key.pts) >= start_ns:
        raise DoubtError

    def from_key() -> Iterator[VideoPacket]:
        yield key
        yield from packets

    return clock.t_ns(key.pts), from_key()


def _plan(
    packets: Iterable[VideoPacket], way: Way, clock: Clock, fps: float, owed: _Owed
) -> Iterator[tuple[VideoPacket, bool]]:
    """Yield each packet with whether its own frame is needed; note the frames that are owed."""
    if way >= Way.CAREFUL:
        for packet in packets:
            yield packet, True
        return
    if way is Way.SKIP:
        rate = exact_rate(fps)

        def cell_of(pts: int) -> int:
            t_ns = clock.t_ns(pts)
            return cell(t_ns - clock.first_ns, rate) if t_ns >= clock.first_ns else -1

        planned: Iterable[tuple[VideoPacket, bool]] = look_ahead(packets, cell_of)
    else:
        planned = ((packet, True) for packet in packets)
    for packet, wanted in planned:
        if packet.pts is None:
            raise DoubtError
        if wanted and not packet.is_discard:
            owed.add(clock.t_ns(packet.pts))
        yield packet, wanted


def _frames(stream: VideoStream, planned: Iterable[tuple[VideoPacket, bool]], damage: Damage) -> Iterator[VideoFrame]:
    """Decode all packets, including the frames held back in the decoder."""
    for packet, wanted in planned:
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
        yield from decode(stream, packet, damage)
    yield from decode(stream, None, damage)
