"""A convolution and the ReLU after it as one kernel, where there is one: the map is written once, not twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FUSED = getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch._C._has_mkldnn else None
"""x, weight, bias, padding, stride, dilation, groups, what to apply, its numbers, its algorithm. PyTorch's own
compiler puts it in place of the two; PyTorch does not promise it."""


def relu6(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """`F.relu6(convolution(x))`, x `(B, Cin, h, w)`. The same numbers either way."""
    if _FUSED is None or x.device.type != "cpu" or not _known(x, convolution.weight) or _watched():
        return F.relu6(convolution(x), inplace=True)
    c = convolution
    fused: Tensor = _FUSED(x, c.weight, c.bias, c.padding, c.stride, c.dilation, c.groups, "hardtanh", [0.0, 6.0], "")
    return fused


def _known(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN takes these numbers; float16 and float64 it does not, bfloat16 on some CPUs."""
    if x.dtype != weight.dtype:
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _watched() -> bool:
    """Whether gradients are wanted, types are cast or a graph is made: the operator takes part in none of these."""
    return torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
