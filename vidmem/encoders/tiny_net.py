"""The network of `tiny`: a small convolutional backbone and the T-REN region encoder on its features.

The backbone is ours: plain residual blocks, since dense 3x3 convolutions are what a CPU does best. It gives features
on a stride-8 grid and a heat map of object centres, from which the point prompts are chosen: a regular grid for
coverage plus the highest peaks, so that small things get a point of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .region_encoder import RegionEncoder

STRIDE = 8
"""Pixels of the working picture per patch."""
DIM = 128
TEXT_DIM = 128


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a residual (He et al., 2016). `(B, C, h, w) -> (B, C, h, w)`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(dim, dim), nn.ReLU(), _conv(dim, dim))
        nn.init.zeros_(self.body[2][1].weight)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _conv(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, padding=1, bias=False), nn.BatchNorm2d(cout))


class TinyBackbone(nn.Module):
    """`(B, 3, H, W)` in [0, 1] -> features `(B, DIM, H/8, W/8)` and heat logits `(B, H/8, W/8)`.

    H and W are multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 24, 2), nn.ReLU(), _conv(24, 48, 2), nn.ReLU(), _conv(48, 96, 2), nn.ReLU())
        self.fine = nn.Sequential(Block(96), Block(96))
        self.coarse = nn.Sequential(_conv(96, 192, 2), nn.ReLU(), Block(192), Block(192), Block(192))
        self.lateral, self.top = nn.Conv2d(96, DIM, 1), nn.Conv2d(192, DIM, 1)
        self.fuse = nn.Sequential(_conv(DIM, DIM), nn.ReLU(), nn.Conv2d(DIM, DIM, 1))
        self.heat = nn.Conv2d(DIM, 1, 1)
        nn.init.constant_(self.heat.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(self.stem((images - 0.45) / 0.25))
        up = F.interpolate(self.top(self.coarse(fine)), scale_factor=2, mode="bilinear", align_corners=False)
        features = self.fuse(self.lateral(fine) + up)
        return features, self.heat(features).squeeze(1)


class TinyNet(nn.Module):
    """Backbone, region encoder and a score per token: the IoU that its mask is expected to have (0 for none).

    backbone: a TinyBackbone, or whatever gives the same (mobile_net.py).

    The score is our addition to T-REN: queries that found no region of their own are left out before the merge. So is
    `visual`, an affine map after the pooling (see vidmem/train/whiten.py), with which it commutes.
    """

    visual_mean: Tensor
    visual_map: Tensor

    def __init__(self, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.register_buffer("visual_mean", torch.zeros(DIM))
        self.register_buffer("visual_map", torch.eye(DIM))
        self.backbone = backbone or TinyBackbone()
        self.regions = RegionEncoder(DIM, TEXT_DIM, heads=4, seed_queries=True, coarse=2)
        self.score = nn.Linear(DIM, 1)

    def forward(self, images: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images `(B, 3, H, W)`, points `(B, P, 2)` x, y in [0, 1] -> tokens, attention (see RegionEncoder), scores
        `(B, P, k)` logits."""
        features, _ = self.backbone(images)
        tokens, attention, queries = self.regions(features, points)
        return tokens, attention, self.score(queries).squeeze(-1)

    def visual(self, tokens: Tensor) -> Tensor:
        """Region tokens `(..., DIM)` in the space where their cosines mean most, float32."""
        return (tokens.float() - self.visual_mean) @ self.visual_map


def soft_masks(attention: Tensor) -> Tensor:
    """Masks in [0, 1] from attention `(..., N)`: the square root of its share of the peak.

    A patch is inside, above one half, where it has a quarter of the peak. Small features do not give attention that is
    flat inside a thing: at a quarter the masks lie on the things much better than at the half of T-REN.
    """
    return (attention / attention.amax(-1, keepdim=True).clamp_min(1e-12)).clamp_min(1e-8).sqrt()


def choose_points(heat: Tensor, grid: tuple[int, int], peaks: int) -> Tensor:
    """Point prompts: a `grid` of rows x columns, then the `peaks` highest local maxima of the heat logits
    `(B, h, w)`. Returns `(B, rows * columns + peaks, 2)` x, y in [0, 1], at patch centres for the peaks."""
    batch, h, w = heat.shape
    rows, cols = grid
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(cols) + 0.5) / cols, indexing="ij")
    regular = torch.stack([x, y], -1).reshape(1, -1, 2).expand(batch, -1, -1).to(heat.device)
    is_peak = F.max_pool2d(heat.unsqueeze(1), 3, 1, 1).squeeze(1) == heat
    ranked = torch.where(is_peak, heat, heat - 1e4).flatten(1)
    index = ranked.topk(peaks, dim=1).indices
    found = torch.stack([(index % w + 0.5) / w, (index // w + 0.5) / h], -1)
    return torch.cat([regular, found.to(regular.dtype)], 1)
