"""The network of `tiny`: a small backbone (mobile_net.py) and the T-REN region encoder on its features.

The backbone gives features on a stride-8 grid and a heat map of object centres, from which the point prompts are
chosen: a regular grid for coverage plus the highest peaks, so that small things get a point of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .mobile_net import DIM, MobileBackbone
from .region_encoder import RegionEncoder

TEXT_DIM = 128
INSIDE = 0.35
"""Share of the peak of the attention above which a patch belongs to the mask, before `MaskHead` corrects it. Small
features do not make attention flat inside a thing: at the half of T-REN the masks of small things lose their rims."""
MASK_DIM = 64


class MaskHead(nn.Module):
    """Masks as logits: how far the attention of a token is above INSIDE of its peak, and what its query says of each
    patch. Attention must choose what to pool, a mask must end where the thing ends; T-REN asks both of one softmax.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, MASK_DIM + 1))
        self.norm, self.patch = nn.LayerNorm(DIM), nn.Linear(DIM, MASK_DIM)
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        nn.init.zeros_(self.query[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.query[2].bias)  # type: ignore[arg-type]

    def patches(self, features: Tensor, grid: Tensor) -> Tensor:
        """What the queries are held against, `(B, h * w, MASK_DIM)`: of features `(B, DIM, h, w)` and positions of
        patches `(h * w, DIM)`."""
        out: Tensor = self.patch(self.norm(features.flatten(2).transpose(1, 2) + grid))
        return out

    def forward(self, queries: Tensor, attention: Tensor, patches: Tensor) -> Tensor:
        """queries `(..., Q, DIM)` and attention `(..., Q, N)` of the region encoder, patches `(..., N, MASK_DIM)` ->
        logits `(..., Q, N)`."""
        asked = self.query(queries)
        said = asked[..., :-1] @ patches.transpose(-1, -2) / MASK_DIM**0.5 + asked[..., -1:]
        above: Tensor = peak_share(attention).clamp_min(1e-6).log() - math.log(INSIDE)
        out: Tensor = said + self.sharpness * above
        return out


def peak_share(attention: Tensor) -> Tensor:
    """Attention `(..., N)` as a share of its peak."""
    return attention / attention.amax(-1, keepdim=True).clamp_min(1e-12)


class TinyNet(nn.Module):
    """Backbone, region encoder, masks, and a score per token: the IoU that its mask is expected to have (0 for none).

    The score is our addition to T-REN: queries that found no region of their own are left out before the merge. So are
    the mask head and `visual`, an affine map after the pooling (see vidmem/train/whiten.py), with which it commutes.
    """

    visual_mean: Tensor
    visual_map: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("visual_mean", torch.zeros(DIM))
        self.register_buffer("visual_map", torch.eye(DIM))
        self.backbone = MobileBackbone()
        self.regions = RegionEncoder(DIM, TEXT_DIM, heads=4, seed_queries=True, coarse=2)
        self.masks, self.score = MaskHead(), nn.Linear(DIM, 1)

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """This net with weights of `dtype`, but for `visual`, whose cosines would suffer."""
        exact = self.visual_mean, self.visual_map
        self.to(dtype)
        self.visual_mean, self.visual_map = exact
        return self

    def mask_patches(self, features: Tensor) -> Tensor:
        """See MaskHead.patches."""
        return self.masks.patches(features, self.regions.positions.grid(*features.shape[-2:]).to(features.dtype))

    def visual(self, tokens: Tensor) -> Tensor:
        """Region tokens `(..., DIM)` in the space where their cosines mean most, float32."""
        return (tokens.float() - self.visual_mean) @ self.visual_map


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


class Found(NamedTuple):
    """What `find` keeps of a batch, one frame after another. tokens `(n, DIM)` as pooled; masks `(n, h, w)` in [0, 1],
    their peak 1; points `(n, 2)` x, y in [0, 1]; scores `(n,)`; counts: how many of each frame."""

    tokens: Tensor
    masks: Tensor
    points: Tensor
    scores: Tensor
    counts: list[int]


def find(net: TinyNet, images: Tensor, grid: tuple[int, int], peaks: int, least_score: float, least: int) -> Found:
    """Tokens of images `(B, 3, H, W)` whose score is at least `least_score`, and of each image the `least` best."""
    features, heat = net.backbone(images)
    points = choose_points(heat.float(), grid, peaks)
    memory, prompts = net.regions.prepare(features, points)
    queries = net.regions.ask(memory, prompts)
    scores = net.score(queries).squeeze(-1).float().sigmoid()
    limit = scores.flatten(1).topk(least, dim=1).values[:, -1].clamp_max(least_score)
    kept = scores >= limit[:, None, None]  # (B, P, k); from here on only these
    frame, point, _ = kept.nonzero(as_tuple=True)
    counts: list[int] = kept.flatten(1).sum(1).tolist()
    tokens, masks = [], []
    for i, patches in enumerate(net.mask_patches(features)):
        mine = queries[i][kept[i]]
        token, attention = net.regions.pool(memory.of(i), mine.unsqueeze(0))
        tokens.append(token[0])
        masks.append(net.masks(mine, attention[0], patches).float().sigmoid())
    shares = peak_share(torch.cat(masks)).view(-1, *features.shape[-2:])
    return Found(torch.cat(tokens), shares, points[frame, point], scores[kept], counts)
