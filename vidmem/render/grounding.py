"""Pictures of what was found in one photo: masks and boxes, or labels in colour with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..query.grounding import Pointed
from ..query.parse import UNLABELLED
from ..query.parse import Labels as LabelMap
from ..timecode import counted
from .drawing import GREY, INNER, MARGIN, TEXT, Labels, colours, fit_page, fitted, length, outline, page, wrapped, write

DIM = 0.55
"""Brightness of the photo outside the masks, as a share."""
MAX_HEIGHT = 900
"""Maximum height of a photo on the page, in pixels; photos are often upright."""
_ROW, _MIN_COLUMN = 28, 210


def grounding_sheet(image: NDArray[np.uint8], things: Sequence[Pointed], title: str, detail: str = "") -> Image.Image:
    """Draw what was found in a photo: the photo is darker outside the masks, and has boxes with scores.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        things: What was found.
        title: What was searched for.
        detail: More for the second line, after the scores.

    Returns:
        An RGB picture, 960 pixels wide.
    """
    masked = np.zeros(image.shape[:2], bool)
    for thing in things:
        masked |= thing.mask
    picture, scale = fit_page(np.where(masked[..., None], image, (image * DIM).astype(np.uint8)), height=MAX_HEIGHT)
    draw = ImageDraw.Draw(picture)
    boxes = [(t.box[0] * scale, t.box[1] * scale, t.box[2] * scale - 1, t.box[3] * scale - 1) for t in things]
    for box in boxes:
        outline(draw, box)
    labels = Labels(draw, (0, 0, *picture.size))
    for thing, box in zip(things, boxes, strict=True):
        labels.add(f"{thing.score:.2f}", box)
    best = f"best score {max(t.score for t in things):.2f}" if things else "not found"
    sheet = page(title, wrapped([counted(len(things), "thing"), best, detail], TEXT, INNER), picture.height + MARGIN)
    sheet.paste(picture)
    return sheet.image


def mask_image(things: Sequence[Pointed], size: tuple[int, int]) -> Image.Image:
    """A grey picture of `size` (H, W): white where a thing is, black elsewhere."""
    pixels = np.zeros(size, np.uint8)
    for thing in things:
        pixels[thing.mask] = 255
    return Image.fromarray(pixels)


def label_image(labels: LabelMap) -> Image.Image:
    """Labels `(H, W)` as a picture with a palette: 0 is unlabelled, and label i is i + 1."""
    picture = Image.fromarray((labels + 1).astype(np.uint8), "P")
    paint = colours(255)
    picture.putpalette([0, 0, 0, *paint.reshape(-1).tolist()])
    return picture


def labels_sheet(
    image: NDArray[np.uint8], labels: LabelMap, names: Sequence[str], title: str = "", detail: str = ""
) -> Image.Image:
    """Draw a photo in the colours of its labels, with a legend below it, the largest label first.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        labels: `(H, W)`, an index into `names` for each pixel, or UNLABELLED.
        names: The labels.
        title: First line; by default "labels".
        detail: More for the second line, after the number of labels found.

    Returns:
        An RGB picture, 960 pixels wide.
    """
    labelled = labels != UNLABELLED
    counts = np.bincount(labels[labelled], minlength=len(names))
    order = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
    paint = np.zeros((max(len(names), 1), 3), np.uint8)
    paint[order] = colours(len(order))  # in order of size, so that the largest ones differ most
    out = (image * DIM).astype(np.uint8)
    out[labelled] = (image[labelled].astype(np.uint16) * 2 // 5 + paint[labels[labelled]] * np.uint16(3) // 5).astype(
        np.uint8
    )
    picture, _ = fit_page(out, height=MAX_HEIGHT)
    entries = [(names[i], f"{counts[i] / labels.size:.1%}", _mixed(paint[i])) for i in order]
    if not labelled.all():
        entries.append(("unlabelled", f"{1 - labelled.mean():.1%}", GREY))
    widest = max((length(f"{name[:60]}  {share}", TEXT) for name, share, _ in entries), default=0.0) + 50
    columns = max(1, min(INNER // _MIN_COLUMN, int(INNER // max(widest, _MIN_COLUMN))))
    rows, cell = -(-len(entries) // columns), INNER // columns
    count = f"{len(order)} of {len(names)} labels found"
    sheet = page(title or "labels", wrapped([count, detail], TEXT, INNER), picture.height + 16 + rows * _ROW + 8)
    top = sheet.paste(picture) + 16
    for n, (name, share, colour) in enumerate(entries):
        x, y = MARGIN + n % columns * cell, top + n // columns * _ROW
        sheet.draw.rectangle((x, y + 1, x + 18, y + 19), fill=colour)
        text = fitted(name, TEXT, cell - 50 - length(share, TEXT))
        write(sheet.draw, (x + 28, y), f"{text}  {share}", TEXT)
    return sheet.image


def _mixed(colour: NDArray[np.uint8]) -> tuple[int, int, int]:
    """A label's colour as it looks over a photo of medium brightness."""
    red, green, blue = (int(c) * 3 // 5 + 51 for c in colour)
    return red, green, blue
