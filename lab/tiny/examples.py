"""Lessons as the heads of `tiny` see them: the output of the frozen detector for a picture, in half precision.

Each picture is mirrored at random, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.tiny.teach import Lesson
from vidmem.encoders.tiny.detector import anchor_points, best_points, decode, suppress
from vidmem.encoders.tiny.region_heads import box_statistics, neck_features
from vidmem.geometry import box_iou
from vidmem.records import Float32

FLOOR, CANDIDATES, MOST, SAME_IOU = 0.01, 600, 120, 0.7
"""Limits that keep more boxes, and closer ones, than indexing does."""
OUTPUTS = ("scores", "bins", "neck8", "neck16", "neck32", "wide8")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """boxes `(m, 4)` that the detector found, rows `(m, F)`: what the heads are told of them, scores `(m,)`. iou
    `(m, n)` with the things of the lesson, whose masks `(n, h, w)` are float16; features `(2 D, h, w)` float16."""

    boxes: Float32
    rows: Float32
    scores: Float32
    iou: Float32
    masks: NDArray[np.float16]
    outlined: NDArray[np.bool_]
    complete: bool
    source: str
    features: NDArray[np.float16]


def examples(session: Any, lessons: Iterable[Lesson], seed: int = 0) -> Iterator[Example]:
    """Run the detector on lessons. session: ONNX Runtime session of a detector that still has the output `wide8`."""
    rng = np.random.default_rng(seed)
    for lesson in lessons:
        image, truth, masks = lesson.image, lesson.boxes, lesson.masks
        h, w = image.shape[:2]
        if rng.random() < 0.5:
            image, masks = np.ascontiguousarray(image[:, ::-1]), masks[:, :, ::-1]
            truth = np.stack([w - truth[:, 2], truth[:, 1], w - truth[:, 0], truth[:, 3]], 1)
        scores, bins, *necks, wide = (out[0] for out in session.run(OUTPUTS, {"image": image[None]}))
        places, best = anchor_points(h, w), scores.max(1)
        at = best_points(best, FLOOR, CANDIDATES)
        boxes = decode(bins[at], places[at], (h, w))
        kept = suppress(boxes, SAME_IOU, MOST)
        at, boxes = at[kept], boxes[kept]
        statistics = box_statistics(scores[at], bins[at], boxes, places[at, 2], (h, w))
        rows = np.concatenate([neck_features((necks[0], necks[1], necks[2]), boxes), statistics], 1)
        features = np.concatenate([necks[0], wide]).astype(np.float16)
        yield Example(
            boxes,
            rows,
            best[at],
            box_iou(boxes[:, None], truth[None]),
            masks.astype(np.float16),
            lesson.outlined,
            lesson.complete,
            lesson.source,
            features,
        )
