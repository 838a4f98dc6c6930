"""Class-agnostic regions from NanoDet-g, a detector trained on COCO. Needs only ONNX Runtime and NumPy.

Two networks. The detector (lab/tiny/convert_detector.py) takes uint8 pictures and gives, for each anchor point of three
strides, class scores and distributions over box distances; also its neck features and mask prototypes. The second look
(lab/tiny/masks.py) gives, for each box, the probability that it holds a thing, mask coefficients and a tracking token.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...geometry import unit
from ...records import Float32, RegionTokens
from ..onnx import session
from .region_heads import assemble_masks, box_statistics, neck_features

STRIDES, BINS, CLASSES = (8, 16, 32), 11, 80
PIXELS = 416 * 416
"""Approximate number of pixels of a working picture. It keeps the ratio of the original; sides are multiples of 32."""
MAX_SIDE = 832
"""Longest side of a working picture in pixels."""
MIN_SCORE, MAX_CANDIDATES = 0.02, 400
"""Minimum class score of a region, and the number of boxes that go into non-maximum suppression."""
MAX_REGIONS, NMS_IOU = 48, 0.6
"""Maximum number of regions of a frame, and the IoU above which a box is a duplicate of a better one."""
LOOK_WEIGHT = 0.3
"""Weight of the second look in a region's confidence, a weighted geometric mean with the detector's score. It raises
drawn things, which COCO lacks, and costs nothing on photos."""


def working_size(width: int, height: int) -> tuple[int, int]:
    """The size (width, height) to which pictures of the given size are scaled for the detector."""
    scale = (PIXELS / (width * height)) ** 0.5
    w, h = (min(max(32, round(side * scale / 32) * 32), MAX_SIDE) for side in (width, height))
    return w, h


class Detector:
    """The two networks.

    Args:
        detector: The bytes of the detector's ONNX file.
        look: The bytes of the second look's ONNX file.
        sha256: Their expected sha256; None to skip the check.
        threads: Number of threads of one call of the detector.
        device: As in `onnx.session`.

    Raises:
        ModelError: A file is damaged or holds another network.
        UsageError: The device does not work.
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
            detector, "the detector of `tiny`", sha256=first, threads=threads, device=device, outputs=DETECTOR_OUTPUTS
        )
        # Its matrices are small: another device or more threads would only add waiting.
        self.look = session(
            look, "the second look of `tiny`", sha256=second, device="cpu", inputs=("rows",), outputs=LOOK_OUTPUTS
        )

    def regions(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        """Regions of each picture, by descending detector score.

        Args:
            images: `(h, w, 3)` uint8 RGB, all of one size, with sides that are multiples of 32.
            width: Width of the original; points and boxes are in its pixels.
            height: Height of the original.

        Returns:
            Regions whose `visual` token tracks a thing from frame to frame, whose `text` `(M, 80)` holds the
            probabilities of COCO's classes, and whose masks lie on the grid of stride 8.

        Raises:
            ValueError: A side is not a multiple of 32.
        """
        if not images:
            return []
        h, w = images[0].shape[:2]
        if h % 32 or w % 32:
            raise ValueError(f"the sides of working pictures are multiples of 32, not {w} x {h}")
        found = self.detector.run(DETECTOR_OUTPUTS, {"image": np.stack(images)})
        scale = np.array([width / w, height / h] * 2, np.float32)
        return [self._of_frame(frame, (h, w), scale) for frame in zip(*found, strict=True)]

    def _of_frame(self, found: tuple[Float32, ...], size: tuple[int, int], scale: Float32) -> RegionTokens:
        """Regions of one frame. found: outputs of the detector; size: (h, w); scale: working to original pixels."""
        scores, bins, neck8, neck16, neck32, prototypes = found
        anchors = anchor_points(*size)
        best = scores.max(1)
        rows = best_points(best, MIN_SCORE, MAX_CANDIDATES)
        boxes = decode(bins[rows], anchors[rows], size)
        kept = suppress(boxes, NMS_IOU, MAX_REGIONS)
        rows, boxes = rows[kept], boxes[kept]
        statistics = box_statistics(scores[rows], bins[rows], boxes, anchors[rows, 2], size)
        features = neck_features((neck8, neck16, neck32), boxes)
        answers = self.look.run(LOOK_OUTPUTS, {"rows": np.concatenate([features, statistics], 1)})
        thing, coefficients, shapes, tracking = answers
        masks = assemble_masks(prototypes, coefficients, shapes, boxes, size)
        area = (masks > 0.5).mean((1, 2), dtype=np.float32)
        confidence = np.asarray(best[rows] ** (1 - LOOK_WEIGHT) * thing**LOOK_WEIGHT, np.float32)
        points = points_inside(masks, boxes) * scale[:2]
        return RegionTokens(unit(tracking), scores[rows], masks, points, boxes * scale, area, confidence)


DETECTOR_OUTPUTS = ("scores", "bins", "neck8", "neck16", "neck32", "prototypes")
LOOK_OUTPUTS = ("thing", "coefficients", "shapes", "follow")


@functools.lru_cache(16)
def anchor_points(height: int, width: int) -> Float32:
    """x, y in pixels and the stride of every anchor point of a `height` x `width` picture: `(A, 3)` float32, row by
    row."""
    out = []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride].astype(np.float32)
        out.append(np.stack([(x + 0.5) * stride, (y + 0.5) * stride, np.full_like(x, stride)], -1).reshape(-1, 3))
    return np.asarray(np.concatenate(out), np.float32)


