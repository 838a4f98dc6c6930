"""What the papers' code does with the pixels of one picture, on arrays, for comparison: the label probabilities of
TextRegion (arXiv 2505.23769) and the heat map of GEM (arXiv 2312.00878).

vidmem's own answers (grounding.py, render/explain.py) differ: they give no probabilities and know no background label,
and a heat map's range is that of the patches, not that of the stretched map.
"""

from __future__ import annotations

import numpy as np

from ..geometry import stretching
from ..records import Float32

TEMPERATURE = 50.0
"""Of the softmax over labels, in TextRegion's code; the paper says 100."""


def label_probabilities(
    logits: Float32,
    masks: Float32,
    size: tuple[int, int],
    *,
    temperature: float = TEMPERATURE,
    background: int | None = None,
) -> Float32:
    """The probability of each label at each pixel (TextRegion, Eq. 4): softmax of temperature * sum_r logits_r M_r.

    Args:
        logits: Cosines of the regions to the labels, `(R, C)`.
        masks: Soft masks of the regions `(R, h, w)`, clamped to [0, 1].
        size: (H, W) to which the masks are stretched bilinearly.
        temperature: Of the softmax.
        background: The label of what no mask reaches, as in the authors' code: one more region, with the cosine 1 to
            this label and 0 to the others. None makes all labels equal there.

    Returns:
        `(C, H, W)` float32.
    """
    soft = np.clip(masks, 0, 1).astype(np.float32)
    rows = logits.astype(np.float32)
    if background is not None:
        rows = np.concatenate([rows, np.eye(logits.shape[1], dtype=np.float32)[[background]]])
        soft = np.concatenate([soft, np.asarray(~soft.any(axis=0, keepdims=True), np.float32)])
    scores = temperature * np.einsum("rc,rhw->chw", rows, stretched(soft, *size))
    weights = np.exp(scores - scores.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0), np.float32)


def heat(patches: Float32, vector: Float32, size: tuple[int, int]) -> tuple[Float32, Float32]:
    """GEM's heat map of a phrase: raw cosines `(H, W)` and the same stretched to [0, 1], 0 where all are equal.

    Args:
        patches: Unit features of the patches `(h, w, D)`.
        vector: Unit vector of the phrase `(D,)`.
        size: (H, W) of the picture.
    """
    raw = stretched(patches @ vector, *size)
    low, high = raw.min(), raw.max()
    return raw, (raw - low) / (high - low) if high > low else np.zeros_like(raw)


def stretched(maps: Float32, height: int, width: int) -> Float32:
    """Maps `(..., h, w)` stretched bilinearly to `(..., height, width)` float32."""
    h, w = maps.shape[-2:]
    return np.asarray(stretching(h, height) @ maps @ stretching(w, width).T, np.float32)
