"""Linear layers and attention over a few keys with faster kernels on a CPU.

PyTorch multiplies float32 with MKL, which is slower than oneDNN on CPUs that are not from Intel. The operator that
PyTorch's compiler uses for linear layers calls oneDNN without a copy. With it, T-REN's region encoder of width 1024
takes .22 s for 16 x 16 patches on one core of an AMD EPYC, and .41 s with F.linear (see benchmarks/region_encoder.py).
It is used for wide rows without gradients only. Sums are taken in another order, so results differ by about 1e-6 at
width 1024.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_WIDTH = 512
"""Minimum number of columns for which the kernels are faster."""
_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch._C._has_mkldnn else None
"""Takes x, weight, bias, an activation, its arguments and its algorithm. PyTorch may drop it; then F.linear is used."""


def products(x: Tensor, *weights: Tensor) -> list[Tensor]:
    """`x @ w.T` `(..., out)` for each `w` `(out, in)` of `weights`, with x `(..., in)`."""
    if use_fast_kernels(x) and _LINEAR is not None:
        return [_LINEAR(x, weight, None, "none", [], "") for weight in weights]
    return [F.linear(x, weight) for weight in weights]


def batch_product(x: Tensor, rows: Tensor) -> Tensor:
    """`x @ rows.T` for each picture of a batch: x `(B, Q, D)`, rows `(B, N, D)` -> `(B, Q, N)`."""
    if len(x) == 1 and use_fast_kernels(x):
        return products(x, rows[0])[0]
    return x @ rows.transpose(1, 2)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """`second(gelu(first(x)))`: x `(..., in)` -> `(..., out)`."""
    if use_fast_kernels(x) and _LINEAR is not None:
        hidden = _LINEAR(x, first.weight, first.bias, "gelu", [], "none")
        fused: Tensor = _LINEAR(hidden, second.weight, second.bias, "none", [], "")
        return fused
    out: Tensor = second(F.gelu(first(x)))
    return out


def attend_few(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over a few keys, in the shape of `q`.

    For thousands of attentions over three keys, the fused kernel is slower. Products of such small matrices spend most
    of their time on copies that separate the heads, so the sums are written out instead.

    q, k, v: `(B, n, heads, d)`; n is the same for k and v.
    """
    if not use_fast_kernels(q.flatten(-2)):
        q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return (weights @ v).transpose(-3, -2)
    keys = range(k.shape[1])
    weights = torch.stack([(q * k[:, j : j + 1]).sum(-1) for j in keys], dim=-1).div_(math.sqrt(q.shape[-1]))
    weights = weights.softmax(-1)
    out = weights[..., :1] * v[:, :1]
    for j in keys[1:]:
        out.addcmul_(weights[..., j : j + 1], v[:, j : j + 1])
    return out


def use_fast_kernels(x: Tensor) -> bool:
    """Return True if x is wide, float32, on a CPU, without gradients, and neither under autocast nor in a compiler."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.shape[-1] >= MIN_WIDTH
        and not torch.compiler.is_compiling()  # the compiler chooses kernels
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
