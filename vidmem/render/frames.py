"""Pictures of sightings: each from its own video, or from its file in a folder of single pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..address import Address
from ..errors import MediaError, UsageError
from ..media import Source, open_source
from ..media.images import load
from ..records import Box, Sighting
from ..timecode import clock, relative_date

Shot = tuple[NDArray[np.uint8], Box]
"""A picture `(H, W, 3)` and the box in its pixels."""


def shown(source: Source, t_ns: int, box: Box) -> Shot:
    """The picture at t_ns and the box in its pixels: in a folder of pictures each has its own size, and boxes are kept
    in that of the source."""
    image = source.frame_at(t_ns).image
    x, y = image.shape[1] / source.info.width, image.shape[0] / source.info.height
    return image, (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def shot_of(sighting: Sighting) -> Shot:
    """The frame of the evidence, or the single picture. Raises MediaError when it is gone or damaged."""
    if sighting.picture is not None:
        return load(sighting.picture, None, sighting.picture), sighting.box
    with open_source(sighting.source) as source:
        return shown(source, sighting.frame_ns, sighting.box)


def shots(sightings: Sequence[Sighting], live: Collection[str] = ()) -> list[Shot | str]:
    """Of each sighting its picture, or in a few words why there is none. A video is opened once and read in order.
    live: sources that are cameras, which keep no pictures and are never opened."""
    out: list[Shot | str] = ["no picture"] * len(sightings)
    order = sorted(range(len(sightings)), key=lambda i: (sightings[i].source, sightings[i].frame_ns))
    opened: tuple[str, Source | str] = ("", "")
    try:
        for i in order:
            one = sightings[i]
            if one.picture is None and opened[0] != one.source:
                _close(opened[1])
                opened = one.source, "a camera keeps no pictures" if one.source in live else _opened(one.source)
            try:
                if one.picture is not None:
                    out[i] = shot_of(one)
                elif isinstance(opened[1], str):
                    out[i] = opened[1]
                else:
                    out[i] = shown(opened[1], one.frame_ns, one.box)
            except MediaError:
                out[i] = "cannot be read any more"
    finally:
        _close(opened[1])
    return out


def _opened(path: str) -> Source | str:
    address = Address.parse(path)
    if not address.exists():
        return "the video is no longer there"
    try:
        return open_source(address)
    except (MediaError, UsageError):
        return "cannot be read any more"


def _close(source: Source | str) -> None:
    if not isinstance(source, str):
        source.close()


def name_of(sighting: Sighting) -> str:
    """The file name of the video or the single picture."""
    return (sighting.picture or sighting.source).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def date_of(sighting: Sighting) -> str:
    """When it was recorded, for people; empty where that is not known."""
    return relative_date(sighting.recorded_ns, sighting.recorded_by)


def span_of(sighting: Sighting) -> str:
    """From when to when, in the video; empty for a single picture, which has no time in it."""
    if sighting.picture is not None:
        return ""
    start, end = clock(sighting.start_ns), clock(sighting.end_ns)
    return start if start == end else f"{start} to {end}"


def likely(sighting: Sighting) -> str:
    """Its probability, or its score where none is known."""
    if sighting.probability is None:
        return f"score {sighting.score:.2f}, not calibrated"
    return f"probability {sighting.probability:.2f}"
