"""Products with weights, by the quickest kernel there is for them on a CPU.

In float32 PyTorch multiplies dense tensors with MKL, which on CPUs that are not Intel's is slower by a fifth than
oneDNN. That one is asked for by its own tensor layout, at the price of a copy in and out: worth it for wide rows,
without gradients. The sums are taken in another order, no more (some 1e-6 at width 1024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDE = 512
"""Columns from which the copies pay."""


def products(x: Tensor, *weights: Tensor) -> list[Tensor]:
    """`x @ w.T` for each of `weights` `(out, in)`: x `(..., in)` -> `(..., out)` each."""
    if not _onednn(x):
        return [F.linear(x, weight) for weight in weights]
    packed = x.reshape(-1, x.shape[-1]).to_mkldnn()
    return [F.linear(packed, weight).to_dense().unflatten(0, x.shape[:-1]) for weight in weights]


def pairs(x: Tensor, rows: Tensor) -> Tensor:
    """`x @ rows.T` picture by picture: x `(B, Q, D)`, rows `(B, N, D)` -> `(B, Q, N)`."""
    if len(x) == 1 and _onednn(x):
        return products(x, rows[0])[0]
    return x @ rows.transpose(1, 2)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """`second(gelu(first(x)))`, x `(..., in)` -> `(..., out)`."""
    if not _onednn(x):
        out: Tensor = second(F.gelu(first(x)))
        return out
    hidden = F.gelu(F.linear(x.reshape(-1, x.shape[-1]).to_mkldnn(), first.weight, first.bias))
    return F.linear(hidden, second.weight, second.bias).to_dense().unflatten(0, x.shape[:-1])


def _onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[-1] >= WIDE
        and not torch.compiler.is_compiling()  # has kernels of its own choice
        and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled  # type: ignore[attr-defined]
    )  # fmt: skip
