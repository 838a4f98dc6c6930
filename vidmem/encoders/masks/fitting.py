"""Masks from outside, checked and brought to the size of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...records import Float32

NO_MASKS = (
    "no masks found: no given mask holds a pixel; lower the segmenter's thresholds, or leave `masks` out to take "
    "clusters of patches"
)


def checked_masks(masks: NDArray[np.generic], width: int, height: int) -> Float32:
    """Someone's masks as float32 in [0, 1], those that hold nothing left out: `(R, H, W)`.

    bool, or numbers of which more than 0 is inside and 1 or more wholly. Raises ModelError when their size is not the
    picture's, when there is none, or when a value is not finite.
    """
    found = _finite(masks, width, height)
    if not len(found):
        raise ModelError(NO_MASKS)
    return found


def fitted_masks(masks: NDArray[np.generic], width: int, height: int) -> Float32:
    """As `checked_masks`, of any size, averaged where they shrink, and there may be none: `(R, height, width)`."""
    if masks.shape[1:] != (height, width) and masks.shape[0]:
        import torch
        from torch.nn import functional as F

        whole = torch.from_numpy(_finite(masks, masks.shape[2], masks.shape[1]))
        if not len(whole):
            return np.zeros((0, height, width), np.float32)
        masks = F.interpolate(whole[None], (height, width), mode="bilinear", antialias=True)[0].numpy()
    return _finite(masks, width, height) if len(masks) else np.zeros((0, height, width), np.float32)


def _finite(masks: NDArray[np.generic], width: int, height: int) -> Float32:
    if masks.ndim != 3 or masks.shape[1:] != (height, width):
        raise ModelError(
            f"the masks have the shape {masks.shape}, the picture wants (n, {height}, {width}); make them "
            "from the same picture, neither scaled nor turned"
        )
    found = masks.astype(np.float32)
    if not np.isfinite(found).all():
        raise ModelError("a mask holds a value that is not finite; make the masks anew")
    found = np.clip(found, 0, 1)
    return found[found.any(axis=(1, 2))] if len(found) else found
