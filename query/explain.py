"""Why there: how like a phrase each place of a frame is, in colour over the frame and in numbers beside the box.

The heat is a raw cosine. Colours are stretched to what there is in the frame, so they always have a peak; whether it
means anything, the cosines inside and outside of the box tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import UsageError
from ..geometry import nearest, stretching
from ..records import Box, Float32, RegionTokens
from .evidence import WIDTH, fit, font, with_box
from .heat import means, over

HELD = 0.5
"""A region holds the cells in which its mask is more than this share of its peak, as its box has them."""
_MARGIN, _INK, _PAPER = 16, (28, 30, 34), (250, 250, 248)


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """picture: the frame under its heat, with the box and the scale. inside, outside: mean raw cosine there, None where
    no region is. low, high: least and highest one in the frame. by: "patches" when each patch was asked by itself,
    "regions" when it has the cosine of the best region that holds it."""

    picture: Image.Image
    inside: float | None
    outside: float | None
    low: float
    high: float
    by: str


def explain(image: NDArray[np.uint8], box: Box, cosines: Float32, title: str, by: str) -> Explained:
    """A frame `(H, W, 3)`, a box in its pixels and the raw cosines of its patches `(h, w)`, NaN where nothing is.

    Raises UsageError when nothing is anywhere.
    """
    height, width = image.shape[:2]
    held = ~np.isnan(cosines)
    if not held.any():
        raise UsageError("the encoder finds no region in that frame, so nothing can be explained; look at its picture")
    low, high = float(cosines[held].min()), float(cosines[held].max())
    filled = np.where(held, cosines, low).astype(np.float32)
    h, w = filled.shape
    raw = np.asarray(stretching(h, height) @ filled @ stretching(w, width).T, np.float32)
    known = np.asarray(nearest(held, height, width), bool)
    inside, outside = means(raw, box, known)
    shown = np.clip((raw - low) / (high - low), 0, 1) if high > low else np.zeros_like(raw)
    heated = over(image, np.where(known, shown, 0).astype(np.float32))
    note = f"mean cosine {_said(inside)} inside the box, {_said(outside)} outside, of {by}"
    return Explained(_sheet(heated, box, title, note, low, high), inside, outside, low, high, by)


def by_regions(found: RegionTokens, vector: Float32) -> Float32:
    """The cosines of regions to a unit vector `(Dt,)` over the patches that they hold `(h, w)`: of the one that is most
    like it, NaN where there is none. A mean over all would drown a small thing in the regions around it."""
    held = held_cells(found.masks)
    best = np.full(held.shape[1:], np.nan, np.float32)
    for cosine, cells in zip(cosines(found, vector[None])[:, 0], held, strict=True):
        best[cells] = np.fmax(best[cells], cosine)
    return best


def cosines(found: RegionTokens, vectors: Float32) -> Float32:
    """Of the regions with unit vectors `(n, Dt)`: `(M, n)` float32; of a token shorter than 1, the cosine times its
    length, which is how sure it is (see `ViewTokens`)."""
    lengths = np.maximum(np.linalg.norm(found.text, axis=1, keepdims=True), 1)
    return np.asarray(found.text / lengths @ vectors.T, np.float32)


def held_cells(masks: Float32) -> NDArray[np.bool_]:
    """The cells that each of the masks `(M, h, w)` holds."""
    peak = masks.max(axis=(1, 2), keepdims=True, initial=0)
    return np.asarray((masks > HELD * peak) & (peak > 0))


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _sheet(heated: NDArray[np.uint8], box: Box, title: str, note: str, low: float, high: float) -> Image.Image:
    picture = with_box(heated, box, WIDTH - 2 * _MARGIN)
    top = 78
    sheet = Image.new("RGB", (WIDTH, top + picture.height + 62), _PAPER)
    sheet.paste(picture, (_MARGIN, top))
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 12), fit(title, 56), fill=_INK, font=font(30))
    draw.text((_MARGIN, 50), note, fill=_INK, font=font(17))
    # The scale: what the colours are on a grey picture, from the least cosine of the frame to the highest.
    bar = over(np.full((16, 240, 3), 128, np.uint8), np.tile(np.linspace(0, 1, 240, dtype=np.float32), (16, 1)))
    y = top + picture.height + 16
    sheet.paste(Image.fromarray(bar), (_MARGIN + 64, y))
    draw.text((_MARGIN, y), f"{low:.3f}", fill=_INK, font=font(15))
    draw.text((_MARGIN + 312, y), f"{high:.3f}   raw cosine, least and highest in this frame", fill=_INK,
              font=font(15))  # fmt: skip
    return sheet
