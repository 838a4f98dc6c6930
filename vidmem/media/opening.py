"""Opening a source of any kind."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..address import Address
from ..errors import UsageError
from ..picture_reading import reading
from .base import Source
from .decord_source import DecordSource
from .discover import missing
from .episodes import EpisodeSource
from .images import ImageSource
from .lerobot import is_dataset
from .logs import is_log
from .logs.source import LogSource
from .parts import parts
from .suffixes import PHOTO_SUFFIXES, suffix
from .video import VideoSource

DECODERS: dict[str, Callable[[str], Source]] = {"pyav": VideoSource, "decord": DecordSource}
"""The readers of video files, by the name that `decoder` takes."""


def open_source(source: str | os.PathLike[str] | Address, decoder: str = "pyav") -> Source:
    """Open a video, a picture, a folder of pictures, a topic of a log (`run.mcap#/cam/front`) or an episode of a
    dataset (`pusht#3/observation.image`).

    Raises:
        UsageError: there is no such decoder, or the log has several topics and none is named.
        MediaError: the path does not exist, or holds no picture that can be read.
    """
    if decoder not in DECODERS:
        raise UsageError(f"no decoder {decoder!r}; there are: {', '.join(DECODERS)}")
    address = (source if isinstance(source, Address) else Address.parse(source)).absolute()
    with reading(address, "the source", "check the file"):
        return _opened(address, decoder)


def _opened(address: Address, decoder: str) -> Source:
    if is_log(address.path) and address.exists():
        (topic,) = parts(address)  # without a topic in the address there must be only one
        return LogSource(topic)
    if is_dataset(address.path):
        return EpisodeSource(address)
    path = str(address)
    if os.path.isdir(path):
        return ImageSource(path)
    if not os.path.exists(path):
        raise missing(path)
    return ImageSource(path) if suffix(path) in PHOTO_SUFFIXES else DECODERS[decoder](path)
