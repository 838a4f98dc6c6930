"""Positions as Gaussian random Fourier features (T-REN, arXiv 2604.18573, section 3.1; Tancik et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["exact", "resized"]
"""How features are computed; see `FourierPositions`."""


class FourierPositions(nn.Module):
    """Features of positions in [0, 1]^2: `(..., 2)` x, y -> `(..., dim)`, float32 whatever the model's dtype.

    The matrix `(2, dim / 2)` is drawn from seed 42 and is not a weight, so all models of one width share it.

    The two kinds are equal at the centres of the pixels and patches of training, which are all that the weights have
    seen. In between, resized features are shorter, the more so the higher the frequency.

    Args:
        dim: Width of the features; even.
        kind: "exact" for the features of the position itself. "resized" for tables of `pixels` x `pixels` pixels and
            `side` x `side` patches that are resized bilinearly (pixel centres on pixel centres, no antialiasing), as in
            the authors' code for pictures of another size.
        side: Patches along a side of the pictures in training.
        pixels: Pixels along a side of the pictures in training.
    """

    gaussian: Tensor

    def __init__(self, dim: int, kind: Kind = "exact", *, side: int = 32, pixels: int = 512) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise ValueError(f"positions are {' or '.join(get_args(Kind))}, not {kind!r}")
        if dim % 2 or side < 1 or pixels < 1:
            raise ValueError(f"a width of {dim} must be even, {side} patches and {pixels} pixels a side positive")
        self.kind, self.side, self.pixels = kind, side, pixels
        # Not a buffer: rounding to bfloat16 changes the angles of high frequencies by a tenth of a radian.
        self.gaussian = torch.randn((2, dim // 2), generator=torch.Generator().manual_seed(42), device="cpu")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the matrix to the module's device, but keep its dtype."""
        apply: Any = super()._apply  # PyTorch does not type it
        apply(fn, recurse)
        device = fn(self.gaussian.new_empty(0)).device
        if device.type != "meta":
            self.gaussian = self.gaussian.to(device)
        return self

    def forward(self, points: Tensor) -> Tensor:
        points = points.to(self.gaussian)
        if self.kind == "exact":
            return self._at(points)
        source = (points * self.pixels - 0.5).clamp(0, self.pixels - 1)
        low = source.floor()
        high = (low + 1).clamp(max=self.pixels - 1)
        right, down = (source - low).unsqueeze(-2).unbind(-1)

        def at(x: Tensor, y: Tensor) -> Tensor:
            return self._at((torch.stack([x[..., 0], y[..., 1]], -1) + 0.5) / self.pixels)

        above = at(low, low).lerp(at(high, low), right)
        return above.lerp(at(low, high).lerp(at(high, high), right), down)

    def grid(self, height: int, width: int) -> Tensor:
        """Features of the centres of the patches of a grid: `(height * width, dim)`, rows first."""
        if self.kind == "exact" or (height, width) == (self.side, self.side):
            return self._at(self._centres(height, width))
        table = self._at(self._centres(self.side, self.side)).T.reshape(1, -1, self.side, self.side)
        return F.interpolate(table, (height, width), mode="bilinear")[0].flatten(1).T.contiguous()

    def _at(self, points: Tensor) -> Tensor:
        angles = 2 * math.pi * ((2 * points - 1) @ self.gaussian)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def _centres(self, height: int, width: int) -> Tensor:
        device = self.gaussian.device
        y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
