"""The labels that the teacher gives to regions (DenseVLM, section 3.2, Eqs. 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

TAU = 0.01
"""Temperature of Eq. 2."""
THRESHOLD = 0.3
"""Regions whose best name has at most this probability are left out: "region denoising", section 3.2."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What the teacher says of N regions and C names.

    Attributes:
        scores: `(N, C)` float32, cosines divided by the temperature.
        best: `(N,)` int64, the name with the highest score.
        probability: `(N,)` float32, its probability.
        valid: `(N,)` bool, True for regions that take part in the loss.
    """

    scores: Tensor
    best: Tensor
    probability: Tensor
    valid: Tensor


def name_scores(regions: Tensor, texts: Tensor, tau: float = TAU) -> Tensor:
    """The logits `(N, C)` float32 of Eq. 2.

    Args:
        regions: `(N, D)`, of any norm.
        texts: `(C, D)`. Unit vectors give the paper's cosines. The paper's code takes the mean of unit vectors over
            many sentences as it is, which is a little shorter.
        tau: Temperature.
    """
    return F.normalize(regions.float(), dim=-1) @ texts.float().T / tau


def label_regions(regions: Tensor, texts: Tensor, tau: float = TAU, threshold: float = THRESHOLD) -> Labels:
    """Name each region by the text with the highest cosine, over things and stuff alike.

    Args:
        regions: `(N, D)`, the teacher's features.
        texts: `(C, D)`, the teacher's vectors of names; see `name_scores`.
        tau: Temperature.
        threshold: Probability that a valid region must exceed.
    """
    scores = name_scores(regions, texts, tau)
    probability, best = scores.softmax(-1).max(-1)
    return Labels(scores, best, probability, probability > threshold)
