"""Why there: how like a phrase each place of a frame is, in colour over the frame and in numbers beside the box.

Two maps. Where an encoder has features of patches or of regions, the heat is their raw cosine; colours are stretched to
what there is in the frame, so they always have a peak, and whether it means anything, the cosines inside and outside of
the box tell. Where it looks at a thing as a whole, the heat is how much the score falls when a place is covered; then
colours are not stretched beyond a quarter of the score, so that a thing of which no part matters stays cold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UsageError
from ..geometry import nearest, stretching
from ..records import Box, Float32
from .drawing import INNER, MARGIN, SMALL, TEXT, page, with_box, wrapped, write
from .heatmap import means, over

if TYPE_CHECKING:
    from ..query.occlusion import Covered

LEAST_SCALE = 0.25
"""The hottest colour stands for a fall of at least this share of the score."""
_WINDOW = 2.0
"""What is shown around a thing that was covered, in sides of its box."""
_BAR = 240, 16


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """picture: the frame under its heat, with the box and the scale. inside, outside: the mean of the heat there, None
    where nothing is known of it. low, high: least and highest. by: "patches" when each patch was asked by itself,
    "regions" when it has the cosine of the best region that holds it, "covering" when it is how much the score falls
    where a patch is covered. score: that score, None otherwise."""

    picture: Image.Image
    inside: float | None
    outside: float | None
    low: float
    high: float
    by: str
    score: float | None = None


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
    whose = "of each patch" if by == "patches" else "of the best region that holds a place"
    told = [f"raw cosine to the text, {whose}", f"mean {_said(inside)} inside the box, {_said(outside)} outside"]
    ends = f"{low:.3f}", f"{high:.3f}"
    picture = _sheet(with_box(heated, box), title, told, ends, "raw cosine, least and highest in this picture")
    return Explained(picture, inside, outside, low, high, by)


def explain_covered(image: NDArray[np.uint8], box: Box, covered: Covered, title: str) -> Explained:
    """As `explain`, from what came of covering places of the thing in the box."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = int(covered.area[0]), int(covered.area[1]), round(covered.area[2]), round(covered.area[3])
    x1, y1 = min(max(x1, x0 + 1), width), min(max(y1, y0 + 1), height)
    raw = np.zeros((height, width), np.float32)
    known = np.zeros((height, width), bool)
    h, w = covered.falls.shape
    raw[y0:y1, x0:x1] = stretching(h, y1 - y0) @ covered.falls @ stretching(w, x1 - x0).T
    known[y0:y1, x0:x1] = True
    inside, outside = means(raw, box, known)
    low, high = float(covered.falls.min()), float(covered.falls.max())
    scale = max(high, LEAST_SCALE * abs(covered.score), 1e-6)
    heated = over(image, np.clip(raw / scale, 0, 1).astype(np.float32))
    window = _window(box, (width, height))
    crop = heated[window[1] : window[3], window[0] : window[2]]
    moved = box[0] - window[0], box[1] - window[1], box[2] - window[0], box[3] - window[1]
    told = [
        f"how much the score {covered.score:.2f} falls where a patch of {covered.patch:.0f} pixels is laid on it",
        f"mean {_said(inside)} inside the box, {_said(outside)} around it; most {high:.3f}",
    ]
    picture = _sheet(
        with_box(crop, moved), title, told, ("0", f"{scale:.3f}"), "fall of the score", with_box(image, box, 260, 180)
    )
    return Explained(picture, inside, outside, low, high, "covering", covered.score)


def _window(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a frame of `size` (width, height) around a box that is shown large, no narrower than 4:3 where the
    frame lets."""
    high = min(max(_WINDOW * (box[3] - box[1]), _WINDOW * (box[2] - box[0]) * 3 / 4, 16), size[1])
    wide = min(max(high * 4 / 3, _WINDOW * (box[2] - box[0])), size[0])
    x = min(max((box[0] + box[2] - wide) / 2, 0), size[0] - wide)
    y = min(max((box[1] + box[3] - high) / 2, 0), size[1] - high)
    return int(x), int(y), max(int(x) + 1, round(x + wide)), max(int(y) + 1, round(y + high))


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _sheet(
    shown: Image.Image, title: str, told: list[str], ends: tuple[str, str], unit: str, whole: Image.Image | None = None
) -> Image.Image:
    """The heated picture, and below it the scale: what the colours are on a grey picture. whole: of what `shown` is a
    part, beside the scale."""
    below = max(64, whole.height + MARGIN if whole is not None else 0)
    sheet = page(title, wrapped(told, TEXT, INNER), shown.height + 14 + below)
    sheet.image.paste(shown, (MARGIN + (INNER - shown.width) // 2, sheet.top))
    y = sheet.top + shown.height + 14
    rising = np.tile(np.linspace(0, 1, _BAR[0], dtype=np.float32), (_BAR[1], 1))
    bar = over(np.full((_BAR[1], _BAR[0], 3), 128, np.uint8), rising)
    sheet.image.paste(Image.fromarray(bar), (MARGIN, y))
    write(sheet.draw, (MARGIN, y + _BAR[1] + 4), ends[0], SMALL)
    write(sheet.draw, (MARGIN + _BAR[0], y + _BAR[1] + 4), ends[1], SMALL, anchor="ra")
    write(sheet.draw, (MARGIN + _BAR[0] + 16, y), unit, SMALL)
    if whole is not None:
        x = MARGIN + INNER - whole.width
        sheet.image.paste(whole, (x, y))
        write(sheet.draw, (x - 12, y + whole.height / 2), "the whole picture", SMALL, anchor="rm")
    return sheet.image
