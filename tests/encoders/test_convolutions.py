"""A convolution with its ReLU: the same numbers, whichever way it is done."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vidmem.encoders import convolutions
from vidmem.encoders.convolutions import relu6

KINDS = [(6, 24, 1, 1, 1), (8, 8, 3, 2, 8), (8, 8, 5, 1, 8), (3, 16, 3, 2, 1)]
"""Channels in and out, kernel, stride, groups."""


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("cin", "cout", "kernel", "stride", "groups"), KINDS)
def test_as_one_after_the_other(
    cin: int, cout: int, kernel: int, stride: int, groups: int, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups).to(dtype)
    x = (20 * torch.randn(2, cin, 9, 13)).to(dtype).contiguous(memory_format=layout)
    with torch.inference_mode():
        ours, plain = relu6(convolution, x), F.relu6(convolution(x))
    assert ours.dtype == dtype
    assert {0.0, 6.0} <= set(plain.unique().tolist())  # both ends are met
    torch.testing.assert_close(ours, plain)


def test_what_the_kernel_cannot_do_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fused(*args: object) -> torch.Tensor:
        calls.append(1)
        return torch.zeros(1)

    monkeypatch.setattr(convolutions, "_FUSED", fused)
    convolution, x = nn.Conv2d(3, 4, 1), torch.randn(1, 3, 5, 5)
    relu6(convolution, x).sum().backward()
    assert convolution.weight.grad is not None
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert relu6(convolution, x).dtype == torch.bfloat16
    with torch.inference_mode():
        relu6(convolution.double(), x.double())
    assert not calls
    with torch.inference_mode():
        relu6(convolution.float(), x)
    assert calls
