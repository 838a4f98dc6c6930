"""Pictures for models: JPEGs of bounded size, each with a caption that says what it shows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...records import Box
from ...render.drawing import MARGIN, PAPER, TEXT, close_up, fit_page, fitted, with_box, write

MAX_SIDE = 1024
"""The longest side of a picture, in pixels. Models scale down what is larger."""
MAX_BYTES = 300_000
"""The largest picture, in bytes of JPEG. Base64 makes it a third longer, and clients limit the size of a result."""
MAX_MOMENTS = 12
"""The largest number of pictures on a sheet of moments."""
_QUALITIES = (85, 75, 60, 45)
_STRIP = 28
"""Height of a caption, in pixels."""
_CLOSE_UP = 800
"""The longest side of a close-up, in pixels."""
_RATIO = 4 / 3
"""Width by height of a close-up, unless the frame is too narrow or too low for that."""
_GAP = 8


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture that is to be shown.

    image: `(H, W, 3)` uint8 RGB. box: in pixels of the image, or None. caption: one line.
    """

    image: NDArray[np.uint8]
    box: Box | None
    caption: str


def jpeg(picture: Image.Image, max_side: int = MAX_SIDE, max_bytes: int = MAX_BYTES) -> bytes:
    """The picture as JPEG, no longer than `max_side` pixels on a side and no larger than `max_bytes`.

    It is made smaller first, then coarser, then smaller again, until it fits.
    """
    small = picture.convert("RGB")
    small.thumbnail((max_side, max_side))
    while True:
        for quality in _QUALITIES:
            out = io.BytesIO()
            small.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= max_bytes:
                return out.getvalue()
        if max(small.size) <= 16:
            return out.getvalue()
        small.thumbnail((round(small.width * 0.75) or 1, round(small.height * 0.75) or 1))


def whole(shot: Shot) -> Image.Image:
    """The whole picture with the box drawn and the caption below."""
    return _captioned(_drawn(shot, MAX_SIDE, MAX_SIDE - _STRIP), shot.caption)


def near(shot: Shot) -> Image.Image:
    """The box with some of its surroundings, enlarged, and the caption below. Without a box the whole picture."""
    if shot.box is None:
        return whole(shot)
    return _captioned(close_up(shot.image, shot.box, _size(shot.image, shot.box)), shot.caption)


def sheet(shots: Sequence[Shot], title: str) -> Image.Image:
    """Several moments on one page in the order given, each a whole picture with its box and its caption.

    There are two in a row, or three if there are more than four, and at most MAX_MOMENTS.
    """
    shown = shots[:MAX_MOMENTS]
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 3
    width = (MAX_SIDE - (columns + 1) * _GAP) // columns
    cells = [_captioned(_drawn(shot, width, width * 3 // 4), shot.caption) for shot in shown]
    width = max(cell.width for cell in cells)  # less for upright pictures
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    size = columns * (width + _GAP) + _GAP, _STRIP + _GAP + sum(heights) + _GAP * len(rows)
    page = Image.new("RGB", size, PAPER)
    write(ImageDraw.Draw(page), (MARGIN, 6), fitted(title, TEXT, size[0] - 2 * MARGIN), TEXT)
    y = _STRIP + _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            page.paste(cell, (_GAP + column * (width + _GAP), y))
        y += height + _GAP
    return page


def _drawn(shot: Shot, width: int, height: int) -> Image.Image:
    if shot.box is None:
        return fit_page(shot.image, width, height)[0]
    return with_box(shot.image, shot.box, width, height)


def _size(image: NDArray[np.uint8], box: Box) -> tuple[int, int]:
    """Width and height of a close-up that `close_up` fills, with no empty margins."""
    height, width = image.shape[:2]
    side = max(2.2 * (box[3] - box[1]), 2.2 * (box[2] - box[0]) / _RATIO, 48)  # as much as `close_up` shows
    wide, tall = min(side * _RATIO, width), min(side, height)
    scale = _CLOSE_UP / max(wide, tall)
    return max(1, round(wide * scale)), max(1, round(tall * scale))


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    out = Image.new("RGB", (picture.width, picture.height + _STRIP), PAPER)
    out.paste(picture, (0, 0))
    write(ImageDraw.Draw(out), (6, picture.height + 5), fitted(caption, TEXT, picture.width - 12), TEXT)
    return out
