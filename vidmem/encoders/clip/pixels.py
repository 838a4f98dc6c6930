"""Sizes of working pictures and region tokens, for the encoders over open_clip."""

from __future__ import annotations

import numpy as np

from ...geometry import mask_boxes
from ...records import Float32, RegionTokens

LARGEST_SIDE = 2016
"""Maximum side of a working picture in pixels, or three times the shorter side if that is more. Without it a panorama
would have very many crops. TextRegion's code has 2016 for a shorter side of 672."""


def short_side(width: int, height: int, side: int) -> tuple[int, int]:
    """The size (width, height) with the shorter side `side`. LARGEST_SIDE limits the longer one."""
    scale = side / min(width, height)
    w, h = (min(max(LARGEST_SIDE, 3 * side), max(side, round(n * scale))) for n in (width, height))
    return w, h


def regions(tokens: Float32, masks: Float32, width: int, height: int) -> RegionTokens:
    """Regions whose tokens serve as visual and as text tokens. A region's point is the centre of mass of its mask.

    Args:
        tokens: `(M, D)`.
        masks: `(M, h, w)` in [0, 1], usually on the patch grid.
        width: Width of the original picture, in whose pixels points and boxes are given.
        height: Its height.
    """
    _, h, w = masks.shape
    mass = np.maximum(masks.sum((1, 2)), 1e-12)
    x = (masks.sum(1) @ (np.arange(w, dtype=np.float32) + 0.5)) / mass * (width / w)
    y = (masks.sum(2) @ (np.arange(h, dtype=np.float32) + 0.5)) / mass * (height / h)
    area = (masks > 0.5).mean((1, 2), dtype=np.float32)
    points = np.stack([x, y], axis=1).astype(np.float32)
    boxes = mask_boxes(masks, width, height)
    return RegionTokens(visual=tokens, text=tokens, masks=masks, points=points, boxes=boxes, area=area)
