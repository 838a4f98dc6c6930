"""From messages to pictures with times. Late, duplicate and damaged ones are left out and counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ...errors import MediaError
from ...limits import MAX_NS
from ...records import Mark
from ..base import Damage, Shape
from . import pixels
from .base import Gap, LogReader, Message, MessageKind, stamp_ns, whole_number
from .video import Decoder


class Shot:
    """A picture in a log, decoded on demand. t_ns: its time on the source's clock."""

    __slots__ = ("_frame", "_path", "_value", "message", "t_ns")

    def __init__(self, message: Message, path: str, value: Any = None) -> None:
        self.message, self.t_ns = message, 0
        self._path, self._value = path, value
        self._frame: av.VideoFrame | None = None

    def value(self) -> Any:
        """The message's fields, decoded at the first call. Raises MediaError."""
        if self._value is None:
            try:
                self._value = self.message.decode()
            except MediaError:
                raise
            except Exception as error:  # decoders raise anything on damaged bytes
                raise MediaError(
                    f"a message cannot be decoded ({type(error).__name__}: {error}): {self._path}"
                ) from None
        return self._value

    def mark(self) -> Mark:
        """The picture's place in the log. ROS 1 numbers messages in their header."""
        value, number = self.value(), self.message.sequence
        if number is None:
            number = whole_number(getattr(getattr(value, "header", None), "seq", None))
        return Mark(self.message.log_ns, stamp_ns(value), number)

    def frame_id(self) -> str:
        """The name of the camera's frame; empty if the message has none."""
        value = self.value()
        return str(getattr(getattr(value, "header", value), "frame_id", ""))

    def decoded(self, frame: av.VideoFrame) -> Shot:
        """Set the picture, which came from a video decoder, and return this shot."""
        self._frame = frame
        return self

    def picture(self, shape: Shape | None) -> NDArray[np.uint8]:
        """The picture `(H, W, 3)` RGB. Raises MediaError if it cannot be read."""
        if self._frame is not None:
            return pixels.of_frame(self._frame, shape, VideoReformatter())
        value = self.value()
        read = pixels.still if self.message.kind is MessageKind.STILL else pixels.raw
        try:
            return read(value, shape, self._path)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:  # fields are missing or of other types
            raise MediaError(
                f"a message does not fit its schema {self.message.schema} ({error}): {self._path}"
            ) from None


class Shots:
    """The pictures of a topic.

    header: times are the sender's stamps. zero: subtracted from times, in ns since the epoch; None takes the time of
    the first picture.
    """

    def __init__(self, reader: LogReader, topic: str, path: str, *, header: bool, zero: int | None) -> None:
        self._reader, self._topic, self._path = reader, topic, path
        self._header = header
        self.zero = zero

    def read(self, log_ns: int, last_ns: int | None, damage: Damage) -> Iterator[Shot]:
        """Yield the pictures recorded at log_ns or later, times strictly increasing and above last_ns.

        last_ns is on the source's clock. Video should begin with a keyframe. Damage is counted in `damage`.
        """
        decoder = Decoder(self._path)
        waiting: dict[int, Shot | None] = {}
        number = 0

        def decoded(frames: list[tuple[int, av.VideoFrame]]) -> Iterator[Shot]:
            for at, frame in frames:
                shot = waiting.pop(at, None)
                for older in [n for n in waiting if n < at]:
                    del waiting[older]
                if shot is not None:
                    yield shot.decoded(frame)

        for item in self._reader.messages([self._topic], log_ns, damage):
            if isinstance(item, Gap):
                yield from decoded(decoder.lose(damage))
                continue
            shot = Shot(item, self._path)
            if item.kind is None or not item.kind.is_picture:
                damage.frames += 1
                damage.note(f"messages of schema {item.schema or 'unknown'} in {self._topic} are not pictures")
                continue
            timed = self._time(shot, last_ns, damage)
            if timed:
                last_ns = shot.t_ns
            if item.kind is not MessageKind.VIDEO:
                if timed:
                    yield shot
                continue
            number += 1
            try:
                waiting[number] = shot if timed else None
                frames = decoder.feed(number, shot.value(), damage)
            except (MediaError, AttributeError, TypeError, ValueError) as error:
                damage.frames += 1
                damage.note(cause_of(error, self._path))
                frames = decoder.lose(damage)
            yield from decoded(frames)
        yield from decoded(decoder.flush(damage))

    def _time(self, shot: Shot, last_ns: int | None, damage: Damage) -> bool:
        """Set the time of the shot. Return False, and count it, if it has no time or not a later one."""
        t_ns: int | None = shot.message.log_ns
        if self._header:
            try:
                t_ns = stamp_ns(shot.value())
            except MediaError as error:
                damage.frames += 1
                damage.note(cause_of(error, self._path))
                return False
            except (TypeError, ValueError, OverflowError):  # fields of other types
                t_ns = None
        if t_ns is not None and abs(t_ns) >= MAX_NS // 2:  # so that the difference of two is a time
            damage.frames += 1
            damage.note(f"pictures in {self._topic} with an impossible time")
            return False
        if t_ns is None:
            damage.frames += 1
            damage.note(f"pictures in {self._topic} without a stamp; use `clock` log")
            return False
        if self.zero is None:
            self.zero = t_ns
        shot.t_ns = t_ns - self.zero
        if last_ns is None or shot.t_ns > last_ns:
            return True
        damage.frames += 1
        other = "; try `clock` log" if self._header else "; try `clock` header"
        if shot.t_ns == last_ns:
            damage.note(f"pictures in {self._topic} with the same time as the one before{other}")
        else:
            damage.note(f"the clock of {self._topic} jumps back{other}")
        return False


def cause_of(error: Exception, path: str) -> str:
    """The message of an error, without the path at its end."""
    return str(error).removesuffix(f": {path}")
