"""Open-vocabulary semantic segmentation (OVSS): a class for each pixel, as T-REN, GEM and TextRegion measure it.

A `Scorer` gives the score of each class at each point of a square window. `class_map` slides windows over a picture,
averages their scores where windows overlap, and takes the best class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..encoders.base import Encoder
from ..errors import UsageError
from ..geometry import stretching
from ..query.parse import UNLABELLED, Labels, best_class, class_scores, dense_scores
from ..records import Float32

Scorer = Callable[[NDArray[np.uint8]], Float32]
"""Maps a window `(side, side, 3)` uint8 RGB to scores `(C, h, w)` float32."""

VOC_THRESHOLD = 0.85
"""A pixel of Pascal VOC is background if no class has at least this share of the softmax (GEM, section 4.1)."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How a picture is cut.

    Attributes:
        side: Side of a window in pixels. 384 is T-REN's.
        short: The shorter side of the picture is scaled to this many pixels, and windows slide over it. None squashes
            the whole picture into one window, as T-REN's table does. "T-REN+" and the methods with SAM see more
            pixels: 672 for ADE20K and 1344 for Cityscapes (T-REN, Table 2).
        stride: Pixels from one window to the next; None for half a window, which is our choice.
    """

    side: int = 384
    short: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UsageError(f"`side` is at least 1 pixel; got {self.side}")
        if self.stride is not None and not 1 <= self.stride <= self.side:
            raise UsageError(f"`stride` lies between 1 and `side`; got {self.stride} and {self.side}")
        if self.short is not None and self.short < self.side:
            raise UsageError(f"`short` is at least `side`, {self.side}; got {self.short}")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to which a picture is scaled."""
        if self.short is None:
            return self.side, self.side
        scale = self.short / min(width, height)
        return max(self.short, round(width * scale)), max(self.short, round(height * scale))

    def places(self, length: int) -> list[int]:
        """Where windows begin along a side of `length` pixels. The last one ends with the side."""
        step = self.stride or max(self.side // 2, 1)
        return [*range(0, length - self.side, step), length - self.side]


def by_points(encoder: Encoder, classes: Float32, grid: tuple[int, int] | None = None) -> Scorer:
    """A scorer by T-REN's points: the cosine of each class to the mean of a point's text tokens, without merging.

    Args:
        encoder: `tren`.
        classes: Text vectors of the classes `(C, Dt)`, by `encode_names`.
        grid: Rows and columns of points; None for one point per patch.

    Raises:
        UsageError: The encoder is another one.
    """
    from ..encoders.tren.encoder import Tren
    from ..encoders.tren.points import point_texts

    if not isinstance(encoder, Tren):
        raise UsageError(f"points are for `tren`, and this is {encoder.info.name!r}; use `by_patches`")
    tren = encoder

    def scores(window: NDArray[np.uint8]) -> Float32:
        tokens = point_texts(tren, window, grid)
        rows, columns = grid or (round(len(tokens) ** 0.5),) * 2
        return dense_scores(tokens, classes, (rows, columns))

    return scores


def by_patches(encoder: Encoder, classes: Float32) -> Scorer:
    """A scorer by the patches of an encoder that has them in the space of texts (`gem`, `densevlm`).

    classes: Text vectors of the classes `(C, Dt)`. Raises UsageError if the encoder has no such patches.
    """
    if not encoder.has_patches:
        raise UsageError(f"{encoder.info.name!r} has no patches in the space of texts; use `gem` or `densevlm`")

    def scores(window: NDArray[np.uint8]) -> Float32:
        patches = encoder.patches([window])[0]
        flat = class_scores(patches.reshape(-1, patches.shape[-1]), classes)
        return np.ascontiguousarray(flat.T).reshape(-1, *patches.shape[:2])

    return scores


def score_map(image: NDArray[np.uint8], scorer: Scorer, windows: Windows) -> Float32:
    """The score of each class at each pixel of the scaled picture, `(C, h, w)` float32.

    image: `(H, W, 3)` uint8 RGB. It is scaled bicubically, as in T-REN's code.
    """
    width, height = windows.size(image.shape[1], image.shape[0])
    scaled = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    side = windows.side
    total: Float32 | None = None
    count = np.zeros((height, width), np.float32)
    for y in windows.places(height):
        for x in windows.places(width):
            found = scorer(np.ascontiguousarray(scaled[y : y + side, x : x + side]))
            if total is None:
                total = np.zeros((len(found), height, width), np.float32)
            down, right = stretching(found.shape[1], side), stretching(found.shape[2], side).T
            total[:, y : y + side, x : x + side] += down @ found @ right
            count[y : y + side, x : x + side] += 1
    assert total is not None  # there is always a window
    return np.asarray(total / count, np.float32)


def class_map(
    image: NDArray[np.uint8],
    scorer: Scorer,
    windows: Windows,
    size: tuple[int, int] | None = None,
    *,
    background: float | None = None,
    temperature: float = 0.01,
) -> Labels:
    """The class of each pixel, `(H, W)` int32.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        scorer: Scores classes in a window.
        windows: How the picture is cut.
        size: H and W of the result; None for the picture's own. T-REN's code scores at (384, 384), with the truth
            scaled by nearest neighbours.
        background: Minimum share of the softmax; pixels below are UNLABELLED. None names every pixel; VOC_THRESHOLD is
            GEM's for Pascal VOC.
        temperature: Of that softmax. The default is that of CLIP's logits.
    """
    scores = score_map(image, scorer, windows)
    height, width = size or (image.shape[0], image.shape[1])
    labels = best_class(scores, height, width)
    if background is not None:  # one class at a time: 150 classes at full size are gigabytes
        down, right = stretching(scores.shape[1], height), stretching(scores.shape[2], width).T
        best = reduce(np.maximum, (down @ one @ right for one in scores))
        total = sum(np.exp((down @ one @ right - best) / temperature) for one in scores)
        labels[1 / np.asarray(total) < background] = UNLABELLED
    return labels
