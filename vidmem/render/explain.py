"""Explanations of a sighting: how similar each place of the picture is to a phrase, as a heat map and in numbers.

There are two maps. For encoders with features of patches or regions, the heat is their raw cosine. Its colours are
stretched to the range in the picture, so there is always a peak; the mean cosines inside and outside the box say
whether it means something. For encoders that look at a thing as a whole, the heat is the drop in score when a place is
covered. Its hottest colour stands for at least a quarter of the score, so that a thing of which no part matters stays
cold.
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

MIN_SCALE = 0.25
"""The hottest colour stands for a drop of at least this share of the score."""
_WINDOW = 2.0
"""Size of the part of the picture around a covered thing that is shown, in sides of its box."""
_BAR = 240, 16


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An explanation of a sighting.

    Attributes:
        picture: The picture under its heat map, with the box and the scale.
        inside: Mean heat inside the box; None if no heat is known there.
        outside: Mean heat outside the box; None if no heat is known there.
        low: The lowest heat.
        high: The highest heat.
        by: "patches": the heat is each patch's cosine. "regions": that of the best region at each place. "covering":
            the drop in score when a place is covered.
        score: The score that drops, for "covering"; None otherwise.
    """

    picture: Image.Image
    inside: float | None
    outside: float | None
    low: float
    high: float
    by: str
    score: float | None = None


def explain_cosines(image: NDArray[np.uint8], box: Box, cosines: Float32, title: str, by: str) -> Explained:
    """Explain by cosines.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        box: In pixels of the image.
        cosines: Raw cosines `(h, w)` of patches; NaN where no region is.
        title: First line of the picture.
        by: "patches" or "regions"; see `Explained`.

    Raises:
        UsageError: There is no region at all.
    """
    height, width = image.shape[:2]
    has_value = ~np.isnan(cosines)
    if not has_value.any():
        raise UsageError("the encoder finds no region in that frame, so nothing can be explained; look at its picture")
    low, high = float(cosines[has_value].min()), float(cosines[has_value].max())
    filled = np.where(has_value, cosines, low).astype(np.float32)
    h, w = filled.shape
    raw = np.asarray(stretching(h, height) @ filled @ stretching(w, width).T, np.float32)
    known = np.asarray(nearest(has_value, height, width), bool)
    inside, outside = means(raw, box, known)
    shown = np.clip((raw - low) / (high - low), 0, 1) if high > low else np.zeros_like(raw)
    heated = over(image, np.where(known, shown, 0).astype(np.float32))
    what = "of each patch" if by == "patches" else "of the best region at each place"
    details = [f"raw cosine to the text, {what}", f"mean {_number(inside)} inside the box, {_number(outside)} outside"]
    ends = f"{low:.3f}", f"{high:.3f}"
    picture = _sheet(with_box(heated, box), title, details, ends, "raw cosine, lowest and highest in this picture")
    return Explained(picture, inside, outside, low, high, by)


def explain_covered(image: NDArray[np.uint8], box: Box, covered: Covered, title: str) -> Explained:
    """Explain by the drop in score when places of the thing in the box are covered; see `explain_cosines`."""
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
    scale = max(high, MIN_SCALE * abs(covered.score), 1e-6)
    heated = over(image, np.clip(raw / scale, 0, 1).astype(np.float32))
    window = _window(box, (width, height))
    crop = heated[window[1] : window[3], window[0] : window[2]]
    moved = box[0] - window[0], box[1] - window[1], box[2] - window[0], box[3] - window[1]
    details = [
        f"drop in the score ({covered.score:.2f}) when a {covered.patch:.0f}-pixel patch covers a spot",
        f"mean {_number(inside)} inside the box, {_number(outside)} around it; highest {high:.3f}",
    ]
    overview = with_box(image, box, 260, 180)
    picture = _sheet(with_box(crop, moved), title, details, ("0", f"{scale:.3f}"), "drop of the score", overview)
    return Explained(picture, inside, outside, low, high, "covering", covered.score)


def _window(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a frame of `size` (width, height) around a box that is shown large: at least 4:3 if the frame is wide
    enough."""
    high = min(max(_WINDOW * (box[3] - box[1]), _WINDOW * (box[2] - box[0]) * 3 / 4, 16), size[1])
    wide = min(max(high * 4 / 3, _WINDOW * (box[2] - box[0])), size[0])
    x = min(max((box[0] + box[2] - wide) / 2, 0), size[0] - wide)
    y = min(max((box[1] + box[3] - high) / 2, 0), size[1] - high)
    return int(x), int(y), max(int(x) + 1, round(x + wide)), max(int(y) + 1, round(y + high))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _sheet(
    shown: Image.Image,
    title: str,
    details: list[str],
    ends: tuple[str, str],
    unit: str,
    whole: Image.Image | None = None,
) -> Image.Image:
    """A page with the heat map and the scale of its colours, on grey. whole: the picture that `shown` is a part of,
    drawn beside the scale."""
    below = max(64, whole.height + MARGIN if whole is not None else 0)
    sheet = page(title, wrapped(details, TEXT, INNER), shown.height + 14 + below)
    y = sheet.paste(shown) + 14
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
