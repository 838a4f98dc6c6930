"""Which part of a thing its score depends on: the score falls where that part is covered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import MergeConfig
from ..encoders.base import Encoder
from ..geometry import box_iou
from ..indexer.views import cut, sharpness
from ..records import Box, Float32, View
from .single_image import merged_regions, small

CELLS = 8
"""A box with its surroundings is cut into as many cells as a square of this many along each side."""
COVER = 3
"""The patch covers this many cells along each of its sides."""
AROUND = 0.25
"""How much is covered beyond the box, in its sides: a look sees a rim around the box too."""
SAME_BOX = 0.5
"""Minimum box IoU of the region that is the thing in the box."""


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """How much a thing's score falls where it is covered.

    falls `(h, w)` float32: of each cell of `area`, which is in pixels, the mean over all patches that held it. score:
    with nothing covered. patch: its side in pixels.
    """

    falls: Float32
    area: Box
    score: float
    patch: float


def cover(encoder: Encoder, image: NDArray[np.uint8], box: Box, vector: Float32, config: MergeConfig) -> Covered:
    """Occlusion, after Zeiler and Fergus (2014, "Visualizing and understanding convolutional networks", section 4.2).

    A plain patch slides over the thing, and at each place the picture is looked at anew, by the detector as well.

    Args:
        encoder: One that looks at views.
        image: `(H, W, 3)` uint8 RGB.
        box: Around the thing, in pixels.
        vector: Unit text vector `(Dt,)`.
        config: How regions are merged.
    """
    area = _surroundings(box, image.shape[1], image.shape[0])
    wide, high = area[2] - area[0], area[3] - area[1]
    cell = max(float(np.sqrt(max(wide * high, 1.0))) / CELLS, 1.0)
    across, down = max(1, round(wide / cell)), max(1, round(high / cell))
    x, y = np.linspace(area[0], area[2], across + 1), np.linspace(area[1], area[3], down + 1)
    colour = _mean_colour(image, area)
    places = [(i, j) for j in range(1 - COVER, down) for i in range(1 - COVER, across)]

    def score(place: tuple[int, int] | None) -> float:
        picture = image
        if place is not None:
            (x0, x1), (y0, y1) = _ends(x, place[0]), _ends(y, place[1])
            picture = image.copy()
            picture[y0:y1, x0:x1] = colour
        return _score(encoder, picture, box, vector, config)

    with encoder.parallel() as workers, ThreadPoolExecutor(workers) as pool:
        whole, *scores = pool.map(score, [None, *places])
    total, count = np.zeros((down, across)), np.zeros((down, across))
    for (i, j), covered_score in zip(places, scores, strict=True):
        held = slice(max(j, 0), j + COVER), slice(max(i, 0), i + COVER)
        total[held] += whole - covered_score
        count[held] += 1
    return Covered((total / count).astype(np.float32), area, whole, COVER * cell)


def _surroundings(box: Box, width: int, height: int) -> Box:
    """The box with AROUND on each side, within the picture."""
    dx, dy = AROUND * (box[2] - box[0]), AROUND * (box[3] - box[1])
    return max(box[0] - dx, 0.0), max(box[1] - dy, 0.0), min(box[2] + dx, float(width)), min(box[3] + dy, float(height))


def _mean_colour(image: NDArray[np.uint8], area: Box) -> NDArray[np.uint8]:
    """The mean colour `(3,)` of a part of the picture; grey where it is empty."""
    inside = image[int(area[1]) : int(np.ceil(area[3])), int(area[0]) : int(np.ceil(area[2]))]
    return inside.reshape(-1, 3).mean(0).astype(np.uint8) if inside.size else np.full(3, 128, np.uint8)


def _ends(edges: NDArray[np.float64], first: int) -> tuple[int, int]:
    """The ends, in whole pixels, of the patch whose first cell is `first`. edges: of the cells."""
    return int(edges[max(first, 0)]), int(np.ceil(edges[min(first + COVER, len(edges) - 1)]))


def _score(encoder: Encoder, image: NDArray[np.uint8], box: Box, vector: Float32, config: MergeConfig) -> float:
    """The score by a text of what is in the box, with the hint of the detector's region that fits the box, if there is
    one."""
    looker = encoder.views
    assert looker is not None
    height, width = image.shape[:2]
    working = small(encoder, image)
    found = merged_regions(encoder, working, (width, height), config)
    overlap = box_iou(found.boxes, box) if len(found) else np.zeros(1)
    best = int(overlap.argmax())
    known = overlap[best] >= SAME_BOX
    hint = found.text[best].copy() if known else np.zeros(0, np.float32)
    confidence = float(found.confidence[best]) if known else 0.0
    picture = cut(working, box, (width, height), looker.view_pixels)
    view = View(picture, box, (width, height), 0, hint, sharpness(picture), confidence)
    return float(looker.look([view]).text[0] @ vector)
