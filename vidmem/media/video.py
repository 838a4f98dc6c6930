"""Video files through PyAV (FFmpeg): exact times, upright pictures, damage skipped and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import MAX_NS, check_frame
from ..records import Frame, SourceKind
from ..timecode import NS
from . import orient
from .base import Damage, Shape, Source
from .container import open_video
from .info import file_info
from .lookahead import DoubtError
from .packets import decode, demux
from .reading import Clock, Way, read
from .recorded import from_tags
from .sampling import Sampler

_SCALE_THREADS = 2

_NO_ZERO = ("mpegts", "mpeg")  # formats whose clock starts at any time


class VideoSource(Source):
    """One video file.

    t_ns is pts * time_base rounded down, with edit lists applied. If the first frame has a negative time, or the format
    has no zero of its own (MPEG-TS and PS), times count from the start of the file. Of several video streams the one
    that FFmpeg ranks best is read. Damaged pictures are left out.

    Raises:
        MediaError: not a readable video, or no picture in it can be decoded.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with open_video(path, frame_threads=False) as (container, stream):
            first = _first_frame(container, stream)
            if first is None or first.pts is None or stream.time_base is None:
                raise MediaError(f"no picture of the video can be decoded; it is damaged or encrypted: {path}")
            check_frame(first.width, first.height, first.format.padded_bits_per_pixel, path)
            self._orientation = orient.of_frame(first)
            self._clock = _clock(container, stream.time_base, first.pts)
            if abs(self._clock.first_ns) >= MAX_NS:
                raise MediaError(f"the first picture of the video has an impossible time; convert it: {path}")
            size = self._orientation.size(first.width, first.height)
            embedded = from_tags(container.metadata, stream.metadata)
            self.info = file_info(path, SourceKind.VIDEO, size, _duration_ns(container, stream), embedded)

    @property
    def clock(self) -> Clock:
        """From the times of the container to those of frames."""
        return self._clock

    @property
    def zero_ns(self) -> int:
        """Where t_ns = 0 is on the container's own clock, in ns, rounded down."""
        return self._clock.zero // self._clock.den

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """See `Source.frames`. Only the sampled frames are converted to RGB, and scaled in the same step."""
        self.check_open()
        convert = self._converter(shape)
        index = start_index
        for way in Way:
            damage = Damage()
            sampler = Sampler(fps, self._clock.first_ns)
            try:
                for t_ns, picture in read(self.path, way, self._clock, start_ns, fps, damage):
                    if not sampler.take(t_ns) or t_ns < start_ns:
                        continue
                    self.damage.take(damage)
                    yield Frame(convert(picture), t_ns, index)
                    self.check_open()
                    index, start_ns = index + 1, t_ns + 1
            except DoubtError:
                continue
            self.damage.take(damage)
            return

    def frame_at(self, t_ns: int) -> Frame:
        """See `Source.frame_at`."""
        self.check_open()
        t_ns = max(t_ns, self._clock.first_ns)
        for way in (Way.CAREFUL, Way.WHOLE):
            shown: tuple[int, VideoFrame] | None = None
            try:
                for at_ns, picture in read(self.path, way, self._clock, t_ns, 0, Damage()):
                    if at_ns > t_ns and shown is not None:
                        break
                    shown = at_ns, picture
            except DoubtError:
                continue
            if shown is not None:
                return Frame(self._converter(None)(shown[1]), shown[0], -1)
        raise MediaError(f"the video can no longer be decoded; was the file changed?: {self.path}")

    def _converter(self, shape: Shape | None) -> Callable[[VideoFrame], NDArray[np.uint8]]:
        """A function from a decoded frame to upright RGB `(H, W, 3)`, which keeps the scaler's tables between calls."""
        reformatter = VideoReformatter()
        orientation = self._orientation

        def convert(frame: VideoFrame) -> NDArray[np.uint8]:
            check_frame(frame.width, frame.height, frame.format.padded_bits_per_pixel, self.path)
            width, height = orientation.size(frame.width, frame.height)
            if shape is not None:
                width, height = shape(width, height)
            width, height = orientation.size(width, height)
            try:
                rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=_SCALE_THREADS)
            except av.error.FFmpegError as error:
                raise MediaError(
                    f"pixels of format {frame.format.name} cannot be made RGB ({error.strerror}); "
                    f"convert the video to yuv420p: {self.path}"
                ) from None
            return orientation.apply(rgb.to_ndarray().astype(np.uint8, copy=False))

        return convert


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    damage = Damage()
    for packet in demux(container, stream, damage):
        for frame in decode(stream, packet, damage):
            if frame.pts is not None:
                return frame
    return next((frame for frame in decode(stream, None, damage) if frame.pts is not None), None)


def _clock(container: InputContainer, time_base: Fraction, first_pts: int) -> Clock:
    num, den = time_base.numerator * NS, time_base.denominator
    first = first_pts * num
    zero = min(0, first)
    if container.format.name in _NO_ZERO:
        start_us = container.start_time  # of the earliest stream
        zero = first if start_us is None else min(start_us * 1000 * den, first)
    return Clock(num, den, zero, (first - zero) // den)


def _duration_ns(container: InputContainer, stream: VideoStream) -> int:
    found = max(container.duration or 0, 0) * 1000
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        found = int(stream.duration * stream.time_base * NS)
    return found if 0 <= found < MAX_NS else 0  # a damaged header claims anything
