"""What the encoders over open_clip share: pictures into a tower, region tokens out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...geometry import mask_boxes
from ...records import Float32, RegionTokens

if TYPE_CHECKING:
    pass

LARGEST_SIDE = 2016
"""No side of a working picture is longer in pixels, or than three times the shorter one where that is more: a panorama
would have no end of crops. TextRegion's code: 2016 for a shorter side of 672."""


def short_side(width: int, height: int, side: int) -> tuple[int, int]:
    """The size (width, height) with the shorter side `side`, the ratio kept as far as LARGEST_SIDE lets."""
    scale = side / min(width, height)
    w, h = (min(max(LARGEST_SIDE, 3 * side), max(side, round(n * scale))) for n in (width, height))
    return w, h


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
