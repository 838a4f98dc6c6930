"""Evidence: a contact sheet for a person's eyes. The frame with its box, three moments close up, and the timeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..media import Source
from ..records import Box, Sighting
from ..store import Store
from ..timecode import clock
from .drawing import FAINT, INNER, MARGIN, MARK, SMALL, TEXT, close_up, fitted_path, page, with_box, wrapped, write
from .frames import date_of, likely, name_of, shown, span_of

EARLIER = (120, 132, 148)
_CLOSE_UPS = 3
_GAP = 12


def contact_sheet(
    source: Source,
    sighting: Sighting,
    title: str,
    *,
    moments: Sequence[tuple[int, Box]] = (),
    others: Sequence[Sighting] = (),
    duration_ns: int = 0,
) -> Image.Image:
    """An RGB picture of the sighting, 960 px wide.

    moments: (t_ns, box) of the thing within the sighting, shown close up. others: all sightings in the same source,
    for the timeline. Raises MediaError when the video cannot be read any more.
    """
    cell = (INNER - (_CLOSE_UPS - 1) * MARGIN) // _CLOSE_UPS
    size = cell, cell * 9 // 16
    close_ups = [(t, close_up(*shown(source, t, box), size)) for t, box in _spread(moments, _CLOSE_UPS)]
    picture = with_box(*shown(source, sighting.frame_ns, sighting.box))
    strip = size[1] + 28 if close_ups else 0
    sheet = page(title, details(sighting), picture.height + _GAP + strip + 60)
    sheet.image.paste(picture, ((MARGIN * 2 + INNER - picture.width) // 2, sheet.top))
    y = sheet.top + picture.height + _GAP
    for i, (t, crop) in enumerate(close_ups):
        x = MARGIN + i * (cell + MARGIN)
        sheet.image.paste(crop, (x, y))
        write(sheet.draw, (x, y + size[1] + 4), clock(t), SMALL)
    _timeline(sheet.draw, y + strip, sighting, others, max(duration_ns, sighting.end_ns))
    return sheet.image


def details(sighting: Sighting) -> list[str]:
    """How probable, when, where: lines under a title."""
    where = f"{span_of(sighting)} in " if sighting.picture is None else ""
    name = fitted_path(name_of(sighting), TEXT, INNER * 0.6)
    at = "" if sighting.picture is not None else f"picture at {clock(sighting.frame_ns)}"
    score = "" if sighting.probability is None else f"score {sighting.score:.2f}"
    return wrapped([likely(sighting), date_of(sighting), f"{where}{name}", at, score], TEXT, INNER)


def _timeline(
    draw: ImageDraw.ImageDraw, y: int, sighting: Sighting, others: Sequence[Sighting], duration_ns: int
) -> None:
    """This sighting on the line of its video, and the others on a thinner one below it, so that none hides another."""
    scale = INNER / max(duration_ns, 1)
    more = [one for one in others if one is not sighting]
    lines = [([sighting], MARK, y, y + 14), *([(more, EARLIER, y + 17, y + 23)] if more else [])]
    for held, colour, top, bottom in lines:
        draw.rectangle((MARGIN, top, MARGIN + INNER, bottom), fill=FAINT)
        for one in held:
            x0 = min(MARGIN + one.start_ns * scale, MARGIN + INNER - 3)
            draw.rectangle((x0, top, max(x0 + 3, MARGIN + one.end_ns * scale), bottom), fill=colour)
    write(draw, (MARGIN, y + 27), "0:00", SMALL)
    write(draw, (MARGIN + INNER, y + 27), clock(duration_ns), SMALL, anchor="ra")
    legend = "red: this sighting" + ("   grey: the others in this video" if more else "")
    write(draw, (MARGIN + INNER / 2, y + 27), legend, SMALL, anchor="ma")


def _spread(moments: Sequence[tuple[int, Box]], most: int) -> list[tuple[int, Box]]:
    if len(moments) <= most:
        return list(moments)
    picks = np.linspace(0, len(moments) - 1, most).round().astype(int)
    return [moments[i] for i in picks]


def moments(store: Store, sighting: Sighting) -> list[tuple[int, Box]]:
    """When and where the thing of a sighting was seen, frame by frame, in order of time: one instance. In a frame with
    several of its tracks it is the one of the evidence, or else the largest."""
    tracks = store.tracks(sighting.tracks)
    if not tracks:
        return []
    main = next((t.ordinal for t in tracks if (t.best_ns, t.best_box) == (sighting.frame_ns, sighting.box)), -1)
    wanted = np.array([t.ordinal for t in tracks], np.int64)
    times, ordinals, boxes = store.boxes(tracks[0].source_id, sighting.start_ns, sighting.end_ns)
    held = np.isin(ordinals, wanted)
    times, ordinals, boxes = times[held], ordinals[held], boxes[held].astype(float)
    rank = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rank[ordinals == main] = np.inf
    order = np.lexsort((-rank, times))
    first = order[np.unique(times[order], return_index=True)[1]]
    return [(int(times[i]), (x0, y0, x1, y1)) for i, (x0, y0, x1, y1) in zip(first, boxes[first].tolist(), strict=True)]
