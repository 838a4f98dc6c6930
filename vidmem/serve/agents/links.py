"""Links from results to resources, and pictures as content."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from mcp_types import ImageContent, ResourceLink

from ...address import shown
from ...query.documents import SightingDocument
from ...timecode import clock

SCHEME = "vidmem://"
MAX_LINKED = 3
"""Sightings of one result that are linked to."""


def image(jpeg: bytes | None) -> ImageContent | None:
    """A JPEG as content."""
    if jpeg is None:
        return None
    return ImageContent(data=base64.b64encode(jpeg).decode("ascii"), mime_type="image/jpeg")


def frame_uri(source_id: int, t_ns: int | str, box: Sequence[float] | None = None) -> str:
    """The resource of a frame, with its box drawn."""
    return f"{SCHEME}frames/{source_id}/{t_ns}{_query(box)}"


def crop_uri(source_id: int, t_ns: int | str, box: Sequence[float]) -> str:
    """The resource of a close-up."""
    return f"{SCHEME}crops/{source_id}/{t_ns}{_query(box)}"


def clip_uri(source_id: int, start_ns: int | str, end_ns: int | str) -> str:
    """The resource of a clip."""
    return f"{SCHEME}clips/{source_id}/{start_ns}-{end_ns}"


def sighting_uri(sighting_id: str) -> str:
    """The resource of a sighting as JSON."""
    return f"{SCHEME}sightings/{sighting_id}"


def links(sightings: Iterable[SightingDocument]) -> list[ResourceLink]:
    """Links to the frames of the first few sightings, and to the clip of the first one."""
    out: list[ResourceLink] = []
    for number, s in enumerate(sightings):
        if number == MAX_LINKED:
            break
        name = shown(PurePath(s.picture or s.source).name)
        at = name if s.start_ns is None else f"{clock(int(s.frame_ns))} in {name}"
        out.append(
            ResourceLink(
                name=f"frame-{number + 1}",
                title=at,
                uri=frame_uri(s.source_id, s.frame_ns, s.box),
                description="The whole frame with the thing in a box.",
                mime_type="image/jpeg",
            )
        )
        if number == 0 and s.start_ns is not None and s.end_ns is not None:
            out.append(
                ResourceLink(
                    name="clip",
                    title=f"{clock(int(s.start_ns))} to {clock(int(s.end_ns))} in {name}",
                    uri=clip_uri(s.source_id, s.start_ns, s.end_ns),
                    description="The video of the sighting, at most one minute.",
                    mime_type="video/mp4",
                )
            )
    return out


def _query(box: Sequence[float] | None) -> str:
    return "" if box is None else f"?box={','.join(f'{v:g}' for v in box)}"