def best_points(scores: Float32, min_score: float, count: int) -> NDArray[np.intp]:
    """Indices of the `count` highest scores `(A,)` of at least `min_score`, in descending order; ties by index."""
    rows = np.flatnonzero(scores >= min_score)
    return rows[np.argsort(-scores[rows], kind="stable")[:count]]


def decode(bins: Float32, points: Float32, size: tuple[int, int]) -> Float32:
    """Boxes `(n, 4)` float32 x0, y0, x1, y1 in pixels, clipped to the picture.

    Each side's distance is the expectation over its bins in strides (Li et al. 2020, Generalized Focal Loss, eq. 3).

    Args:
        bins: `(n, 44)` logits, 11 for each side.
        points: `(n, 3)`, as from `anchor_points`.
        size: Height and width of the picture.
    """
    e = bins.reshape(-1, 4, BINS)
    e = np.exp(e - e.max(-1, keepdims=True))
    far = (e @ np.arange(BINS, dtype=np.float32)) / e.sum(-1) * points[:, 2:]
    x, y = points[:, 0], points[:, 1]
    h, w = size
    edges = np.stack([x - far[:, 0], y - far[:, 1], x + far[:, 2], y + far[:, 3]], -1)
    return np.asarray(np.clip(edges, 0, np.array([w, h, w, h], np.float32)), np.float32)


def suppress(boxes: Float32, iou: float, count: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression of boxes `(n, 4)`, best first: indices of at most `count` kept boxes, in order.

    A box is dropped if its IoU with a kept one exceeds `iou`.
    """
    x0, y0, x1, y1 = np.ascontiguousarray(boxes.T)
    areas = (x1 - x0) * (y1 - y0)
    free = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    while len(kept) < count:
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


def points_inside(masks: Float32, boxes: Float32) -> Float32:
    """A point `(n, 2)` in each mask `(n, h, w)`, x, y in pixels of the working picture.

    It is the centre of the box if the mask covers it, else the centre of the mask's highest cell.
    """
    n, h, w = masks.shape
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    column, row = np.clip((middles / 8).astype(np.intp), 0, (w - 1, h - 1)).T
    outside = np.flatnonzero(masks[np.arange(n), row, column] <= 0.5)
    peak = masks[outside].reshape(len(outside), h * w).argmax(1)
    middles[outside] = np.stack([peak % w, peak // w], 1) * 8 + 4
    return np.asarray(middles, np.float32)
