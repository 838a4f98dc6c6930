"""Pictures of what was found in one photo: masks and boxes, label colours with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .evidence import fit, font
from .parse import UNLABELLED, Labels
from .point_out import Pointed
from .scene_files import colours

LARGEST = 1600
"""Pixels of the longer side of what is drawn: larger photos are scaled down."""
DIM = 0.55
"""How much of its light the photo keeps outside the masks."""
_MARK, _INK, _PAPER = (230, 57, 70), (28, 30, 34), (250, 250, 248)


def pointed_picture(image: NDArray[np.uint8], things: Sequence[Pointed]) -> Image.Image:
    """The photo `(H, W, 3)`, darker outside the masks, with their boxes and scores."""
    held = np.zeros(image.shape[:2], bool)
    for thing in things:
        held |= thing.mask
    lit = np.where(held[..., None], image, (image * DIM).astype(np.uint8))
    picture, scale = _scaled(lit)
    draw = ImageDraw.Draw(picture)
    stroke = max(2, max(picture.size) // 300)
    letters = font(max(13, max(picture.size) // 48))
    for thing in things:
        x0, y0, x1, y1 = (v * scale for v in thing.box)
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=_MARK, width=stroke)
        draw.text((x0 + stroke + 2, y0 + stroke), f"{thing.score:.2f}", fill=(255, 255, 255), font=letters,
                  stroke_width=2, stroke_fill=(20, 20, 20))  # fmt: skip
    return picture


def mask_picture(things: Sequence[Pointed], size: tuple[int, int]) -> Image.Image:
    """White where one of them is, black elsewhere; size (H, W)."""
    held = np.zeros(size, np.uint8)
    for thing in things:
        held[thing.mask] = 255
    return Image.fromarray(held)


def label_picture(labels: Labels) -> Image.Image:
    """Labels `(H, W)` as a picture with a palette: 0 for none, label i is i + 1."""
    picture = Image.fromarray((labels + 1).astype(np.uint8), "P")
    paint = colours(255)
    picture.putpalette([0, 0, 0, *paint.reshape(-1).tolist()])
    return picture


def segmented_picture(image: NDArray[np.uint8], labels: Labels, names: Sequence[str]) -> Image.Image:
    """The photo `(H, W, 3)` in the colours of its labels `(H, W)`, and below it which colour is which; the largest
    first."""
    paint = colours(len(names))
    held = labels != UNLABELLED
    out = (image * DIM).astype(np.uint8)
    out[held] = (image[held].astype(np.uint16) * 2 // 5 + paint[labels[held]] * np.uint16(3) // 5).astype(np.uint8)
    picture, _ = _scaled(out)
    counts = np.bincount(labels[held], minlength=len(names))
    order = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
    entries = [(fit(names[i], 28), f"{counts[i] / labels.size:.1%}", tuple(map(int, paint[i]))) for i in order]
    if not held.all():
        entries.append(("none of them", f"{1 - held.mean():.1%}", (150, 150, 150)))
    cell, line = 260, 26
    columns = max(1, picture.width // cell)
    rows = -(-len(entries) // columns)
    sheet = Image.new("RGB", (max(picture.width, cell), picture.height + rows * line + 16), _PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for n, (name, share, colour) in enumerate(entries):
        x, y = n % columns * cell + 10, picture.height + n // columns * line + 10
        draw.rectangle((x, y, x + 16, y + 16), fill=colour)
        draw.text((x + 24, y), f"{name}  {share}", fill=_INK, font=font(14))
    return sheet


def _scaled(pixels: NDArray[np.uint8]) -> tuple[Image.Image, float]:
    picture = Image.fromarray(pixels)
    scale = min(1.0, LARGEST / max(picture.size))
    if scale < 1:
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    return picture, scale
