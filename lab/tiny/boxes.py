"""What two detectors trained on COCO see in a picture: boxes and probabilities of COCO's 80 classes.

`Nanodet` is the one that `tiny` finds regions with, so its probabilities are the hints of views; `Yolox` is the second
opinion on what a box shows. Decoding after facts/embedded.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.records import Float32

SIDE = 416
KEPT, SAME = 40, 0.6
"""Boxes a picture, at most; of boxes whose IoU exceeds SAME the best stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """boxes `(n, 4)` float32, x0, y0, x1, y1 in pixels; classes `(n, 80)` float32 in [0, 1]; best first."""

    boxes: Float32
    classes: Float32


def _session(path: Path) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def iou(a: Float32, b: Float32) -> Float32:
    """`(n, m)` of boxes `(n, 4)` and `(m, 4)`."""
    least, most = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(most - least, 0, None).prod(-1)
    area_a, area_b = (np.clip(x[:, 2:] - x[:, :2], 0, None).prod(-1) for x in (a, b))
    out: Float32 = common / np.maximum(area_a[:, None] + area_b[None] - common, 1e-9)
    return out


def best(boxes: Float32, classes: Float32, scores: Float32, kept: int = KEPT) -> Found:
    """Greedy non-maximum suppression, whatever the class."""
    order = np.argsort(-scores, kind="stable")[: kept * 8]
    boxes, classes = boxes[order], classes[order]
    close = iou(boxes, boxes) > SAME
    free = np.ones(len(boxes), np.bool_)
    for i in range(len(boxes)):
        if free[i]:
            free[i + 1 :] &= ~close[i, i + 1 :]
    rows = np.flatnonzero(free)[:kept]
    return Found(boxes[rows], classes[rows])


class Nanodet:
    """NanoDet-g (`nanodet_g_coco.onnx`)."""

    def __init__(self, path: Path) -> None:
        self.net = _session(path)

    def __call__(self, image: Image.Image) -> Found:
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)[..., ::-1]
        pixels = (pixels - (103.53, 116.28, 123.675)) / (57.375, 57.12, 58.395)
        out = self.net.run(None, {"input": pixels.transpose(2, 0, 1)[None].astype(np.float32)})  # type: ignore[attr-defined]
        classes, boxes = [], []
        for said, bins in zip(out[:3], out[3:], strict=True):
            said, bins = said.reshape(-1, 80), bins.reshape(-1, 4, 11)
            cells = round(len(said) ** 0.5)
            stride = SIDE / cells
            share = np.exp(bins - bins.max(-1, keepdims=True))
            away = (share / share.sum(-1, keepdims=True)) @ np.arange(11, dtype=np.float32) * stride
            y, x = (v.reshape(-1) for v in (np.mgrid[:cells, :cells] + 0.5) * stride)
            boxes.append(np.stack([x - away[:, 0], y - away[:, 1], x + away[:, 2], y + away[:, 3]], 1))
            classes.append(said)
        every, probs = np.concatenate(boxes).clip(0, SIDE), np.concatenate(classes)
        scale = np.tile(np.array(image.size, np.float32) / SIDE, 2)
        return best((every * scale).astype(np.float32), probs, probs.max(1))


class Yolox:
    """YOLOX-nano (`yolox_nano_coco.onnx`)."""

    def __init__(self, path: Path) -> None:
        self.net = _session(path)
        cells = [np.stack(np.meshgrid(np.arange(SIDE // s), np.arange(SIDE // s)), -1).reshape(-1, 2) for s in (8, 16, 32)]
        self.cells = np.concatenate(cells).astype(np.float32)
        self.strides = np.concatenate([np.full(len(c), s, np.float32) for c, s in zip(cells, (8, 16, 32), strict=True)])

    def __call__(self, image: Image.Image) -> Found:
        scale = SIDE / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = np.full((SIDE, SIDE, 3), 114, np.float32)
        canvas[: size[1], : size[0]] = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)[..., ::-1]
        name = self.net.get_inputs()[0].name  # type: ignore[attr-defined]
        out = self.net.run(None, {name: canvas.transpose(2, 0, 1)[None]})[0].reshape(-1, 85)  # type: ignore[attr-defined]
        middle, half = (out[:, :2] + self.cells) * self.strides[:, None], np.exp(out[:, 2:4]) * self.strides[:, None] / 2
        boxes = np.concatenate([middle - half, middle + half], 1) / scale
        limits: NDArray[np.float32] = np.tile(np.array(image.size, np.float32), 2)
        classes = out[:, 4:5] * out[:, 5:]
        scores = np.maximum(classes.max(1), 0.3 * out[:, 4])
        return best(np.clip(boxes, 0, limits).astype(np.float32), classes, scores)
