"""Where in a picture a phrase is: GEM's heat map, and what it says in numbers.

Stretched to [0, 1] for each phrase, a heat map always has a peak, also of what is not there. So the raw cosine stays
beside it: inside and outside a box it tells whether the peak means anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..geometry import cell_share, stretching
from ..records import Box, Float32

OPACITY = 0.55
"""How much of the picture the hottest colour covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """raw: cosines `(H, W)` float32. shown: the same stretched to [0, 1], 0 throughout when all are equal."""

    raw: Float32
    shown: Float32


def heat(patches: Float32, vector: Float32, height: int, width: int) -> Heat:
    """Unit patch features `(h, w, D)` and a phrase's unit vector `(D,)` -> its heat over `height` x `width` pixels,
    bilinear between the centres of patches."""
    h, w, _ = patches.shape
    raw = stretching(h, height) @ (patches @ vector) @ stretching(w, width).T
    low, high = float(raw.min()), float(raw.max())
    shown = (raw - low) / (high - low) if high > low else np.zeros_like(raw)
    return Heat(raw.astype(np.float32), shown.astype(np.float32))


def inside_outside(raw: Float32, box: Box) -> tuple[float, float]:
    """Mean raw cosine inside and outside a box in the map's pixels. Raises UsageError when one of them is empty."""
    inside, outside = means(raw, box)
    if inside is None or outside is None:
        raise UsageError(f"the box {tuple(round(v) for v in box)} holds none or all of the picture; choose another one")
    return inside, outside


def means(raw: Float32, box: Box, known: NDArray[np.bool_] | None = None) -> tuple[float | None, float | None]:
    """As `inside_outside`, None for a side that is empty. known `(H, W)`: the pixels that count, all by default."""
    share = cell_share(box, (raw.shape[0], raw.shape[1]), raw.shape[1], raw.shape[0])
    out = []
    for side in (share, 1 - share):
        weights = side if known is None else side * known
        total = float(weights.sum())
        out.append(float((raw * weights).sum() / total) if total > 0 else None)
    return out[0], out[1]


def over(image: NDArray[np.uint8], shown: Float32) -> NDArray[np.uint8]:
    """The picture `(H, W, 3)` with the heat `(H, W)` in [0, 1] over it, from dark blue over green to red; where it is
    cold the picture stays."""
    t = shown[..., None].astype(np.float32)
    stops = np.array([[0, 0, 128], [0, 128, 255], [64, 255, 64], [255, 192, 0], [255, 0, 0]], np.float32)
    at = np.clip(t * (len(stops) - 1), 0, len(stops) - 1 - 1e-6)
    low = at.astype(np.intp)[..., 0]
    colour = stops[low] + (at - low[..., None]) * (stops[low + 1] - stops[low])
    mixed = image + OPACITY * t * (colour - image)
    return np.asarray(np.clip(np.round(mixed), 0, 255), np.uint8)
