"""AdamW of PyTorch, or with moments in 8 bits from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from vidmem.errors import ModelError


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    eight_bit: bool = False,
    decay_vectors: bool = True,
) -> torch.optim.Optimizer:
    """Return the optimiser.

    Args:
        parameters: What is trained.
        lr: Learning rate, until a schedule sets another.
        weight_decay: Decoupled decay.
        betas: Decay of both moments.
        eps: Added to the root of the second moment.
        eight_bit: Keep the moments in 8 bits (Dettmers et al., ICLR 2022).
        decay_vectors: Also decay what has at most one dimension longer than 1: biases, norms, a class token.

    Raises:
        ModelError: `eight_bit`, and bitsandbytes is missing.
    """
    weights = list(parameters)
    flat = [not decay_vectors and sum(side > 1 for side in weight.shape) < 2 for weight in weights]
    groups: list[dict[str, Any]] = []
    for vectors, decay in ((False, weight_decay), (True, 0.0)):
        if chosen := [weight for weight, is_flat in zip(weights, flat, strict=True) if is_flat == vectors]:
            groups.append({"params": chosen, "weight_decay": decay})
    on_gpu = all(weight.device.type == "cuda" for weight in weights)
    if not eight_bit:
        return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=on_gpu)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise ModelError(
            "the optimiser with 8 bits needs bitsandbytes, which cannot be imported; pip install bitsandbytes"
        ) from None
    made: torch.optim.Optimizer = AdamW8bit(groups, lr=lr, betas=betas, eps=eps)
    return made
