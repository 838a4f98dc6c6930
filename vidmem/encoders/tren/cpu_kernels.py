"""Products with weights, and attention over a few keys, by the quickest kernels that there are for them on a CPU.

In float32 PyTorch multiplies with MKL, which on CPUs that are not Intel's is slower than oneDNN. The operator that
PyTorch's own compiler puts in place of a linear layer reaches oneDNN without a copy: T-REN's region encoder of width
1024 on 16 x 16 patches takes .22 s of one core of an AMD EPYC, with F.linear .41 (benchmarks/region_encoder.py measures
all of it). Only for wide rows and without gradients; the sums are taken in another order, no more (some 1e-6 at width
1024).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDE = 512
"""Columns from which it pays."""
_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch._C._has_mkldnn else None
"""x, weight, bias, what to apply, its numbers, its algorithm. PyTorch does not promise it; else F.linear does."""


def products(x: Tensor, *weights: Tensor) -> list[Tensor]:
    """`x @ w.T` for each of `weights` `(out, in)`: x `(..., in)` -> `(..., out)` each."""
    if quick(x) and _LINEAR is not None:
        return [_LINEAR(x, weight, None, "none", [], "") for weight in weights]
    return [F.linear(x, weight) for weight in weights]


def pairs(x: Tensor, rows: Tensor) -> Tensor:
    """`x @ rows.T` picture by picture: x `(B, Q, D)`, rows `(B, N, D)` -> `(B, Q, N)`."""
    if len(x) == 1 and quick(x):
        return products(x, rows[0])[0]
    return x @ rows.transpose(1, 2)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """`second(gelu(first(x)))`, x `(..., in)` -> `(..., out)`."""
    if quick(x) and _LINEAR is not None:
        hidden = _LINEAR(x, first.weight, first.bias, "gelu", [], "none")
        fused: Tensor = _LINEAR(hidden, second.weight, second.bias, "none", [], "")
        return fused
    out: Tensor = second(F.gelu(first(x)))
    return out


def attend_few(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of q over the few keys k with values v, all `(B, n, heads, d)`, n of k and v alike -> as q.

    Thousands of attentions over three keys: the fused kernel takes longer, and products of such small matrices spend
    more on copying the heads apart than on the sums, which are written out here where the copies can be spared.
    """
    if not quick(q.flatten(-2)):
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


def quick(x: Tensor) -> bool:
    """Whether x is float32 on a CPU, wide, and neither recorded for gradients, nor cast, nor compiled."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.shape[-1] >= WIDE
        and not torch.compiler.is_compiling()  # chooses kernels of its own
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
