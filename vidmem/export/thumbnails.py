"""Small JPEGs of what tracks show, for tables of other engines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..engines.tracks import Exported, Part
from ..records import Sighting
from ..render.evidence import evidence_in_order
from ..render.originals import Originals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..records import Box

LONGEST_SIDE = 160
"""Pixels of a thumbnail, at most."""
MARGIN = 0.1
"""What is added around the box, as a share of its sides."""
QUALITY = 85


def thumbnails(part: Part, rows: Sequence[Exported]) -> list[bytes | None]:
    """A JPEG of the box of each track in the picture where it is seen best; None where there is no picture any more.

    Each video is opened once and read in order.
    """
    sightings = [
        Sighting(
            source=row.source.uri,
            start_ns=row.track.start_ns,
            end_ns=row.track.end_ns,
            score=0.0,
            text_score=None,
            visual_score=None,
            frame_ns=row.track.best_ns,
            box=row.track.best_box,
            tracks=(row.track.id,),
            picture=row.picture,
        )
        for row in rows
    ]
    out: list[bytes | None] = [None] * len(rows)
    for i, found in evidence_in_order(sightings, Originals(part.store)):
        if not isinstance(found, str):
            out[i] = _jpeg(*found)
    return out


def _jpeg(image: NDArray[np.uint8], box: Box) -> bytes:
    from PIL import Image

    height, width = image.shape[:2]
    x, y = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    left, top = (min(max(0, int(value)), size - 1) for value, size in ((box[0] - x, width), (box[1] - y, height)))
    right = min(width, max(left + 1, int(box[2] + x + 0.5)))
    bottom = min(height, max(top + 1, int(box[3] + y + 0.5)))
    picture = Image.fromarray(image[top:bottom, left:right])
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
