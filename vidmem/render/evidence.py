"""The pictures of sightings: a frame of the video, or the photo, with the box in its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, UsageError
from ..media import Source
from ..media.images import load
from ..media.known import OtherFileError
from ..records import Box, Sighting
from .originals import Originals

Evidence = tuple[NDArray[np.uint8], Box]
"""A picture `(H, W, 3)` uint8 RGB, and a box in its pixels."""


def evidence_at(source: Source, t_ns: int, box: Box) -> Evidence:
    """The picture at t_ns, with a box that is given in pixels of the source scaled to it.

    The pictures of a folder differ in size, while boxes are in pixels of the first.
    """
    image = source.frame_at(t_ns).image
    x, y = image.shape[1] / source.info.width, image.shape[0] / source.info.height
    return image, (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def evidence_of(sighting: Sighting, originals: Originals) -> Evidence:
    """The frame or photo of a sighting. Raises MediaError when it is gone, damaged, or another file."""
    if sighting.picture is not None:
        return load(originals.photo(sighting), None, sighting.picture), sighting.box
    with originals.open(sighting) as source:
        return evidence_at(source, sighting.frame_ns, sighting.box)


def evidence_of_each(sightings: Sequence[Sighting], originals: Originals) -> list[Evidence | str]:
    """The picture of each sighting, or a few words that say why there is none.

    Each video is opened once and read in order.
    """
    out: list[Evidence | str] = ["no picture"] * len(sightings)
    for i, found in evidence_in_order(sightings, originals):
        out[i] = found
    return out


def evidence_in_order(sightings: Sequence[Sighting], originals: Originals) -> Iterator[tuple[int, Evidence | str]]:
    """As `evidence_of_each`, one by one with the index of the sighting, by source and time: one picture is held."""
    order = sorted(range(len(sightings)), key=lambda i: (sightings[i].source, sightings[i].frame_ns))
    path: str = ""
    opened: Source | str = ""
    try:
        for i in order:
            sighting = sightings[i]
            if sighting.picture is None and path != sighting.source:
                _close(opened)
                path = sighting.source
                opened = _open(sighting, originals)
            try:
                if sighting.picture is not None:
                    found: Evidence | str = evidence_of(sighting, originals)
                elif isinstance(opened, str):
                    found = opened
                else:
                    found = evidence_at(opened, sighting.frame_ns, sighting.box)
            except OtherFileError:
                found = _OTHER
            except MediaError:
                found = "can no longer be read"
            yield i, found
    finally:
        _close(opened)


_OTHER = "another file than was indexed"


def _open(sighting: Sighting, originals: Originals) -> Source | str:
    try:
        if originals.is_live(sighting):
            return "a camera keeps no pictures"
        if not originals.exists(sighting):
            return "the video is no longer there"
        return originals.open(sighting)
    except OtherFileError:
        return _OTHER
    except (MediaError, UsageError):
        return "can no longer be read"


def _close(source: Source | str) -> None:
    if not isinstance(source, str):
        source.close()
