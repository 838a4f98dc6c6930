"""From a coarse mask to one with exact borders, by a model that segments from prompts (Text4Seg's mask refiner).

The mask is the prompt twice over: as logits, and as random points inside and outside of it. Two more passes take the
logits that came back. Any predictor with SAM2's interface will do, such as encoders/sam_predictor.py.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import Float32

SURE = 0.999
"""Probability that a prompt's pixel is as the mask says: logits of +-ln(.999 / .001)."""
SIDE = 256
"""Pixels a side of a mask prompt of SAM and SAM2."""
POINTS = 10
"""Points inside, and as many outside."""
PASSES = 3


class Predictor(Protocol):
    """What is needed of SAM2ImagePredictor, after `set_image`."""

    def predict(
        self,
        point_coords: NDArray[np.float32],
        point_labels: NDArray[np.int32],
        mask_input: Float32,
        multimask_output: bool,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Masks `(n, H, W)`, their scores `(n,)` and logits `(n, SIDE, SIDE)`."""


class ImagePredictor(Predictor, Protocol):
    """With the picture to be segmented."""

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """The picture `(H, W, 3)` RGB that the next prompts are about."""


def prompt_logits(mask: NDArray[np.bool_]) -> Float32:
    """The mask `(h, w)`, cells or pixels, as logits `(SIDE, SIDE)`: scaled to SIDE along its longer side, bilinearly
    and averaged where it shrinks; 0, undecided, to the right of it or below."""
    from PIL import Image

    # In float32, as theirs: ln(p / (1 - p)) of .999 and .001 then differ in the sixth digit.
    sure, rest = np.float32(SURE), np.float32(1) - np.float32(SURE)
    low = np.float32(0.001)
    logits = np.full(mask.shape, np.log(low / (np.float32(1) - low)), np.float32)
    logits[mask] = np.log(sure / rest)
    scale = SIDE / max(mask.shape)
    size = max(1, round(mask.shape[0] * scale)), max(1, round(mask.shape[1] * scale))
    scaled = np.asarray(Image.fromarray(logits).resize(size[::-1], Image.Resampling.BILINEAR))  # as float32, unrounded
    out = np.zeros((SIDE, SIDE), np.float32)
    out[: size[0], : size[1]] = scaled
    return out


def prompt_points(
    mask: NDArray[np.bool_], rng: np.random.Generator, count: int = POINTS
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Up to `count` pixels x, y inside the mask `(H, W)` and as many outside, `(n, 2)`, and their labels 1 and 0
    `(n,)`."""
    points: list[NDArray[np.intp]] = []
    labels: list[NDArray[np.int32]] = []
    for label, where in ((1, mask), (0, ~mask)):
        y, x = np.nonzero(where)
        chosen = rng.choice(len(y), min(count, len(y)), replace=False)
        points.append(np.stack([x[chosen], y[chosen]], axis=1))
        labels.append(np.full(len(chosen), label, np.int32))
    return np.concatenate(points).astype(np.float32), np.concatenate(labels)


def refine(predictor: Predictor, mask: NDArray[np.bool_], seed: int = 0) -> NDArray[np.bool_]:
    """The mask `(H, W)`, at the size of the predictor's picture, with the borders that the predictor finds. An empty
    mask stays empty: there is nothing to prompt with."""
    if not mask.any():
        return mask
    points, labels = prompt_points(mask, np.random.default_rng(seed))
    prompt = prompt_logits(mask)
    refined = mask
    for _ in range(PASSES):
        masks, scores, logits = predictor.predict(
            point_coords=points, point_labels=labels, mask_input=prompt[None], multimask_output=True
        )
        best = int(np.argmax(scores))
        refined, prompt = np.asarray(masks[best]) > 0, np.asarray(logits[best], np.float32)
    return refined


def refine_classes(
    predictor: ImagePredictor, image: NDArray[np.uint8], classes: NDArray[np.integer], background: int = -1
) -> tuple[NDArray[np.bool_], list[int]]:
    """For each class in `classes` `(H, W)` its refined mask, `(n, H, W)`, and the classes; masks may overlap. image:
    `(H, W, 3)`."""
    there = [int(c) for c in np.unique(classes) if c != background]
    if not there:
        return np.zeros((0, *classes.shape), bool), there
    predictor.set_image(image)
    return np.stack([refine(predictor, classes == c) for c in there]), there
