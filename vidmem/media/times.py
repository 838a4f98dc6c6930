"""When the sampled frames of a source are, without decoding one: for cutting a long source at certain frames."""

from __future__ import annotations

from ..records import SourceKind
from ..timecode import NS
from .base import Damage, Source
from .container import open_video
from .images import ImageSource
from .packets import demux
from .sampling import sampled
from .video import VideoSource


def sample_times(source: Source, fps: float) -> list[int] | None:
    """The times in ns of the frames that `source.frames(fps)` should yield, increasing; None if nothing tells them.

    They are those of an undamaged source: of a damaged one, some of the frames may not come. All packets of a video are
    read, and none is decoded.

    Raises:
        MediaError: The file can no longer be read.
    """
    if isinstance(source, ImageSource):
        return list(range(0, source.info.duration_ns, NS))
    if not isinstance(source, VideoSource) or source.info.kind is not SourceKind.VIDEO:
        return None
    clock, damage, times = source.clock, Damage(), set[int]()
    with open_video(source.path, frame_threads=False) as (container, stream):
        for packet in demux(container, stream, damage):
            if packet.pts is None:
                return None
            if not packet.is_discard and (t_ns := clock.t_ns(packet.pts)) >= clock.first_ns:
                times.add(t_ns)
    return sampled(sorted(times), fps)
