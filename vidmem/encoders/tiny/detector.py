"""Regions of frames from NanoDet-g, a detector trained on COCO, kept class-agnostic: what is likely to be *a thing*,
whatever its name. ONNX Runtime and numpy alone.

The detector (lab/tiny/convert_detector.py) takes uint8 pictures and gives class scores and bins of distances for each
place of three strides, the features that these were told from, and prototypes of masks. The look (lab/tiny/masks.py)
says of each box how likely it holds a thing, how its mask is mixed, and a token that follows it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...geometry import unit
from ...records import Float32, RegionTokens
from ..onnx import session
from .region_heads import appearance, drawn, opinion

STRIDES, BINS, CLASSES = (8, 16, 32), 11, 80
PIXELS = 416 * 416
"""Working pictures have about so many pixels, the ratio of the original kept, sides multiples of 32."""
LONGEST = 832
FLOOR, CANDIDATES = 0.02, 400
"""Least score of a region; how many of the best places are looked at before those that overlap are left out."""
MOST, SAME_IOU = 48, 0.6
"""Regions of a frame at most; boxes that overlap a better one by more than SAME_IOU are the same thing."""
THING = 0.3
"""The weight of the look in a region's confidence, a weighted geometric mean with the detector's score: drawn things,
which COCO has not seen, gain by it, and photos lose nothing."""


def working_size(width: int, height: int) -> tuple[int, int]:
    """The size (width, height) in which the detector wants pictures of the given size."""
    scale = (PIXELS / (width * height)) ** 0.5
    w, h = (min(max(32, round(side * scale / 32) * 32), LONGEST) for side in (width, height))
    return w, h


class Detector:
    """The two networks, from the bytes of their files.

    sha256: what each must hash to. threads: of one call. device: as `onnx.session`. Raises ModelError when one is
    damaged or another network, UsageError for the device.
    """

    def __init__(
        self,
        detector: bytes,
        look: bytes,
        *,
        sha256: tuple[str, str] | None = None,
        threads: int = 1,
        device: str | None = "cpu",
    ) -> None:
        first, second = sha256 or (None, None)
        self.detector = session(
            detector, "the detector of `tiny`", sha256=first, threads=threads, device=device, outputs=DETECTED
        )
        # Its products are small: on another device, or on more threads, it would only wait.
        self.look = session(
            look, "the second look of `tiny`", sha256=second, device="cpu", inputs=("rows",), outputs=LOOKED
        )

    def regions(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        """Regions of pictures `(h, w, 3)` uint8 RGB of one size, sides multiples of 32, by falling score of the
        detector; points and boxes in pixels of the `width` x `height` original. `visual` follows a thing from frame to
        frame, `text (M, 80)` are the probabilities of COCO's classes, masks have the grid of stride 8. Raises
        ValueError for pictures of another size."""
        if not images:
            return []
        h, w = images[0].shape[:2]
        if h % 32 or w % 32:
            raise ValueError(f"the sides of working pictures are multiples of 32, not {w} x {h}")
        found = self.detector.run(DETECTED, {"image": np.stack(images)})
        scale = np.array([width / w, height / h] * 2, np.float32)
        return [self._of_frame(frame, (h, w), scale) for frame in zip(*found, strict=True)]

    def _of_frame(self, found: tuple[Float32, ...], size: tuple[int, int], scale: Float32) -> RegionTokens:
        """found: what the detector gives, of one frame."""
        scores, bins, neck8, neck16, neck32, prototypes = found
        places = centres(*size)
        best = scores.max(1)
        rows = candidates(best, FLOOR, CANDIDATES)
        boxes = decode(bins[rows], places[rows], size)
        kept = suppress(boxes, SAME_IOU, MOST)
        rows, boxes = rows[kept], boxes[kept]
        told = opinion(scores[rows], bins[rows], boxes, places[rows, 2], size)
        seen = appearance((neck8, neck16, neck32), boxes)
        answers = self.look.run(LOOKED, {"rows": np.concatenate([seen, told], 1)})
        thing, coefficients, shapes, follow = answers
        masks = drawn(prototypes, coefficients, shapes, boxes, size)
        area = (masks > 0.5).mean((1, 2), dtype=np.float32)
        confidence = np.asarray(best[rows] ** (1 - THING) * thing**THING, np.float32)
        points = inside(masks, boxes) * scale[:2]
        return RegionTokens(unit(follow), scores[rows], masks, points, boxes * scale, area, confidence)


DETECTED = ("scores", "bins", "neck8", "neck16", "neck32", "prototypes")
LOOKED = ("thing", "coefficients", "shapes", "follow")


@functools.lru_cache(16)
def centres(height: int, width: int) -> Float32:
    """x, y in pixels and the stride of every place of a `height` x `width` picture: `(A, 3)` float32, row by row."""
    out = []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride].astype(np.float32)
        out.append(np.stack([(x + 0.5) * stride, (y + 0.5) * stride, np.full_like(x, stride)], -1).reshape(-1, 3))
    return np.asarray(np.concatenate(out), np.float32)


def candidates(scores: Float32, floor: float, most: int) -> NDArray[np.intp]:
    """Indices of the `most` highest of the scores `(A,)` that reach the floor, highest first; of equal ones the
    first."""
    rows = np.flatnonzero(scores >= floor)
    return rows[np.argsort(-scores[rows], kind="stable")[:most]]


def decode(bins: Float32, places: Float32, size: tuple[int, int]) -> Float32:
    """Boxes `(n, 4)` float32 x0, y0, x1, y1 of bins `(n, 44)` at places `(n, 3)`, cut at the picture's edges; size:
    its height and width. Each side's distance is the expectation over its bins (Li et al. 2020, Generalized Focal
    Loss, eq. 3), in strides."""
    e = bins.reshape(-1, 4, BINS)
    e = np.exp(e - e.max(-1, keepdims=True))
    far = (e @ np.arange(BINS, dtype=np.float32)) / e.sum(-1) * places[:, 2:]
    x, y = places[:, 0], places[:, 1]
    h, w = size
    edges = np.stack([x - far[:, 0], y - far[:, 1], x + far[:, 2], y + far[:, 3]], -1)
    return np.asarray(np.clip(edges, 0, np.array([w, h, w, h], np.float32)), np.float32)


def suppress(boxes: Float32, iou: float, most: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression of boxes `(n, 4)`, best first: indices of the `most` first that overlap no kept
    one by more than `iou`, in order."""
    x0, y0, x1, y1 = np.ascontiguousarray(boxes.T)
    areas = (x1 - x0) * (y1 - y0)
    free = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    while len(kept) < most:
        i = int(free.argmax()) if len(free) else 0
        if not len(free) or not free[i]:
            break
        kept.append(i)
        free[i] = False
        wide = np.minimum(x1, x1[i]) - np.maximum(x0, x0[i])
        high = np.minimum(y1, y1[i]) - np.maximum(y0, y0[i])
        common = np.maximum(wide, 0) * np.maximum(high, 0)
        free &= common <= iou * (areas + areas[i] - common)
    return np.array(kept, np.intp)


def inside(masks: Float32, boxes: Float32) -> Float32:
    """A point `(n, 2)`, x, y in pixels of the working picture, in each mask `(n, h, w)`: the middle of its box, or of
    the mask's highest cell where the mask does not hold that."""
    n, h, w = masks.shape
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    column, row = np.clip((middles / 8).astype(np.intp), 0, (w - 1, h - 1)).T
    outside = np.flatnonzero(masks[np.arange(n), row, column] <= 0.5)
    peak = masks[outside].reshape(len(outside), h * w).argmax(1)
    middles[outside] = np.stack([peak % w, peak // w], 1) * 8 + 4
    return np.asarray(middles, np.float32)
