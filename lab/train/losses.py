"""The losses of T-REN (arXiv 2604.18573, section 3.2), each a plain function of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def visual_contrast(tokens: Tensor, groups: Tensor, tau: float = 0.1) -> Tensor:
    """Eq. 1. tokens `(N, D)`, groups `(N,)` int: tokens of one mask share a group. Tokens whose group has no other
    member are left out of the mean. Returns a scalar, 0 when nothing is left."""
    z = F.normalize(tokens, dim=-1)
    logits = (z @ z.T) / tau
    self_pair = torch.eye(len(z), dtype=torch.bool, device=z.device)
    same = (groups[:, None] == groups[None]) & ~self_pair
    logits = logits.masked_fill(self_pair, -torch.inf)
    positives = logits.masked_fill(~same, -torch.inf)
    kept = same.any(1)
    if not kept.any():
        return tokens.sum() * 0
    return (logits[kept].logsumexp(1) - positives[kept].logsumexp(1)).mean()


def distillation(tokens: Tensor, targets: Tensor) -> Tensor:
    """Eq. 3, one of its two halves: mean of 1 - cosine of `(N, D)` tokens to their targets."""
    return (1 - F.cosine_similarity(tokens, targets, dim=-1)).mean()


def mask_loss(attention: Tensor, masks: Tensor) -> Tensor:
    """Eq. 4: binary cross-entropy plus DICE between max-normalised attention `(N, P)` and masks `(N, P)` in [0, 1].

    The cross-entropy is weighted so that the mask and the rest count alike, since most masks are small.
    """
    p = (attention / attention.amax(-1, keepdim=True).clamp_min(1e-12)).clamp(1e-4, 1 - 1e-4)
    inside = masks.sum(-1, keepdim=True).clamp_min(1e-3)
    outside = (1 - masks).sum(-1, keepdim=True).clamp_min(1e-3)
    bce = -(masks * p.log() / inside + (1 - masks) * (1 - p).log() / outside).sum(-1) / 2
    dice = 1 - (2 * (p * masks).sum(-1) + 1) / (p.sum(-1) + masks.sum(-1) + 1)
    return (bce + dice).mean()


def match(cost: Tensor, valid: Tensor) -> Tensor:
    """Hungarian matching of k predictions to at most t <= k targets per point, for small k by trying all orders.

    cost `(P, k, t)`, valid `(P, t)` bool. Returns `(P, t)` int64: the prediction given to each target (meaningless
    where the target is not valid). Exact: with k = 3 there are at most 6 orders.
    """
    import itertools

    _, k, t = cost.shape
    orders = torch.tensor(list(itertools.permutations(range(k), t)), device=cost.device)  # (O, t)
    columns = torch.arange(t, device=cost.device)
    totals = (cost[:, orders, columns] * valid[:, None]).sum(-1)  # (P, O)
    return orders[totals.argmin(1)]
