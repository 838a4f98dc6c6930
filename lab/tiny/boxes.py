"""Boxes and probabilities of COCO's 80 classes from two detectors trained on COCO.

`Regions` is the region step of `tiny`; its probabilities are the hints of views. `Yolox` (YOLOX-nano, Megvii,
Apache-2.0) gives a second opinion on what a box shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.encoders.onnx import session
from vidmem.encoders.tiny.detector import anchor_points, best_points, suppress
from vidmem.encoders.tiny.regions import DetectedRegions
from vidmem.records import Float32

SIDE = 416
KEPT, SAME = 40, 0.6
"""Maximum number of boxes of a picture; of boxes with an IoU above SAME the best is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Boxes of one picture, best first. boxes `(n, 4)` float32, x0, y0, x1, y1 in pixels; classes `(n, 80)` float32 in
    [0, 1]."""

    boxes: Float32
    classes: Float32


def iou(a: Float32, b: Float32) -> Float32:
    """Return the IoU `(n, m)` of boxes `(n, 4)` and `(m, 4)`."""
    least, most = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(most - least, 0, None).prod(-1)
    area_a, area_b = (np.clip(x[:, 2:] - x[:, :2], 0, None).prod(-1) for x in (a, b))
    out: Float32 = common / np.maximum(area_a[:, None] + area_b[None] - common, 1e-9)
    return out


def best(boxes: Float32, classes: Float32, scores: Float32) -> Found:
    """Greedy non-maximum suppression over all classes together."""
    rows = best_points(scores, 0.0, KEPT * 8)
    rows = rows[suppress(boxes[rows], SAME, KEPT)]
    return Found(boxes[rows], classes[rows])


class Regions:
    """The region step of `tiny`, as it ships."""

    def __init__(self) -> None:
        self.encoder = DetectedRegions("cpu")

    def __call__(self, image: Image.Image) -> Found:
        (found,) = self.encoder.encode([np.asarray(image)], *image.size)
        return Found(found.boxes, found.text)


class Yolox:
    """YOLOX-nano (`yolox_nano_coco.onnx`)."""

    def __init__(self, path: Path) -> None:
        self.net = session(path.read_bytes(), "YOLOX-nano", inputs=(), device="cpu")
        places = anchor_points(SIDE, SIDE)
        self.strides = places[:, 2]
        self.cells = places[:, :2] / self.strides[:, None] - 0.5

    def raw(self, image: Image.Image) -> tuple[Float32, Float32, Float32]:
        """Return all `A` predictions of the network, before any selection.

        The picture lies in the upper left of a grey square (YOLOX demo/ONNXRuntime); the sides of a box are exp(w),
        exp(h) times the stride.

        Returns:
            boxes `(A, 4)` in pixels of the picture, objectness `(A,)`, and classes `(A, 80)`, all float32.
        """
        scale = SIDE / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = np.full((SIDE, SIDE, 3), 114, np.float32)
        canvas[: size[1], : size[0]] = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)[..., ::-1]
        out = self.net.run(None, {self.net.get_inputs()[0].name: canvas.transpose(2, 0, 1)[None]})[0].reshape(-1, 85)
        middle = (out[:, :2] + self.cells) * self.strides[:, None]
        half = np.exp(out[:, 2:4]) * self.strides[:, None] / 2
        boxes = np.concatenate([middle - half, middle + half], 1).astype(np.float32) / np.float32(scale)
        return boxes, out[:, 4], out[:, 5:]

    def __call__(self, image: Image.Image) -> Found:
        boxes, objectness, classes = self.raw(image)
        limits: NDArray[np.float32] = np.tile(np.array(image.size, np.float32), 2)
        named = objectness[:, None] * classes
        scores = np.maximum(named.max(1), 0.3 * objectness)
        return best(np.clip(boxes, 0, limits), named, scores)
