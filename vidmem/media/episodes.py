"""One episode of one camera of a LeRobot dataset, read from its MP4 by timestamp."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..address import Address
from ..records import Frame, Mark, SourceInfo, SourceKind
from ..timecode import NS
from . import fingerprint
from .base import Shape, Source
from .lerobot import opened, parse_part
from .sampling import Sampler
from .video import VideoSource


class EpisodeSource(Source):
    """One episode of one camera.

    t_ns is the timestamp in the dataset's table, from the start of the episode; `Frame.mark.sequence` is frame_index.
    The picture of a row is the nearest one in the video, at most half a frame away; rows without one are counted.

    Raises:
        MediaError: the dataset, the table or the video cannot be read.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(str(address))
        dataset = opened(address.path)
        episode, camera = parse_part(address)
        span = dataset.span(episode, camera)
        self._times, self._frames = dataset.rows(episode, span.data)
        self._start_ns = round(span.start_s * NS)
        self._half_ns = round(NS / dataset.fps / 2)
        self._video = VideoSource(span.video)
        place = (episode, camera, self._start_ns, self._times.tobytes().hex())
        prints = fingerprint.mixed(fingerprint.of_file(span.video), *place)
        self.info = SourceInfo(
            uri=self.path,
            kind=SourceKind.EPISODE,
            width=self._video.info.width,
            height=self._video.info.height,
            duration_ns=int(self._times[-1]) + 2 * self._half_ns,
            fingerprint=prints.now,
            former=prints.former,
            files=(span.video, span.data),
        )

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """See `Source.frames`."""
        self.check_open()
        sampler = Sampler(fps, int(self._times[0]))
        wanted = [i for i, t in enumerate(self._times.tolist()) if sampler.take(t) and t >= start_ns]
        index = start_index
        if not wanted:
            return
        pictures = self._pictures(int(self._times[wanted[0]]), shape)
        before = self._video.damage
        current = next(pictures, None)
        for row in wanted:
            t_ns = int(self._times[row])
            while current is not None and current.t_ns < self._start_ns + t_ns - self._half_ns:
                current = next(pictures, None)
            self.check_open()
            self.damage.take(before)
            if current is None or current.t_ns > self._start_ns + t_ns + self._half_ns:
                self.damage.frames += 1
                self.damage.note("rows of the dataset without a picture in its video")
                continue
            yield self._frame(current, row, index)
            self.check_open()
            index += 1

    def _pictures(self, from_ns: int, shape: Shape | None) -> Iterator[Frame]:
        yield from self._video.frames(0, max(0, self._start_ns + from_ns - self._half_ns), shape=shape)

    def _frame(self, picture: Frame, row: int, index: int) -> Frame:
        t_ns = int(self._times[row])
        return Frame(picture.image, t_ns, index, Mark(t_ns, None, int(self._frames[row])))

    def frame_at(self, t_ns: int) -> Frame:
        """See `Source.frame_at`."""
        self.check_open()
        row = max(0, int(np.searchsorted(self._times, t_ns, side="right")) - 1)
        at_ns = self._start_ns + int(self._times[row]) + self._half_ns - 1
        return self._frame(self._video.frame_at(at_ns), row, -1)

    def close(self) -> None:
        """See `Source.close`."""
        super().close()
        self._video.close()
