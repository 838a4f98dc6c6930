"""A sheet with one picture, boxes in it and what they are: the evidence for answers about single pictures."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from ..media.images import load
from ..records import Box
from .drawing import INNER, MARGIN, MARK, OTHER, Labels, at_hand, outline, page


def boxes_picture(path: str, title: str, details: Sequence[str], boxes: Sequence[tuple[str, Box]]) -> Image.Image:
    """An RGB picture 960 px wide: title, lines of details, the picture in the file `path` with its labelled boxes (at
    most two), in pixels of the upright picture.

    Raises MediaError when the file cannot be read any more.
    """
    picture, scale = at_hand(load(path, None, path))
    draw = ImageDraw.Draw(picture)
    labels = Labels(draw, (0, 0, *picture.size))
    placed = [(label, (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)) for label, box in boxes]
    for (_, box), colour in zip(placed, (MARK, OTHER), strict=False):
        outline(draw, box, colour)
    for (label, box), colour in zip(placed, (MARK, OTHER), strict=False):
        labels.add(label, box, colour)
    sheet = page(title, details, picture.height + MARGIN)
    sheet.image.paste(picture, (MARGIN + (INNER - picture.width) // 2, sheet.top))
    return sheet.image
