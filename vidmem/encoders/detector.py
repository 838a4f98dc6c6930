"""Regions of frames from NanoDet-g, a detector trained on COCO, kept class-agnostic: what is likely to be *a thing*,
whatever its name. ONNX Runtime and numpy alone.

The graph (lab/tiny/convert_detector.py) takes uint8 pictures and gives class scores and bins of distances for each
place of three strides, and the features that these were told from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..geometry import box_iou, cell_share, unit
from ..records import Float32

STRIDES, BINS, CLASSES = (8, 16, 32), 11, 80
PIXELS = 416 * 416
"""Working pictures have about so many pixels, the ratio of the original kept, sides multiples of 32."""
LONGEST = 832
FLOOR, CANDIDATES = 0.02, 400
"""Least score of a region; how many of the best places are looked at before those that overlap are left out."""
MOST, SAME_IOU = 48, 0.6
"""Regions of a frame at most; boxes that overlap a better one by more than SAME_IOU are the same thing."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorRegions:
    """The regions of one frame, best first; all float32. visual `(M, 128)`: unit rows that follow a thing from frame to
    frame; text `(M, 80)`: probabilities of COCO's classes; masks `(M, h, w)` in [0, 1] on the grid of stride 8; points
    `(M, 2)` and boxes `(M, 4)` in pixels of the original; area `(M,)`: share of the frame under the mask; confidence
    `(M,)` in [0, 1]."""

    visual: Float32
    text: Float32
    masks: Float32
    points: Float32
    boxes: Float32
    area: Float32
    confidence: Float32

    def __len__(self) -> int:
        return len(self.visual)


def working_size(width: int, height: int) -> tuple[int, int]:
    """The size (width, height) in which the detector wants pictures of the given size."""
    scale = (PIXELS / (width * height)) ** 0.5
    w, h = (min(max(32, round(side * scale / 32) * 32), LONGEST) for side in (width, height))
    return w, h


class Detector:
    """The detector in the file `source`, or in these bytes.

    sha256: what the bytes must hash to. threads: of one call; providers: of ONNX Runtime, best first. Raises ModelError
    when the file is missing, another one, or not this detector, or no provider is there.
    """

    def __init__(self, source: Path | bytes, *, sha256: str | None = None, threads: int = 1,
                 providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:  # fmt: skip
        try:
            data = source if isinstance(source, bytes) else source.read_bytes()
        except OSError as error:
            raise ModelError(f"the detector is missing ({error}); reinstall vidmem") from None
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError("the detector is damaged (its file has another sha256); reinstall vidmem")
        self.session = _session(data, threads, providers)

    def regions(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[DetectorRegions]:
        """Regions of pictures `(h, w, 3)` uint8 RGB of one size, sides multiples of 32, best first; points and boxes in
        pixels of the `width` x `height` original. Raises ValueError for pictures of another size."""
        h, w = images[0].shape[:2]
        if h % 32 or w % 32:
            raise ValueError(f"the sides of working pictures are multiples of 32, not {w} x {h}")
        outputs = ("scores", "bins", "neck8", "neck16", "neck32")
        scores, bins, *necks = self.session.run(outputs, {"image": np.stack(images)})
        places = centres(h, w)
        scale = np.array([width / w, height / h] * 2, np.float32)
        return [self._of_frame(s, b, places, n, (h, w), scale) for s, b, *n in zip(scores, bins, *necks, strict=True)]

    def _of_frame(self, scores: Float32, bins: Float32, places: Float32, necks: list[Float32], size: tuple[int, int],
                  scale: Float32) -> DetectorRegions:  # fmt: skip
        best = scores.max(1)
        rows = candidates(best, FLOOR, CANDIDATES)
        boxes = decode(bins[rows], places[rows], size)
        kept = suppress(boxes, SAME_IOU, MOST)
        rows, boxes = rows[kept], boxes[kept]
        h, w = size
        masks = _filled(boxes, (h // 8, w // 8), w, h)
        tokens = unit(pooled(necks[0], masks))
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        area = masks.mean((1, 2), dtype=np.float32)
        return DetectorRegions(tokens, scores[rows], masks, middles * scale[:2], boxes * scale, area, best[rows])


def _session(data: bytes, threads: int, providers: Sequence[str]) -> Any:
    import onnxruntime

    there = onnxruntime.get_available_providers()
    missing = [p for p in providers if p not in there]
    if missing:
        raise ModelError(f"ONNX Runtime has no {missing[0]} here; it has {', '.join(there)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=list(providers))
    except Exception as error:  # its classes of errors have no common base but this
        cause = " ".join(str(error).split())[:150]
        raise ModelError(f"the detector is damaged ({cause}); reinstall vidmem") from None
    if [i.name for i in session.get_inputs()] != ["image"] or session.get_outputs()[0].name != "scores":
        raise ModelError("the detector is another network than this version wants; reinstall vidmem")
    return session


def centres(height: int, width: int) -> Float32:
    """x, y in pixels and the stride of every place of a `height` x `width` picture: `(A, 3)` float32, row by row."""
    out = []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride].astype(np.float32)
        out.append(np.stack([(x + 0.5) * stride, (y + 0.5) * stride, np.full_like(x, stride)], -1).reshape(-1, 3))
    return np.concatenate(out)


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
    return np.clip(edges, 0, np.array([w, h, w, h], np.float32)).astype(np.float32)


def suppress(boxes: Float32, iou: float, most: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression of boxes `(n, 4)`, best first: indices of the `most` first that overlap no kept
    one by more than `iou`, in order."""
    free = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for i in range(len(boxes)):
        if free[i]:
            kept.append(i)
            if len(kept) == most:
                break
            free &= box_iou(boxes, boxes[i]) <= iou
    return np.array(kept, np.intp)


def _filled(boxes: Float32, grid: tuple[int, int], width: int, height: int) -> Float32:
    """Masks `(n, h, w)`: the share of each cell that lies in the box."""
    if not len(boxes):
        return np.zeros((0, *grid), np.float32)
    return np.stack([cell_share(tuple(b), grid, width, height) for b in boxes.tolist()])


def pooled(features: Float32, masks: Float32) -> Float32:
    """The mean `(n, D)` of features `(D, h, w)` under masks `(n, h, w)`."""
    flat = masks.reshape(len(masks), features[0].size)
    mean = flat @ features.reshape(len(features), -1).T / np.maximum(flat.sum(1, keepdims=True), 1e-6)
    return np.asarray(mean, np.float32)
