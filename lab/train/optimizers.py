"""AdamW of PyTorch, or with moments in 8 bits from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from vidmem.errors import ModelError


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eight_bit: bool = False,
) -> torch.optim.Optimizer:
    """Return the optimiser.

    Args:
        parameters: What is trained.
        lr: Learning rate, until a schedule sets another.
        weight_decay: Decoupled decay.
        betas: Decay of both moments.
        eight_bit: Keep the moments in 8 bits (Dettmers et al., ICLR 2022).

    Raises:
        ModelError: `eight_bit`, and bitsandbytes is missing.
    """
    if not eight_bit:
        return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise ModelError(
            "the optimiser with 8 bits needs bitsandbytes, which cannot be imported; pip install bitsandbytes"
        ) from None
    made: torch.optim.Optimizer = AdamW8bit(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
    return made
