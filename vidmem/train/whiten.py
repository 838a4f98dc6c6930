"""The affine map of the visual tokens of `tiny`: centred, and whitened by how much one thing varies by itself.

Pooled backbone features share a large mean, so that all cosines are high, and differ within one thing more in some
directions than in others. With S the covariance of tokens around the mean of their own name, tokens become
`S^(-1/2) (v - mean)` (within-class covariance normalisation, Hatch et al. 2006), S shrunk towards a multiple of the
identity (Ledoit and Wolf 2004, with a fixed weight).
"""

from __future__ import annotations

import torch
from torch import Tensor

SHRINK = 0.1
"""Weight of the identity: the map must not blow up directions in which drawings happen not to vary."""


def within_class_map(tokens: Tensor, labels: Tensor, shrink: float = SHRINK) -> tuple[Tensor, Tensor]:
    """Mean `(D,)`, map `(D, D)` from tokens `(N, D)` and labels `(N,)`: a row vector v becomes (v - mean) @ map."""
    tokens = tokens.double()
    mean = tokens.mean(0)
    counts = torch.bincount(labels)
    sums = torch.zeros(len(counts), tokens.shape[1], dtype=torch.double).index_add_(0, labels, tokens)
    residual = tokens - (sums / counts.clamp_min(1)[:, None])[labels]
    spread = residual.T @ residual / max(1, len(tokens) - int((counts > 0).sum()))
    dim = len(spread)
    spread = (1 - shrink) * spread + shrink * torch.eye(dim) * spread.trace() / dim
    values, vectors = torch.linalg.eigh(spread)
    return mean.float(), (vectors / values.sqrt() @ vectors.T).float()
