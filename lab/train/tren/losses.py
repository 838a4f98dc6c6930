"""Eqs. 2 and 4 in the forms that LossConfig names; Eqs. 1 and 3 are those of lab.train.losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..losses import distillation, mask_loss, visual_contrast
from .config import Balance, Negatives, TextForm

__all__ = ["attention_loss", "distillation", "text_contrast", "visual_contrast"]


def text_contrast(
    tokens: Tensor,
    texts: Tensor,
    labels: Tensor,
    groups: Tensor,
    *,
    tau: float = 0.1,
    form: TextForm = "paper",
    negatives: Negatives = "batch",
) -> Tensor:
    """Eq. 2. tokens `(N, D)`, texts `(C, D)` of all names, labels `(N,)` in [0, C), groups `(C,)`: names of one group
    count as one, and are never set against each other.

    "paper": the denominators run over tokens, or names, of other groups alone; where there are none, the term is left
    out. "infonce": the token's own pair belongs to them too. With negatives "vocabulary", the token-to-name half has
    each name once. A scalar; 0 when nothing is left.
    """
    r, t = F.normalize(tokens, dim=-1), F.normalize(texts, dim=-1)
    own = t[labels]
    pair = (r * own).sum(-1) / tau
    group = groups[labels]
    other = group[:, None] != group[None]  # (N, N), symmetric
    scores = r @ own.T / tau  # token i, name of token k
    to_text, text_other = scores, other
    if negatives == "vocabulary":
        to_text, text_other = r @ t.T / tau, group[:, None] != groups[None]
    total = tokens.sum() * 0
    for table, mask in ((to_text, text_other), (scores.T, other)):
        if form == "infonce":
            below = torch.cat([table.masked_fill(~mask, -torch.inf), pair[:, None]], 1).logsumexp(1)
            total = total + (below - pair).sum()
        else:
            kept = mask.any(1)
            below = table[kept].masked_fill(~mask[kept], -torch.inf).logsumexp(1)
            total = total + (below - pair[kept]).sum()
    return total / max(1, 2 * len(tokens))


def attention_loss(attention: Tensor, masks: Tensor, balance: Balance = "plain") -> Tensor:
    """Eq. 4: binary cross-entropy plus DICE between max-normalised attention `(N, P)` and masks `(N, P)` in [0, 1].

    "plain": the cross-entropy is the mean over patches. "balanced": mask and rest count alike (lab.train.losses).
    DICE with 1 added above and below, so that an empty mask is no division by zero. A scalar; 0 of nothing.
    """
    if not len(attention):
        return attention.sum() * 0
    if balance == "balanced":
        return mask_loss(attention, masks)
    p = (attention / attention.amax(-1, keepdim=True).clamp_min(1e-12)).clamp(1e-4, 1 - 1e-4)
    # Written out: F.binary_cross_entropy stops a GPU for good where an attention is not a number.
    bce = -(masks * p.log() + (1 - masks) * (1 - p).log()).mean(-1)
    dice = 1 - (2 * (p * masks).sum(-1) + 1) / (p.sum(-1) + masks.sum(-1) + 1)
    return (bce + dice).mean()
