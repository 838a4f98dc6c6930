"""Frame sources: videos and pictures in, upright RGB frames with exact times out."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..errors import UsageError
from .ahead import decode_ahead
from .base import Damage, Shape, Source
from .clip import save_clip, save_frames
from .discover import IMAGE_SUFFIXES, VIDEO_SUFFIXES, discover, missing, suffix

__all__ = [
    "DECODERS", "IMAGE_SUFFIXES", "VIDEO_SUFFIXES",
    "Damage", "Shape", "Source",
    "decode_ahead", "discover", "open_source", "save_clip", "save_frames",
]  # fmt: skip


def _pyav(path: str) -> Source:
    from .video import VideoSource

    return VideoSource(path)


def _decord(path: str) -> Source:
    from .decord_source import DecordSource

    return DecordSource(path)


def _images(path: str) -> Source:
    from .images import ImageSource

    return ImageSource(path)


DECODERS: dict[str, Callable[[str], Source]] = {"pyav": _pyav, "decord": _decord}
"""What may read a video file, by the name that is given to `--decoder`."""

_BY_SUFFIX: dict[str, Callable[[str], Source]] = dict.fromkeys(IMAGE_SUFFIXES, _images)
"""Files that have a reader of their own, whatever the decoder."""


def open_source(path: str | os.PathLike[str], decoder: str = "pyav") -> Source:
    """Open a video, a picture or a folder of pictures.

    Raises:
        UsageError: there is no such decoder.
        MediaError: the path does not exist, or holds no picture that can be read.
    """
    if decoder not in DECODERS:
        raise UsageError(f"no decoder {decoder!r}; there are: {', '.join(DECODERS)}")
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return _images(path)
    if not os.path.exists(path):
        raise missing(path)
    return _BY_SUFFIX.get(suffix(path), DECODERS[decoder])(path)
