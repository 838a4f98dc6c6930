"""The pictures of sightings: a frame of the video, or the photo, with the box in its pixels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..address import Address
from ..errors import MediaError, UsageError
from ..media import Source, open_source
from ..media.images import load
from ..records import Box, Sighting

Evidence = tuple[NDArray[np.uint8], Box]
"""A picture `(H, W, 3)` uint8 RGB, and a box in its pixels."""


def evidence_at(source: Source, t_ns: int, box: Box) -> Evidence:
    """The picture at t_ns, with a box that is given in pixels of the source scaled to it.

    The pictures of a folder differ in size, while boxes are in pixels of the first.
    """
    image = source.frame_at(t_ns).image
    x, y = image.shape[1] / source.info.width, image.shape[0] / source.info.height
    return image, (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def evidence_of(sighting: Sighting) -> Evidence:
    """The frame or photo of a sighting. Raises MediaError when it is gone or damaged."""
    if sighting.picture is not None:
        return load(sighting.picture, None, sighting.picture), sighting.box
    with open_source(sighting.source) as source:
        return evidence_at(source, sighting.frame_ns, sighting.box)


def evidence_of_each(sightings: Sequence[Sighting], live: Collection[str] = ()) -> list[Evidence | str]:
    """The picture of each sighting, or a few words that say why there is none.

    Each video is opened once and read in order. live: names of live sources, which keep no pictures.
    """
    out: list[Evidence | str] = ["no picture"] * len(sightings)
    order = sorted(range(len(sightings)), key=lambda i: (sightings[i].source, sightings[i].frame_ns))
    path: str = ""
    opened: Source | str = ""
    try:
        for i in order:
            sighting = sightings[i]
            if sighting.picture is None and path != sighting.source:
                _close(opened)
                path = sighting.source
                opened = "a camera keeps no pictures" if path in live else _open(path)
            try:
                if sighting.picture is not None:
                    out[i] = evidence_of(sighting)
                elif isinstance(opened, str):
                    out[i] = opened
                else:
                    out[i] = evidence_at(opened, sighting.frame_ns, sighting.box)
            except MediaError:
                out[i] = "can no longer be read"
    finally:
        _close(opened)
    return out


def _open(path: str) -> Source | str:
    address = Address.parse(path)
    if not address.exists():
        return "the video is no longer there"
    try:
        return open_source(address)
    except (MediaError, UsageError):
        return "can no longer be read"


def _close(source: Source | str) -> None:
    if not isinstance(source, str):
        source.close()
