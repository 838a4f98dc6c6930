"""Where things are, as Gaussian random Fourier features (T-REN, arXiv 2604.18573, section 3.1; Tancik et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["exact", "resized"]


class FourierPositions(nn.Module):
    """Features of positions in [0, 1]^2, float32 whatever the model's dtype: `(..., 2)` x, y -> `(..., dim)`.

    The matrix `(2, dim / 2)` is drawn from seed 42 and is no weight, so every model of one width shares it.

    kind "exact": the features of the very position. kind "resized": as the authors' code has it for pictures of
    another size, tables made for `pixels` x `pixels` and for `side` x `side` patches, stretched bilinearly (pixel
    centres on pixel centres, no antialiasing). Both are the same at the centres of those pixels and patches, which
    are all that the weights have seen; in between, the stretched ones are shorter, the more so the higher the
    frequency.
    """

    gaussian: Tensor

    def __init__(self, dim: int, kind: Kind = "exact", *, side: int = 32, pixels: int = 512) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise ValueError(f"positions are {' or '.join(get_args(Kind))}, not {kind!r}")
        if dim % 2 or side < 1 or pixels < 1:
            raise ValueError(f"a width of {dim} must be even, {side} patches and {pixels} pixels a side positive")
        self.kind, self.side, self.pixels = kind, side, pixels
        # No buffer: bfloat16 would turn the high frequencies by a tenth of a radian.
        self.gaussian = torch.randn((2, dim // 2), generator=torch.Generator().manual_seed(42), device="cpu")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follows the module to another device, but not to another dtype."""
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
        """Features of the centres of a patch grid, `(height * width, dim)`, rows first."""
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
