"""Augmented views of a picture, as in the public code of T-REN: a crop, a mirror image, brightness and contrast.

A crop is a box of whole pixels, so the masks of a view are exactly the pixels of their regions that the view shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.export.coco import Masks

from .config import ViewConfig


@dataclass(frozen=True, slots=True)
class View:
    """One view of a picture. box: left, top, right, bottom in pixels. flip: mirrored from left to right. brightness,
    contrast: factors, 1 for none."""

    box: tuple[int, int, int, int]
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0


def whole(width: int, height: int) -> View:
    """Return the view of all of a picture, unchanged."""
    return View((0, 0, width, height))


def draw_view(config: ViewConfig, width: int, height: int, rng: np.random.Generator) -> View:
    """Draw a view of a picture of this size in pixels.

    The area of the crop is even between `config.crop` and the whole picture, its sides keep their ratio, and its place
    is even too. Every call takes the same number of random values.
    """
    area, left, top, mirror, bright, contrast = rng.random(6).tolist()
    side = math.sqrt(config.crop + (1 - config.crop) * area)
    w, h = max(1, round(width * side)), max(1, round(height * side))
    x, y = int(left * (width - w + 1)), int(top * (height - h + 1))
    factors = [1 + config.jitter * (2 * v - 1) for v in (bright, contrast)]
    return View((x, y, x + w, y + h), config.flip and mirror < 0.5, *factors)


def view_picture(image: NDArray[np.uint8], view: View, size: tuple[int, int]) -> NDArray[np.float32]:
    """Show a picture `(H, W, 3)` as the view does, resized bicubically to `size` (width, height).

    Returns:
        `(height, width, 3)` float32 in [0, 1].
    """
    resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box=view.box)
    out: NDArray[np.float32] = np.asarray(resized, np.float32) / np.float32(255)
    if view.flip:
        out = out[:, ::-1]
    if view.brightness != 1:
        out = np.clip(out * np.float32(view.brightness), 0, 1)
    if view.contrast != 1:
        grey = np.float32((out @ np.array([0.299, 0.587, 0.114], np.float32)).mean())
        out = np.clip((out - grey) * np.float32(view.contrast) + grey, 0, 1)
    return np.ascontiguousarray(out)


def view_masks(masks: Masks, view: View, size: tuple[int, int]) -> Masks:
    """Show masks `(R, H, W)` as the view does, by nearest neighbour: `(R, height, width)`. A region outside the crop
    has an empty mask."""
    x0, y0, x1, y1 = view.box
    rows, columns = y0 + _centres(size[1], y1 - y0), x0 + _centres(size[0], x1 - x0)
    out = masks[:, rows[:, None], columns[::-1] if view.flip else columns]
    return out


def coarse_masks(masks: Masks, grid: int) -> Masks:
    """Return masks `(R, H, W)` at the middles of `grid` x `grid` cells: `(R, grid, grid)`."""
    rows, columns = _centres(grid, masks.shape[1]), _centres(grid, masks.shape[2])
    return masks[:, rows[:, None], columns]


def _centres(count: int, length: int) -> NDArray[Any]:
    """Return the pixels under the middles of `count` equal parts of `length` pixels."""
    return (np.arange(count) * 2 + 1) * length // (2 * count)
