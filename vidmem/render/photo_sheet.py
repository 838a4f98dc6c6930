"""A sheet with one photo and labelled boxes: the evidence for answers about single pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..media.images import load
from ..records import Box
from .drawing import MARGIN, MARK, OTHER, Labels, fit_page, outline, page
from .heatmap import tinted


def photo_sheet(
    path: str,
    title: str,
    details: Sequence[str],
    boxes: Sequence[tuple[str, Box]],
    mask: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Draw a photo with its boxes below a title and lines of details.

    Args:
        path: The file of the photo.
        title: First line.
        details: Lines below the title.
        boxes: At most two labels with their boxes, in pixels of the upright picture.
        mask: `(H, W)`, what of the upright picture is coloured.

    Returns:
        An RGB picture, 960 pixels wide.

    Raises:
        MediaError: The file can no longer be read.
    """
    picture, scale = fit_page(tinted(load(path, None, path), mask))
    draw = ImageDraw.Draw(picture)
    labels = Labels(draw, (0, 0, *picture.size))
    scaled = [(label, (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)) for label, box in boxes]
    for (_, box), colour in zip(scaled, (MARK, OTHER), strict=False):
        outline(draw, box, colour)
    for (label, box), colour in zip(scaled, (MARK, OTHER), strict=False):
        labels.add(label, box, colour)
    sheet = page(title, details, picture.height + MARGIN)
    sheet.paste(picture)
    return sheet.image
