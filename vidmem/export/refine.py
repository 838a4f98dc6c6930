"""Refines a coarse mask with a model that segments from prompts (Text4Seg's mask refiner).

The mask is given to the model twice: as logits, and as random points inside and outside of it. Two more passes use the
logits that the model returned. Any predictor with SAM2's interface works, such as encoders/masks/sam_predictor.py.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..records import Float32

SURE = 0.999
"""Probability in a prompt that a pixel is as in the mask: logits of +-ln(.999 / .001)."""
SIDE = 256
"""Side of a mask prompt of SAM and SAM2, in pixels."""
POINTS = 10
"""Points inside the mask, and as many outside."""
PASSES = 3
"""Predictions in all; each takes the logits of the one before."""


class Predictor(Protocol):
    """The part of SAM2ImagePredictor that is used after `set_image`."""

    def predict(
        self,
        point_coords: NDArray[np.float32],
        point_labels: NDArray[np.int32],
        mask_input: Float32,
        multimask_output: bool,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return masks `(n, H, W)`, their scores `(n,)` and logits `(n, SIDE, SIDE)`."""


class ImagePredictor(Predictor, Protocol):
    """A predictor that takes the picture, too."""

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Set the picture `(H, W, 3)` uint8 RGB for the next prompts."""


def prompt_logits(mask: NDArray[np.bool_]) -> Float32:
    """The mask `(h, w)`, cells or pixels, as logits `(SIDE, SIDE)`.

    It is scaled so that its longer side is SIDE, bilinearly and averaged where it shrinks. The rest, to the right or
    below, is 0 (undecided).
    """
    # In float32 as in the paper's code: ln(p / (1 - p)) of .999 and .001 then differ in the sixth digit.
    sure, rest = np.float32(SURE), np.float32(1) - np.float32(SURE)
    low = np.float32(0.001)
    logits = np.full(mask.shape, np.log(low / (np.float32(1) - low)), np.float32)
    logits[mask] = np.log(sure / rest)
    scale = SIDE / max(mask.shape)
    size = max(1, round(mask.shape[0] * scale)), max(1, round(mask.shape[1] * scale))
    scaled = np.asarray(Image.fromarray(logits).resize(size[::-1], Image.Resampling.BILINEAR))  # float32, not rounded
    out = np.zeros((SIDE, SIDE), np.float32)
    out[: size[0], : size[1]] = scaled
    return out


def prompt_points(
    mask: NDArray[np.bool_], rng: np.random.Generator, count: int = POINTS
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Random pixels x, y `(n, 2)`, up to `count` inside the mask `(H, W)` and as many outside, and their labels `(n,)`,
    1 and 0."""
    points: list[NDArray[np.intp]] = []
    labels: list[NDArray[np.int32]] = []
    for label, where in ((1, mask), (0, ~mask)):
        y, x = np.nonzero(where)
        chosen = rng.choice(len(y), min(count, len(y)), replace=False)
        points.append(np.stack([x[chosen], y[chosen]], axis=1))
        labels.append(np.full(len(chosen), label, np.int32))
    return np.concatenate(points).astype(np.float32), np.concatenate(labels)


def refine(predictor: Predictor, mask: NDArray[np.bool_], seed: int = 0) -> NDArray[np.bool_]:
    """The mask `(H, W)`, of the size of the predictor's picture, with the borders that the predictor finds.

    An empty mask stays empty, since it gives no prompt.
    """
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
    """The refined mask of each class in `classes` `(H, W)`: `(n, H, W)`, which may overlap, and the n classes.

    image: `(H, W, 3)` uint8 RGB.
    """
    present = [int(c) for c in np.unique(classes) if c != background]
    if not present:
        return np.zeros((0, *classes.shape), bool), present
    predictor.set_image(image)
    return np.stack([refine(predictor, classes == c) for c in present]), present
