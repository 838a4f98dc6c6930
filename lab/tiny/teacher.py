"""YOLOX-nano, trained on COCO (Megvii, Apache-2.0), as a teacher of boxes. It is not shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vidmem.encoders.tiny.detector import suppress

from .boxes import Yolox

SURE, SAME_IOU, KEPT = 0.3, 0.6, 100
"""Minimum objectness x class of a box that is taught; boxes with an IoU above SAME_IOU are one thing; maximum number of
boxes of a picture."""


class Teacher:
    """path: yolox_nano_coco.onnx."""

    def __init__(self, path: Path) -> None:
        self.detector = Yolox(path)

    def boxes(self, picture: Image.Image) -> list[tuple[float, ...]]:
        """The boxes it is sure of, in pixels of the picture, best first."""
        boxes, objectness, classes = self.detector.raw(picture)
        scores = objectness * classes.max(1)
        order = np.argsort(-scores)
        order = order[scores[order] >= SURE]
        kept = boxes[order].clip(0, (picture.width, picture.height) * 2)
        return [tuple(box) for box in kept[suppress(kept, SAME_IOU, KEPT)].tolist()]
