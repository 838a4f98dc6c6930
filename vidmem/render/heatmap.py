"""Heat over a picture, and its means inside and outside of a box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import cell_share
from ..records import Box, Float32

OPACITY = 0.55
"""How much of the picture the hottest colour covers."""


def means(raw: Float32, box: Box, known: NDArray[np.bool_] | None = None) -> tuple[float | None, float | None]:
    """The mean of a map `(H, W)` inside and outside of a box in its pixels; None for a side that is empty.

    known: `(H, W)`, the pixels that count; all by default.
    """
    share = cell_share(box, (raw.shape[0], raw.shape[1]), raw.shape[1], raw.shape[0])
    out = []
    for side in (share, 1 - share):
        weights = side if known is None else side * known
        total = float(weights.sum())
        out.append(float((raw * weights).sum() / total) if total > 0 else None)
    return out[0], out[1]


def tinted(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """The picture `(H, W, 3)` in red where the mask `(H, W)` is; without a mask as it was."""
    return image if mask is None else over(image, mask.astype(np.float32))


def over(image: NDArray[np.uint8], heat: Float32) -> NDArray[np.uint8]:
    """The picture `(H, W, 3)` under heat `(H, W)` in [0, 1], from dark blue over green to red; cold places show the
    picture."""
    t = heat[..., None].astype(np.float32)
    stops = np.array([[0, 0, 128], [0, 128, 255], [64, 255, 64], [255, 192, 0], [255, 0, 0]], np.float32)
    at = np.clip(t * (len(stops) - 1), 0, len(stops) - 1 - 1e-6)
    low = at.astype(np.intp)[..., 0]
    colour = stops[low] + (at - low[..., None]) * (stops[low + 1] - stops[low])
    mixed = image + OPACITY * t * (colour - image)
    return np.asarray(np.clip(np.round(mixed), 0, 255), np.uint8)
