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


def text_contrast(
    tokens: Tensor, texts: Tensor, labels: Tensor, tau: float = 0.1, near: Tensor | None = None
) -> Tensor:
    """Eq. 2 against a whole vocabulary: tokens `(N, D)`, texts `(C, D)`, labels `(N,)` in [0, C). The token-to-text
    half has every name as a negative (the paper: those of the batch), but for those that `near (C, C)` bool calls
    nearly the same (the paper: synonym clusters); the text-to-token half has the batch."""
    if not len(tokens):
        return tokens.sum()
    logits = F.normalize(tokens, dim=-1) @ F.normalize(texts, dim=-1).T / tau
    to_text = F.cross_entropy(logits if near is None else logits.masked_fill(near[labels], -torch.inf), labels)
    chosen = logits[:, labels]  # (N, N): token i with the name of token j
    same = labels[:, None] == labels[None]
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    to_token = F.cross_entropy(chosen.T.masked_fill((same & ~own).T, -torch.inf), torch.arange(len(labels)))
    return (to_text + to_token) / 2


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


def mask_logit_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus DICE of mask logits `(N, P)`, masks `(N, P)` in [0, 1]. The cross-entropy is weighted
    as MaskFormer's (Cheng et al. 2021), 5 to 1."""
    bce = F.binary_cross_entropy_with_logits(logits, masks)
    p = logits.sigmoid()
    dice = 1 - (2 * (p * masks).sum(-1) + 1) / (p.sum(-1) + masks.sum(-1) + 1)
    return 5 * bce + dice.mean()


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
