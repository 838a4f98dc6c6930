"""A sheet with one picture, boxes in it and what they are: the evidence for answers about single pictures."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ..media.images import load
from ..records import Box

WIDTH, TALLEST = 960, 720
_MARGIN = 16
_INK, _PAPER, _RIM = (28, 30, 34), (250, 250, 248), (255, 255, 255)
COLOURS = ((230, 57, 70), (33, 118, 255))
"""Of the first and the second box."""


def boxes_picture(path: str, title: str, detail: str, boxes: Sequence[tuple[str, Box]]) -> Image.Image:
    """An RGB picture 960 px wide: title, detail, the picture in the file `path` with its labelled boxes (at most two),
    in pixels of the upright picture.

    Raises MediaError when the file cannot be read any more.
    """
    picture = Image.fromarray(load(path, None, path))
    scale = min((WIDTH - 2 * _MARGIN) / picture.width, TALLEST / picture.height)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    top = 78
    sheet = Image.new("RGB", (WIDTH, top + picture.height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 12), _fitted(draw, title, 30), fill=_INK, font=_font(30))
    draw.text((_MARGIN, 50), _fitted(draw, detail, 17), fill=_INK, font=_font(17))
    left = (WIDTH - picture.width) // 2
    sheet.paste(picture, (left, top))
    frame = (left, top, left + picture.width, top + picture.height)
    for (label, box), colour in zip(boxes, COLOURS, strict=False):
        _box(draw, label, [v * scale + (left, top)[i % 2] for i, v in enumerate(box)], frame, colour)
    return sheet


def _box(
    draw: ImageDraw.ImageDraw, label: str, box: list[float], frame: tuple[int, int, int, int], colour: tuple[int, ...]
) -> None:
    x0, y0, x1, y1 = box
    for grow, ink in ((3, _RIM), (2, colour), (1, colour), (0, colour)):
        draw.rectangle((x0 - grow, y0 - grow, max(x1, x0) + grow, max(y1, y0) + grow), outline=ink)
    face = _font(17)
    text = _fitted(draw, label, 17, 300)
    width = draw.textlength(text, font=face) + 10
    x = min(max(x0, frame[0]), max(frame[2] - width, frame[0]))
    y = y0 - 24 if y0 - 24 >= frame[1] else min(y0 + 2, frame[3] - 24)
    draw.rectangle((x, y, x + width, y + 22), fill=colour)
    draw.text((x + 5, y + 2), text, fill=_RIM, font=face)


def _fitted(draw: ImageDraw.ImageDraw, text: str, size: int, most: float = WIDTH - 2 * _MARGIN) -> str:
    """`text` cut to `most` pixels, with dots."""
    if draw.textlength(text, font=_font(size)) <= most:
        return text
    while text and draw.textlength(text + "…", font=_font(size)) > most:
        text = text[:-1]
    return text + "…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
