"""The network of `tiny`: a small backbone (mobile_net.py) and the T-REN region encoder on its features.

The backbone gives features on a stride-8 grid and a heat map of object centres, from which the point prompts are
chosen: a regular grid for coverage plus the highest peaks, so that small things get a point of their own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .mobile_net import DIM, MobileBackbone
from .region_encoder import RegionEncoder

TEXT_DIM = 128
INSIDE = 0.35
"""Share of the peak of the attention above which a patch belongs to the mask. Small features do not make attention flat
inside a thing: at the half of T-REN the masks of small things lose their rims, at a quarter those of things side by
side run into one another."""


class TinyNet(nn.Module):
    """Backbone, region encoder and a score per token: the IoU that its mask is expected to have (0 for none).

    The score is our addition to T-REN: queries that found no region of their own are left out before the merge. So is
    `visual`, an affine map after the pooling (see vidmem/train/whiten.py), with which it commutes.
    """

    visual_mean: Tensor
    visual_map: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("visual_mean", torch.zeros(DIM))
        self.register_buffer("visual_map", torch.eye(DIM))
        self.backbone = MobileBackbone()
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
    """Masks in [0, 1] from attention `(..., N)`: its share of the peak, raised to a power by which a patch is inside,
    above one half, where it has more than INSIDE of the peak."""
    share = attention / attention.amax(-1, keepdim=True).clamp_min(1e-12)
    return share.clamp_min(1e-8) ** (math.log(0.5) / math.log(INSIDE))


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
