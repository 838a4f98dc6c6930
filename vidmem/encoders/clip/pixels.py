"""What the encoders over open_clip share: pictures into a tower, region tokens out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...geometry import mask_boxes
from ...records import Float32, RegionTokens

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LARGEST_SIDE = 2016
"""No side of a working picture is longer in pixels, or than three times the shorter one where that is more: a panorama
would have no end of crops. TextRegion's code: 2016 for a shorter side of 672."""


def short_side(width: int, height: int, side: int) -> tuple[int, int]:
    """The size (width, height) with the shorter side `side`, the ratio kept as far as LARGEST_SIDE lets."""
    scale = side / min(width, height)
    w, h = (min(max(LARGEST_SIDE, 3 * side), max(side, round(n * scale))) for n in (width, height))
    return w, h


def normalised(
    images: Sequence[NDArray[np.uint8]], mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Tensor:
    """Pictures `(h, w, 3)` uint8 RGB -> `(B, 3, h, w)` float32 on `device`, less mean, over std, both of [0, 1]."""
    import torch

    batch = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float().div_(255)
    centre, spread = (torch.tensor(v, device=device).view(3, 1, 1) for v in (mean, std))
    return batch.sub_(centre).div_(spread)


def regions(tokens: Float32, masks: Float32, width: int, height: int) -> RegionTokens:
    """Tokens `(M, D)`, which serve as visual and as text tokens alike, with masks `(M, h, w)` in [0, 1] on the patch
    grid of a `width` x `height` picture. A region's point is the middle of its mass."""
    _, h, w = masks.shape
    mass = np.maximum(masks.sum((1, 2)), 1e-12)
    x = (masks.sum(1) @ (np.arange(w, dtype=np.float32) + 0.5)) / mass * (width / w)
    y = (masks.sum(2) @ (np.arange(h, dtype=np.float32) + 0.5)) / mass * (height / h)
    area = (masks > 0.5).mean((1, 2), dtype=np.float32)
    points = np.stack([x, y], axis=1).astype(np.float32)
    boxes = mask_boxes(masks, width, height)
    return RegionTokens(visual=tokens, text=tokens, masks=masks, points=points, boxes=boxes, area=area)


def checked_masks(masks: NDArray[np.generic], width: int, height: int) -> Float32:
    """Someone's masks as float32 in [0, 1], those that hold nothing left out: `(R, H, W)`.

    bool, or numbers of which more than 0 is inside and 1 or more wholly. Raises ModelError when their size is not the
    picture's, when there is none, or when a value is not finite.
    """
    found = _finite(masks, width, height)
    if not len(found):
        raise ModelError(
            "no masks found: none is given that holds a pixel; lower the segmenter's thresholds, or leave "
            "the masks out to take clusters of patches"
        )
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
