"""Pictures of what was found in one photo: masks and boxes, label colours with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..query.grounding import Pointed
from ..query.parse import UNLABELLED
from ..query.parse import Labels as LabelMap
from .drawing import INNER, MARGIN, TEXT, Labels, at_hand, colours, fitted, length, outline, page, wrapped, write

DIM = 0.55
"""How much of its light the photo keeps outside the masks."""
TALL = 900
"""Pixels: a photo on the page is at most so high."""
_NONE = (150, 150, 150)
_ROW, _LEAST_COLUMN = 28, 210


def pointed_picture(image: NDArray[np.uint8], things: Sequence[Pointed], title: str, detail: str = "") -> Image.Image:
    """The photo `(H, W, 3)` in the size of a screen, darker outside the masks, with their boxes and scores. title: what
    was looked for; detail: what there is to say of it beside the scores."""
    held = np.zeros(image.shape[:2], bool)
    for thing in things:
        held |= thing.mask
    picture, scale = at_hand(np.where(held[..., None], image, (image * DIM).astype(np.uint8)), height=TALL)
    draw = ImageDraw.Draw(picture)
    boxes = [(t.box[0] * scale, t.box[1] * scale, t.box[2] * scale - 1, t.box[3] * scale - 1) for t in things]
    for box in boxes:
        outline(draw, box)
    labels = Labels(draw, (0, 0, *picture.size))
    for thing, box in zip(things, boxes, strict=True):
        labels.add(f"{thing.score:.2f}", box)
    best = f"best score {max(t.score for t in things):.2f}" if things else "not found"
    count = f"{len(things)} thing{'' if len(things) == 1 else 's'}"
    sheet = page(title, wrapped([count, best, detail], TEXT, INNER), picture.height + MARGIN)
    sheet.image.paste(picture, (MARGIN + (INNER - picture.width) // 2, sheet.top))
    return sheet.image


def mask_picture(things: Sequence[Pointed], size: tuple[int, int]) -> Image.Image:
    """White where one of them is, black elsewhere; size (H, W)."""
    held = np.zeros(size, np.uint8)
    for thing in things:
        held[thing.mask] = 255
    return Image.fromarray(held)


def label_picture(labels: LabelMap) -> Image.Image:
    """Labels `(H, W)` as a picture with a palette: 0 for none, label i is i + 1."""
    picture = Image.fromarray((labels + 1).astype(np.uint8), "P")
    paint = colours(255)
    picture.putpalette([0, 0, 0, *paint.reshape(-1).tolist()])
    return picture


def segmented_picture(
    image: NDArray[np.uint8], labels: LabelMap, names: Sequence[str], title: str = "", detail: str = ""
) -> Image.Image:
    """The photo `(H, W, 3)` in the size of a screen, in the colours of its labels `(H, W)`, and below it which colour
    is which; the largest first."""
    held = labels != UNLABELLED
    counts = np.bincount(labels[held], minlength=len(names))
    order = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
    paint = np.zeros((max(len(names), 1), 3), np.uint8)
    paint[order] = colours(len(order))  # by size: the largest ones differ most
    out = (image * DIM).astype(np.uint8)
    out[held] = (image[held].astype(np.uint16) * 2 // 5 + paint[labels[held]] * np.uint16(3) // 5).astype(np.uint8)
    picture, _ = at_hand(out, height=TALL)
    entries = [(names[i], f"{counts[i] / labels.size:.1%}", _mixed(paint[i])) for i in order]
    if not held.all():
        entries.append(("none of them", f"{1 - held.mean():.1%}", _NONE))
    widest = max((length(f"{name[:60]}  {share}", TEXT) for name, share, _ in entries), default=0.0) + 50
    columns = max(1, min(INNER // _LEAST_COLUMN, int(INNER // max(widest, _LEAST_COLUMN))))
    rows, cell = -(-len(entries) // columns), INNER // columns
    said = f"{len(order)} of {len(names)} labels found"
    sheet = page(title or "labels", wrapped([said, detail], TEXT, INNER), picture.height + 16 + rows * _ROW + 8)
    sheet.image.paste(picture, (MARGIN + (INNER - picture.width) // 2, sheet.top))
    for n, (name, share, colour) in enumerate(entries):
        x, y = MARGIN + n % columns * cell, sheet.top + picture.height + 16 + n // columns * _ROW
        sheet.draw.rectangle((x, y + 1, x + 18, y + 19), fill=colour)
        text = fitted(name, TEXT, cell - 50 - length(share, TEXT))
        write(sheet.draw, (x + 28, y), f"{text}  {share}", TEXT)
    return sheet.image


def _mixed(colour: NDArray[np.uint8]) -> tuple[int, int, int]:
    """A label's colour as it is over a photo of middle light."""
    red, green, blue = (int(c) * 3 // 5 + 51 for c in colour)
    return red, green, blue
