"""YOLOX-nano, trained on COCO (Megvii, Apache-2.0), as a teacher of boxes. It is not shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vidmem.encoders.tiny.detector import suppress

SIDE, GREY, STRIDES = 416, 114, (8, 16, 32)
SURE, SAME_IOU = 0.3, 0.6
"""Least objectness x class of a box that is taught; boxes that overlap by more than SAME_IOU are one thing."""


class Teacher:
    """path: yolox_nano_coco.onnx."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        places = [(x, y, s) for s in STRIDES for y in range(SIDE // s) for x in range(SIDE // s)]
        self.places = np.array(places, np.float32)

    def boxes(self, picture: Image.Image) -> list[tuple[float, ...]]:
        """What it is sure of, in pixels of the picture, best first. The picture lies in the upper left of a grey square
        (YOLOX demo/ONNXRuntime); the sides of a box are exp(w), exp(h) times the stride."""
        scale = SIDE / max(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        canvas = np.full((SIDE, SIDE, 3), GREY, np.float32)
        canvas[: size[1], : size[0]] = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))[..., ::-1]
        (out,) = self.session.run(None, {self.name: canvas.transpose(2, 0, 1)[None]})
        rows = out[0]
        scores = rows[:, 4] * rows[:, 5:].max(1)
        order = np.argsort(-scores)
        order = order[scores[order] >= SURE]
        stride = self.places[order, 2:]
        middle = (rows[order, :2] + self.places[order, :2]) * stride
        half = np.exp(rows[order, 2:4]) * stride / 2
        boxes = np.concatenate([middle - half, middle + half], 1).astype(np.float32) / np.float32(scale)
        boxes = boxes.clip(0, (picture.width, picture.height) * 2)
        return [tuple(b) for b in boxes[suppress(boxes, SAME_IOU, 100)].tolist()]
