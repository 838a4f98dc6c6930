"""Whether browsers play a video file, and how their clock goes with that of the memory.

The clock is that of Chromium, with which it is tested (tests/browser/test_video_clock.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import MediaError
from ..limits import open_regular
from ..timecode import NS
from .container import open_video
from .known import Known, OtherFileError, open_known
from .video import VideoSource

_MP4, _WEBM = "video/mp4", "video/webm"
_CODECS = {_MP4: ("h264", "av1", "vp9"), _WEBM: ("vp8", "vp9", "av1")}
"""What Chromium, Firefox and Safari of the last years play in these containers."""
_PIXELS = ("yuv420p", "yuvj420p")
_DEEP = ("yuv420p10le",)
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Playable:
    """Whether browsers play a video.

    Attributes:
        media_type: Of the file; empty if they do not play it.
        why: Why they do not; empty if they do.
        offset_ns: A time of the memory minus `currentTime` of the browser, in ns. It is 0 for nearly all files.
    """

    media_type: str
    why: str = ""
    offset_ns: int = 0


def playable(row: Known) -> Playable:
    """Whether browsers play the file of a source. It never raises for a file that is gone or damaged."""
    try:
        with open_known(row) as source:
            if not isinstance(source, VideoSource):
                return Playable("", "it is not a video file of its own")
            return _of_video(source)
    except OtherFileError:
        return Playable("", "the file is not the one that was indexed")
    except MediaError:
        return Playable("", "the file is gone or cannot be read")


def _of_video(source: VideoSource) -> Playable:
    with open_video(source.path, frame_threads=False) as (container, stream):
        media_type = _media_type(container.format.name, source.path)
        if not media_type:
            return Playable("", f"browsers do not play this kind of file ({container.format.name})")
        codec = stream.codec_context.codec.canonical_name
        if codec not in _CODECS[media_type]:
            return Playable("", f"browsers do not play {codec} in this kind of file")
        pixels = stream.codec_context.pix_fmt or ""
        if pixels not in _PIXELS + (_DEEP if codec in ("av1", "vp9") else ()):
            return Playable("", f"browsers do not play {codec} with pixels of format {pixels}")
        if len(container.streams.video) > 1:
            return Playable("", "the file has several videos, and browsers may play another one")
        starts = [
            int(shown.start_time * shown.time_base * NS)
            for shown in (*container.streams.video, *container.streams.audio)
            if shown.start_time is not None and shown.time_base is not None
        ]
    # `currentTime` is the container's own clock, unless that begins before 0: then it counts from the beginning.
    return Playable(media_type, offset_ns=min(0, *starts) - source.zero_ns)


def _media_type(name: str, path: str) -> str:
    """The media type of a container that browsers read; empty for others."""
    if name.startswith("mov,"):
        return _MP4
    if "webm" not in name:
        return ""
    with open_regular(path) as file:  # FFmpeg has one name for WebM and Matroska
        head = file.read(_HEAD)
    place = head.find(b"\x42\x82")  # DocType
    return _WEBM if place >= 0 and head[place + 3 : place + 7] == b"webm" else ""
