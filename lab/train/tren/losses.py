"""The losses of T-REN (arXiv 2604.18573, section 3.2), Eqs. 1 to 4, in the forms that LossConfig names.

Each is a scalar, and 0 without a gradient if there is nothing to compare.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import Balance, MaskLoss, Negatives, TextForm

ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss, in the authors' code."""


def visual_contrast(tokens: Tensor, groups: Tensor, tau: float = 0.1, pictures: Tensor | None = None) -> Tensor:
    """Eq. 1: the visual contrast.

    Args:
        tokens: `(N, D)`.
        groups: `(N,)` int; tokens of one mask share a group. Tokens alone in their group are left out of the mean.
        tau: Temperature.
        pictures: `(N,)` int; tokens are set against those of their own picture only (the authors' code). None: against
            all.

    Returns:
        A scalar, 0 if no token is left.
    """
    z = F.normalize(tokens, dim=-1)
    if pictures is None:
        terms = [_contrast(z, groups, tau)]
    else:
        terms = [_contrast(z[pictures == p], groups[pictures == p], tau) for p in sorted(set(pictures.tolist()))]
    losses = torch.cat(terms) if terms else tokens.sum(-1)
    return losses.mean() if len(losses) else tokens.sum() * 0


def _contrast(z: Tensor, groups: Tensor, tau: float) -> Tensor:
    """Return the loss of each of the unit tokens `(N, D)` that has a partner, `(M,)`."""
    logits = (z @ z.T) / tau
    self_pair = torch.eye(len(z), dtype=torch.bool, device=z.device)
    same = (groups[:, None] == groups[None]) & ~self_pair
    logits = logits.masked_fill(self_pair, -torch.inf)
    positives = logits.masked_fill(~same, -torch.inf)
    kept = same.any(1)
    return logits[kept].logsumexp(1) - positives[kept].logsumexp(1)


def distillation(tokens: Tensor, targets: Tensor) -> Tensor:
    """Return one of the two halves of Eq. 3: the mean of 1 - cosine of `(N, D)` tokens to their targets."""
    if not len(tokens):
        return tokens.sum() * 0
    return (1 - F.cosine_similarity(tokens, targets, dim=-1)).mean()


def similarity_loss(tokens: Tensor, targets: Tensor, views: Tensor, pictures: Tensor) -> Tensor:
    """Compare how similar tokens of two views are with how similar their targets are (the authors' code; not in the
    paper).

    Args:
        tokens: `(N, D)`.
        targets: `(N, D')`.
        views: `(N,)` int, 0 or 1.
        pictures: `(N,)` int.

    Returns:
        The mean, over all pairs of a token of view 0 and one of view 1 of the same picture, of the absolute difference
        between the cosine of the tokens and that of their targets.
    """
    z, t = F.normalize(tokens, dim=-1), F.normalize(targets, dim=-1)
    total, count = tokens.sum() * 0, 0
    for picture in sorted(set(pictures.tolist())):
        first, second = ((pictures == picture) & (views == view) for view in (0, 1))
        gap = (z[first] @ z[second].T - t[first] @ t[second].T).abs()
        total, count = total + gap.sum(), count + gap.numel()
    return total / max(1, count)


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
    """Eq. 2: the contrast with names.

    Args:
        tokens: `(N, D)`.
        texts: `(C, D)` of all names.
        labels: `(N,)` in [0, C), the name of each token.
        groups: `(C,)`; names of one group count as one and are never negatives of each other.
        tau: Temperature.
        form: "paper": the denominators run over tokens, or names, of other groups only; a term without any is left
            out. "infonce": they include the token's own pair. "all": they include every pair, and all pairs of one
            group are positives together (the authors' code).
        negatives: "vocabulary" gives the token-to-name half each name once, "batch" the names of the tokens.

    Returns:
        A scalar, 0 if no term is left.
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
        if form == "all":
            total = total + (table.logsumexp(1) - table.masked_fill(mask, -torch.inf).logsumexp(1)).sum()
        elif form == "infonce":
            below = torch.cat([table.masked_fill(~mask, -torch.inf), pair[:, None]], 1).logsumexp(1)
            total = total + (below - pair).sum()
        else:
            kept = mask.any(1)
            below = table[kept].masked_fill(~mask[kept], -torch.inf).logsumexp(1)
            total = total + (below - pair[kept]).sum()
    return total / max(1, 2 * len(tokens))


def attention_loss(attention: Tensor, masks: Tensor, balance: Balance = "plain", kind: MaskLoss = "bce") -> Tensor:
    """Eq. 4: binary cross-entropy, or focal loss, plus DICE between max-normalised attention and masks.

    DICE has 1 added above and below, so that an empty mask is not a division by zero.

    Args:
        attention: `(N, P)`.
        masks: `(N, P)` in [0, 1].
        balance: "plain": the cross-entropy is the mean over patches. "balanced": mask and rest have equal weight, since
            most masks are small.
        kind: "bce", or "focal": each patch of the cross-entropy weighs ALPHA inside and 1 - ALPHA outside of the mask,
            times the power GAMMA of what the prediction misses (arXiv 1708.02002, Eq. 5; the authors' code).

    Returns:
        A scalar, 0 for N = 0.
    """
    if not len(attention):
        return attention.sum() * 0
    p = (attention / attention.amax(-1, keepdim=True).clamp_min(1e-12)).clamp(1e-4, 1 - 1e-4)
    # Written out: F.binary_cross_entropy stops a GPU for good where an attention is not a number.
    inside, outside = masks * p.log(), (1 - masks) * (1 - p).log()
    if kind == "focal":
        missed = 1 - (p * masks + (1 - p) * (1 - masks))
        side = ALPHA * masks + (1 - ALPHA) * (1 - masks)
        bce = -(side * missed**GAMMA * (inside + outside)).mean(-1)
    elif balance == "balanced":
        inside = inside / masks.sum(-1, keepdim=True).clamp_min(1e-3)
        outside = outside / (1 - masks).sum(-1, keepdim=True).clamp_min(1e-3)
        bce = -(inside + outside).sum(-1) / 2
    else:
        bce = -(inside + outside).mean(-1)
    dice = 1 - (2 * (p * masks).sum(-1) + 1) / (p.sum(-1) + masks.sum(-1) + 1)
    return (bce + dice).mean()
