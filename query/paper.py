"""The search of T-REN (arXiv 2604.18573, section 4.3) exactly as its authors evaluate it, on arrays, for comparison.

vidmem's own search (search.py, instances.py) differs: it says "not found" where this one answers with the best track
there is, does not count two negative cosines as a match, and groups by time instead of frame numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..geometry import box_iou, stretching
from ..records import Box, Float32

THRESHOLD = 0.18
"""tau_sim of the paper."""


def similarity(visual: Float32, text: Float32, query_visual: Float32, query_text: Float32) -> Float32:
    """Visual x textual similarity `(n,)` of tracks to a query.

    Args:
        visual: Visual tokens of the tracks `(n, Dv)`, of any norm.
        text: Their text tokens `(n, Dt)`, of any norm.
        query_visual: Visual token of the query `(Dv,)`.
        query_text: Text token of the query `(Dt,)`.
    """
    return cosines(visual, query_visual) * cosines(text, query_text)


def select(scores: Float32, threshold: float = THRESHOLD) -> NDArray[np.intp]:
    """The selected tracks: those with a score `(n,)` of at least `threshold`, else the single best, of equals the
    first. Empty only if there are no tracks."""
    selected = np.flatnonzero(scores >= np.float32(threshold))
    return selected if len(selected) or not len(scores) else np.array([scores.argmax()])


def window(frames: Sequence[NDArray[np.int64]]) -> tuple[int, int] | None:
    """First and last frame, both inclusive, of the last contiguous run of frames; None if there are no frames.

    The paper says "the temporal window of the last-ending track"; its code takes the union of the tracks, and so does
    this.

    Args:
        frames: The frames that each of the selected tracks was seen in.
    """
    held = np.unique(np.concatenate(frames)) if len(frames) else np.empty(0, np.int64)
    if not len(held):
        return None
    breaks = np.flatnonzero(np.diff(held) > 1)
    first = held[breaks[-1] + 1] if len(breaks) else held[0]
    return int(first), int(held[-1])


def crop_region(masks: Float32, box: Box, width: int, height: int) -> int:
    """The region whose box has the best IoU with `box`, of equals the first.

    A region's box bounds the pixels over min(.6, .8 of its maximum) after bilinear stretching to the frame; x1 and y1
    are the last pixels themselves.

    Args:
        masks: `(M, h, w)` in [0, 1].
        box: x0, y0, x1, y1 in pixels.
        width: Of the frame.
        height: Of the frame.

    Raises:
        ValueError: there is no region.
    """
    if not len(masks):
        raise ValueError("no region to choose from")
    down, right = stretching(masks.shape[1], height), stretching(masks.shape[2], width)
    boxes = np.zeros((len(masks), 4), np.float32)
    for out, mask in zip(boxes, masks, strict=True):  # one at a time: at full size each is as large as the frame
        pixels = down @ mask @ right.T
        held = pixels > min(0.6, 0.8 * float(pixels.max()))
        x, y = np.flatnonzero(held.any(axis=0)), np.flatnonzero(held.any(axis=1))
        if len(x):
            out[:] = x[0], y[0], x[-1], y[-1]
    return int(box_iou(boxes, box).argmax())


def cosines(rows: Float32, vector: Float32) -> Float32:
    """Cosines `(n,)` of rows `(n, D)` to a vector `(D,)`, of any norm; 0 for a zero vector."""
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    return np.asarray(rows @ vector / np.maximum(norms, 1e-12), dtype=np.float32)
