"""A contact sheet of one sighting in a video: the frame with its box, three close-ups, and a timeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..media import Source
from ..records import Box, Sighting
from ..timecode import clock
from .captions import confidence_text, date_text, file_name, span_text
from .drawing import (
    EARLIER,
    FAINT,
    INNER,
    MARGIN,
    MARK,
    SMALL,
    TEXT,
    close_up,
    fitted_path,
    page,
    with_box,
    wrapped,
    write,
)
from .evidence import evidence_at
from .heatmap import tinted
from .trajectory import Trajectory

_CLOSE_UPS = 3
_GAP = 12
_CELL = (INNER - (_CLOSE_UPS - 1) * MARGIN) // _CLOSE_UPS
_CLOSE_UP = (_CELL, _CELL * 9 // 16)


def contact_sheet(
    source: Source,
    sighting: Sighting,
    title: str,
    *,
    moments: Trajectory = (),
    others: Sequence[Sighting] = (),
    duration_ns: int = 0,
    mask: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Draw a sighting.

    Args:
        source: The open video.
        sighting: What to draw.
        title: First line.
        moments: Boxes of the thing within the sighting; three of them are shown close up.
        others: All sightings in the same source, for the timeline.
        duration_ns: Length of the video.
        mask: `(H, W)`, what of the frame is coloured.

    Returns:
        An RGB picture, 960 pixels wide.

    Raises:
        MediaError: The video can no longer be read.
    """
    close_ups = [(t, close_up(*evidence_at(source, t, box), _CLOSE_UP)) for t, box in _spread(moments, _CLOSE_UPS)]
    image, box = evidence_at(source, sighting.frame_ns, sighting.box)
    picture = with_box(tinted(image, mask), box)
    strip = _CLOSE_UP[1] + 28 if close_ups else 0
    sheet = page(title, details(sighting), picture.height + _GAP + strip + 60)
    y = sheet.paste(picture) + _GAP
    for i, (t, crop) in enumerate(close_ups):
        x = MARGIN + i * (_CELL + MARGIN)
        sheet.image.paste(crop, (x, y))
        write(sheet.draw, (x, y + _CLOSE_UP[1] + 4), clock(t), SMALL)
    _timeline(sheet.draw, y + strip, sighting, others, max(duration_ns, sighting.end_ns))
    return sheet.image


def details(sighting: Sighting) -> list[str]:
    """Lines below the title: confidence, date, time and file."""
    span = f"{span_text(sighting)} in " if sighting.picture is None else ""
    name = fitted_path(file_name(sighting), TEXT, INNER * 0.6)
    at = "" if sighting.picture is not None else f"picture at {clock(sighting.frame_ns)}"
    score = "" if sighting.probability is None else f"score {sighting.score:.2f}"
    return wrapped([confidence_text(sighting), date_text(sighting), f"{span}{name}", at, score], TEXT, INNER)


def _timeline(
    draw: ImageDraw.ImageDraw, y: int, sighting: Sighting, others: Sequence[Sighting], duration_ns: int
) -> None:
    """The sighting on the line of its video, and the others on a thinner line below, so that none hides another."""
    scale = INNER / max(duration_ns, 1)
    rest = [other for other in others if other is not sighting]
    lines = [([sighting], MARK, y, y + 14), *([(rest, EARLIER, y + 17, y + 23)] if rest else [])]
    for shown, colour, top, bottom in lines:
        draw.rectangle((MARGIN, top, MARGIN + INNER, bottom), fill=FAINT)
        for each in shown:
            x0 = min(MARGIN + each.start_ns * scale, MARGIN + INNER - 3)
            draw.rectangle((x0, top, max(x0 + 3, MARGIN + each.end_ns * scale), bottom), fill=colour)
    write(draw, (MARGIN, y + 27), "0:00", SMALL)
    write(draw, (MARGIN + INNER, y + 27), clock(duration_ns), SMALL, anchor="ra")
    legend = "red: this sighting" + ("   grey: the others in this video" if rest else "")
    write(draw, (MARGIN + INNER / 2, y + 27), legend, SMALL, anchor="ma")


def _spread(moments: Trajectory, count: int) -> list[tuple[int, Box]]:
    """Moments at equal distances, the first and last among them."""
    if len(moments) <= count:
        return list(moments)
    picks = np.linspace(0, len(moments) - 1, count).round().astype(int)
    return [moments[i] for i in picks]
