"""Evidence: a contact sheet for a person's eyes. The frame with its box, three moments close up, and the timeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..clock import clock
from ..media import Source
from ..records import Box, Sighting
from ..store import Store

WIDTH = 960
_MARGIN = 16
_INK, _PAPER, _FAINT, _MARK = (28, 30, 34), (250, 250, 248), (214, 214, 210), (230, 57, 70)
_CLOSE_UPS = 3


def contact_sheet(
    source: Source, sighting: Sighting, title: str, *, moments: Sequence[tuple[int, Box]] = (),
    others: Sequence[Sighting] = (), duration_ns: int = 0,
) -> Image.Image:  # fmt: skip
    """An RGB picture of the sighting, 960 px wide.

    moments: (t_ns, box) of the thing within the sighting, shown close up. others: all sightings in the same source,
    for the timeline. Raises MediaError when the video cannot be read any more.
    """
    close_ups = [(t, _close_up(*shown(source, t, box))) for t, box in _spread(moments, _CLOSE_UPS)]
    inner = WIDTH - 2 * _MARGIN
    picture = with_box(*shown(source, sighting.frame_ns, sighting.box), inner)
    strip = (inner - (_CLOSE_UPS - 1) * _MARGIN) // _CLOSE_UPS * 9 // 16 if close_ups else 0
    top = 78
    height = top + picture.height + (strip + 40 if strip else 0) + 84
    sheet = Image.new("RGB", (WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 12), fit(title, 56), fill=_INK, font=font(30))
    span = f"{clock(sighting.start_ns)} to {clock(sighting.end_ns)}"
    name = sighting.source.replace("\\", "/").rsplit("/", 1)[-1]
    detail = f"{span}   in {fit(name, 48)}   frame {clock(sighting.frame_ns)}   score {sighting.score:.2f}"
    draw.text((_MARGIN, 50), detail, fill=_INK, font=font(17))
    sheet.paste(picture, (_MARGIN, top))
    y = top + picture.height + 12
    if close_ups:
        cell = (inner - (_CLOSE_UPS - 1) * _MARGIN) // _CLOSE_UPS
        for i, (t, crop) in enumerate(close_ups):
            crop.thumbnail((cell, strip))
            x = _MARGIN + i * (cell + _MARGIN)
            sheet.paste(crop, (x, y))
            draw.text((x, y + strip + 4), clock(t), fill=_INK, font=font(15))
        y += strip + 28
    _timeline(draw, y + 12, inner, sighting, others, max(duration_ns, sighting.end_ns))
    return sheet


def shown(source: Source, t_ns: int, box: Box) -> tuple[NDArray[np.uint8], Box]:
    """The picture at t_ns and the box in its pixels: in a folder of pictures each has its own size, and boxes are kept
    in that of the source."""
    image = source.frame_at(t_ns).image
    x, y = image.shape[1] / source.info.width, image.shape[0] / source.info.height
    return image, (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def _timeline(draw: ImageDraw.ImageDraw, y: int, inner: int, sighting: Sighting, others: Sequence[Sighting],
              duration_ns: int) -> None:  # fmt: skip
    scale = inner / max(duration_ns, 1)
    draw.rectangle((_MARGIN, y, _MARGIN + inner, y + 18), fill=_FAINT)
    for span in [*others, sighting]:
        x0 = _MARGIN + span.start_ns * scale
        colour = _MARK if span is sighting else (120, 132, 148)
        draw.rectangle((x0, y, max(x0 + 3, _MARGIN + span.end_ns * scale), y + 18), fill=colour)
    small = font(15)
    draw.text((_MARGIN, y + 22), "0:00", fill=_INK, font=small)
    end = clock(duration_ns)
    draw.text((_MARGIN + inner - draw.textlength(end, font=small), y + 22), end, fill=_INK, font=small)
    legend = "red: this sighting" + ("   grey: the earlier ones" if any(o is not sighting for o in others) else "")
    draw.text((_MARGIN + inner / 2, y + 22), legend, fill=_INK, font=small, anchor="ma")


def with_box(frame: NDArray[np.uint8], box: Box, width: int) -> Image.Image:
    """The frame scaled to `width` pixels, or 720 high if that is less, with the box drawn on it."""
    picture = Image.fromarray(frame)
    scale = min(width / picture.width, 720 / picture.height)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    x0, y0, x1, y1 = (v * scale for v in box)
    for grow, colour in ((3, (255, 255, 255)), (2, _MARK), (1, _MARK), (0, _MARK)):
        if x1 + grow > x0 - grow and y1 + grow > y0 - grow:
            draw.rectangle((x0 - grow, y0 - grow, x1 + grow, y1 + grow), outline=colour)
    return picture


def _close_up(frame: NDArray[np.uint8], box: Box) -> Image.Image:
    """The box with some of its surroundings, 16:9, inside the frame."""
    h, w = frame.shape[:2]
    side = min(max(2.2 * (box[3] - box[1]), 2.2 * (box[2] - box[0]) * 9 / 16, 48), h, w * 9 / 16)
    wide = side * 16 / 9
    cx = min(max((box[0] + box[2]) / 2, wide / 2), w - wide / 2)
    cy = min(max((box[1] + box[3]) / 2, side / 2), h - side / 2)
    region = (cx - wide / 2, cy - side / 2, cx + wide / 2, cy + side / 2)
    crop = Image.fromarray(frame).resize((640, 360), box=region)
    draw = ImageDraw.Draw(crop)
    scale = 640 / wide
    corners = [(v - region[i % 2]) * scale for i, v in enumerate(box)]
    if corners[2] > corners[0] and corners[3] > corners[1]:
        draw.rectangle(corners, outline=_MARK, width=3)
    return crop


def _spread(moments: Sequence[tuple[int, Box]], most: int) -> list[tuple[int, Box]]:
    if len(moments) <= most:
        return list(moments)
    picks = np.linspace(0, len(moments) - 1, most).round().astype(int)
    return [moments[i] for i in picks]


def fit(text: str, most: int) -> str:
    """The text, cut to `most` letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def moments(store: Store, sighting: Sighting) -> list[tuple[int, Box]]:
    """When and where the thing of a sighting was seen, frame by frame. Where several of its tracks are in one frame,
    the one of the evidence is taken, or else the largest."""
    tracks = store.tracks(sighting.tracks)
    if not tracks:
        return []
    main = next((t.ordinal for t in tracks if (t.best_ns, t.best_box) == (sighting.frame_ns, sighting.box)), -1)
    wanted = np.array([t.ordinal for t in tracks], np.int64)
    out: list[tuple[int, Box]] = []
    for frame in store.regions(tracks[0].source_id, sighting.start_ns, sighting.end_ns):
        rows = np.flatnonzero(np.isin(frame.tracks, wanted))
        if not len(rows):
            continue
        boxes = frame.boxes[rows].astype(float)
        rank = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        rank[frame.tracks[rows] == main] = np.inf
        x0, y0, x1, y1 = boxes[int(rank.argmax())]
        out.append((frame.t_ns, (x0, y0, x1, y1)))
    return out
