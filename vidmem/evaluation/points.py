"""Point segmentation (OpenImages V7): IoU over points that people marked as on a thing or off it.

GEM (arXiv 2312.00878, section 4.1) scales the map of each class that is in an image to [0, 1], takes what is at least
.5, and compares that with the points (Benenson & Ferrari, arXiv 2210.14142).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Float32

THRESHOLD = 0.5
"""Of the map after its scaling to [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassPoints:
    """The points of one class in one image.

    Attributes:
        name: The class.
        xy: `(n, 2)` float, x and y in [0, 1].
        inside: `(n,)` bool, True for points on the thing.
    """

    name: str
    xy: NDArray[np.floating]
    inside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PointScore:
    """Mean IoU over points.

    Attributes:
        per_class: Mean over classes, where the points of all images of a class are counted together. This is the usual
            mean IoU, on points.
        per_image: Mean over images and their classes, each with an IoU of its own.
        classes: Number of classes with a point on a thing, or one wrongly taken as such.
        images: Number of pairs of image and class.
    """

    per_class: float
    per_image: float
    classes: int
    images: int


def mask_at(heat: Float32, points: ClassPoints, threshold: float = THRESHOLD) -> NDArray[np.bool_]:
    """Which of the points a map `(h, w)` takes as inside, `(n,)` bool, by the cell that a point lies in.

    A flat map takes none. Raises UsageError for points outside of the image or a map that is not finite.
    """
    xy = np.asarray(points.xy, np.float64).reshape(-1, 2)
    if xy.size and not (np.isfinite(xy).all() and xy.min() >= 0 and xy.max() <= 1):
        raise UsageError(f"points are x and y in [0, 1]; those of {points.name!r} are not")
    if not np.isfinite(heat).all():
        raise UsageError(f"the map of {points.name!r} has values that are not numbers")
    height, width = heat.shape
    column = np.minimum((xy[:, 0] * width).astype(int), width - 1)
    row = np.minimum((xy[:, 1] * height).astype(int), height - 1)
    low, high = float(heat.min()), float(heat.max())
    if high <= low:
        return np.zeros(len(xy), bool)
    return np.asarray((heat[row, column] - low) / (high - low) >= threshold)


def point_miou(results: Iterable[tuple[ClassPoints, NDArray[np.bool_]]]) -> PointScore:
    """Mean IoU over points.

    Args:
        results: For each class that is in an image, its points and which of them were taken as inside `(n,)`.

    Raises:
        UsageError: A result has another number of points, or there is nothing to measure.
    """
    counts = []
    for points, taken in results:
        if len(taken) != len(points.inside):
            raise UsageError(f"{points.name!r} has {len(points.inside)} points and {len(taken)} results")
        counts.append((points.name, int((points.inside & taken).sum()), int((points.inside | taken).sum())))
    return score_of(counts)


def score_of(counts: Iterable[tuple[str, int, int]]) -> PointScore:
    """As `point_miou`, from counts.

    Args:
        counts: For each class that is in an image, its name, the points on the thing that were taken as inside, and
            those that are on the thing or were taken as inside.

    Raises:
        UsageError: There is nothing to measure.
    """
    hits: dict[str, int] = defaultdict(int)
    unions: dict[str, int] = defaultdict(int)
    single = []
    for name, hit, union in counts:
        hits[name] += hit
        unions[name] += union
        if union:
            single.append(hit / union)
    counted = [hits[name] / union for name, union in unions.items() if union]
    if not counted:
        raise UsageError("no class has a point on a thing; there is nothing to measure")
    return PointScore(float(np.mean(counted)), float(np.mean(single)), len(counted), len(single))
