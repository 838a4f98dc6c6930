"""Frame sources: videos and pictures in, upright RGB frames with exact times out."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..address import absolute, split
from ..errors import UsageError
from .ahead import decode_ahead
from .base import Damage, Shape, Source
from .clip import save_clip, save_frames
from .discover import IMAGE_SUFFIXES, PHOTO_SUFFIXES, VIDEO_SUFFIXES, Found, Photos, discover, missing, suffix
from .lerobot import is_dataset
from .logs import is_log
from .parts import check_topics, parts

__all__ = [
    "DECODERS",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Damage",
    "Found",
    "Photos",
    "Shape",
    "Source",
    "check_topics",
    "decode_ahead",
    "discover",
    "open_source",
    "parts",
    "save_clip",
    "save_frames",
]


def _pyav(path: str) -> Source:
    from .video import VideoSource

    return VideoSource(path)


def _decord(path: str) -> Source:
    from .decord_source import DecordSource

    return DecordSource(path)


def _images(path: str) -> Source:
    from .images import ImageSource

    return ImageSource(path)


def _log(path: str) -> Source:
    from .logs.source import LogSource

    (one,) = parts(path)  # without a topic in the address there must be only one
    return LogSource(split(one))


def _episode(path: str) -> Source:
    from .episodes import EpisodeSource

    return EpisodeSource(split(path))


DECODERS: dict[str, Callable[[str], Source]] = {"pyav": _pyav, "decord": _decord}
"""What may read a video file, by the name that is given to `--decoder`."""

_BY_SUFFIX: dict[str, Callable[[str], Source]] = dict.fromkeys(PHOTO_SUFFIXES, _images)
"""Files that have a reader of their own, whatever the decoder."""


def open_source(path: str | os.PathLike[str], decoder: str = "pyav") -> Source:
    """Open a video, a picture, a folder of pictures, a topic of a log (`run.mcap#/cam/front`), or an
    episode of a dataset (`pusht#3/observation.image`).

    Raises:
        UsageError: there is no such decoder, or the log has several topics and none is named.
        MediaError: the path does not exist, or holds no picture that can be read.
    """
    if decoder not in DECODERS:
        raise UsageError(f"no decoder {decoder!r}; there are: {', '.join(DECODERS)}")
    path = absolute(os.fspath(path))
    if is_log(split(path).path) and os.path.exists(split(path).path):
        return _log(path)
    if is_dataset(split(path).path):
        return _episode(path)
    if os.path.isdir(path):
        return _images(path)
    if not os.path.exists(path):
        raise missing(path)
    return _BY_SUFFIX.get(suffix(path), DECODERS[decoder])(path)
