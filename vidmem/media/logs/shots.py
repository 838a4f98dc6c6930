"""From messages to pictures with times: what is late, doubled or damaged is counted and left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ...errors import MediaError
from ...records import Mark
from ..base import Damage, Shape
from . import pictures
from .base import PICTURES, Gap, Kind, LogReader, Message, stamp_ns
from .video import Decoder


class Shot:
    """A picture that can be had. t_ns: its time on the source's clock, before `zero` is known since the epoch."""

    __slots__ = ("_frame", "_path", "_value", "message", "t_ns")

    def __init__(self, message: Message, path: str, value: Any = None) -> None:
        self.message, self.t_ns = message, 0
        self._path, self._value = path, value
        self._frame: av.VideoFrame | None = None

    def value(self) -> Any:
        """The message's fields, decoded when first asked for. Raises MediaError."""
        if self._value is None:
            try:
                self._value = self.message.decode()
            except MediaError:
                raise
            except Exception as error:  # decoders raise whatever the bytes happen to mean
                raise MediaError(
                    f"a message cannot be decoded ({type(error).__name__}: {error}): {self._path}"
                ) from None
        return self._value

    def mark(self) -> Mark:
        """Its place in the log. ROS 1 numbers messages in their header."""
        value, number = self.value(), self.message.sequence
        if number is None and (own := getattr(getattr(value, "header", None), "seq", None)) is not None:
            number = int(own)
        return Mark(self.message.log_ns, stamp_ns(value), number)

    def frame_id(self) -> str:
        """Name of the camera's frame; empty when the message has none."""
        value = self.value()
        return str(getattr(getattr(value, "header", value), "frame_id", ""))

    def decoded(self, frame: av.VideoFrame) -> Shot:
        """This shot with its picture from a video decoder."""
        self._frame = frame
        return self

    def picture(self, shape: Shape | None) -> NDArray[np.uint8]:
        """RGB `(H, W, 3)`. Raises MediaError when it cannot be read."""
        if self._frame is not None:
            return pictures.of_frame(self._frame, shape, VideoReformatter())
        value = self.value()
        read = pictures.still if self.message.kind is Kind.STILL else pictures.raw
        try:
            return read(value, shape, self._path)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:  # fields are missing or of other types
            raise MediaError(
                f"a message is not what its schema {self.message.schema} says ({error}): {self._path}"
            ) from None


class Shots:
    """One pass over the pictures of a topic.

    header: times are the sender's stamps. zero: subtracted from times, None to take the first one's. first_ns: the
    time since the epoch that the first picture had, None before there was one.
    """

    def __init__(self, reader: LogReader, topic: str, path: str, *, header: bool, zero: int | None) -> None:
        self._reader, self._topic, self._path = reader, topic, path
        self._header = header
        self.zero = zero

    def read(self, log_ns: int, last_ns: int | None, met: Damage) -> Iterator[Shot]:
        """Pictures recorded from log_ns on, times strictly increasing and above last_ns (source's clock). Video is to
        begin with a keyframe. Damage is counted in `met`."""
        decoder = Decoder(self._path)
        waiting: dict[int, Shot | None] = {}
        number = 0

        def out(frames: list[tuple[int, av.VideoFrame]]) -> Iterator[Shot]:
            for at, frame in frames:
                shot = waiting.pop(at, None)
                for older in [n for n in waiting if n < at]:
                    del waiting[older]
                if shot is not None:
                    yield shot.decoded(frame)

        for item in self._reader.messages([self._topic], log_ns, met):
            if isinstance(item, Gap):
                yield from out(decoder.lose(met))
                continue
            shot = Shot(item, self._path)
            if item.kind not in PICTURES:
                met.frames += 1
                met.note(f"messages of schema {item.schema or 'unknown'} in {self._topic} are no pictures")
                continue
            timed = self._time(shot, last_ns, met)
            if timed:
                last_ns = shot.t_ns
            if item.kind is not Kind.VIDEO:
                if timed:
                    yield shot
                continue
            number += 1
            try:
                waiting[number] = shot if timed else None
                frames = decoder.feed(number, shot.value(), met)
            except (MediaError, AttributeError, TypeError, ValueError) as error:
                met.frames += 1
                met.note(cause_of(error, self._path))
                frames = decoder.lose(met)
            yield from out(frames)
        yield from out(decoder.flush(met))

    def _time(self, shot: Shot, last_ns: int | None, met: Damage) -> bool:
        """Set the time of the shot; False, and counted, when it has none or not a later one."""
        t_ns: int | None = shot.message.log_ns
        if self._header:
            try:
                t_ns = stamp_ns(shot.value())
            except MediaError as error:
                met.frames += 1
                met.note(cause_of(error, self._path))
                return False
        if t_ns is None:
            met.frames += 1
            met.note(f"pictures in {self._topic} without a stamp; use `clock` log")
            return False
        if self.zero is None:
            self.zero = t_ns
        shot.t_ns = t_ns - self.zero
        if last_ns is None or shot.t_ns > last_ns:
            return True
        met.frames += 1
        other = "; try `clock` log" if self._header else "; try `clock` header"
        if shot.t_ns == last_ns:
            met.note(f"pictures in {self._topic} with the same time as the one before{other}")
        else:
            met.note(f"the clock of {self._topic} jumps back{other}")
        return False


def cause_of(error: Exception, path: str) -> str:
    """What the error says, without the path that ends it."""
    return str(error).removesuffix(f": {path}")
