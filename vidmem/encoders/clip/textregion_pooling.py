"""TextRegion: text-aligned region tokens from a frozen image-text model, by pooling values under masks.

Pure functions of tensors. V are the value vectors of the last block (CLIP) or the input of the pooling head (SigLIP2,
PE), fused over resolutions; m are masks on V's grid. Equations are the paper's; where its code does otherwise, said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Project = Callable[[Tensor], Tensor]
"""`(R, D)` pooled -> `(R, dim)` in the space of texts, any norm."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """filter_tau: tau of Eq. 5, patches whose local similarity is below it belong to no region; None keeps all. mlp:
    whether the last block's MLP follows (the code's referring path: yes, its semantic path: no). unit_values: pool
    unit vectors in place of V (the code does so whenever it filters)."""

    filter_tau: float | None = 0.07
    mlp: bool = False
    unit_values: bool = True


def crop_grid(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of crops of a picture: as many of `side` as fit, at least one each."""
    return max(height // side, 1), max(width // side, 1)


def crops(picture: Tensor, side: int) -> Tensor:
    """The whole picture, then its crops row by row, each squashed to a square: `(3, H, W)` -> `(1 + rows * columns, 3,
    side, side)`. All crops are of one size; where that does not divide a side, the last of them lies at the edge and
    over the one before it, by a pixel or so, as in the authors' code."""
    height, width = picture.shape[-2:]
    rows, columns = crop_grid(height, width, side)
    parts = [picture]
    for top, bottom in _spans(height, rows):
        parts += [picture[:, top:bottom, left:right] for left, right in _spans(width, columns)]
    squashed = [F.interpolate(part[None], (side, side), mode="bicubic", antialias=True) for part in parts]
    return torch.cat(squashed)


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """`count` stretches of one length that cover `length`."""
    size = -(-length // count)
    ends = [min((i + 1) * size, length) for i in range(count)]
    return [(end - size, end) for end in ends]


def fuse_resolutions(maps: Tensor, rows: int, columns: int, *, low_share: float = 1.0) -> Tensor:
    """V_final = V_high + low_share upsample(V_low): maps `(1 + rows * columns, h, w, D)` of `crops` -> `(rows * h,
    columns * w, D)`. low_share: 1 for CLIP, .5 for SigLIP2 and PE (appendix A.3)."""
    _, h, w, dim = maps.shape
    high = maps[1:].reshape(rows, columns, h, w, dim).transpose(1, 2).reshape(rows * h, columns * w, dim)
    low = F.interpolate(maps[:1].permute(0, 3, 1, 2), high.shape[:2], mode="bilinear")
    return high + low_share * low[0].permute(1, 2, 0)


def patch_masks(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Soft masks `(R, H, W)` of the picture, 0 outside, -> `(R, h * w)` float32 in [0, 1] on the patch grid."""
    if not len(masks):
        return masks.new_zeros(0, grid[0] * grid[1], dtype=torch.float32)
    return F.interpolate(masks.float()[None], grid, mode="bilinear")[0].clamp(0, 1).flatten(1)


def local_similarity(values: Tensor, masks: Tensor) -> Tensor:
    """S_local of Eq. 5 as the code has it, per patch: values `(N, D)`, masks `(R, N)` -> `(N,)`.

    The mean cosine of the patch to the patches of a region, averaged over the regions that hold it, less the same over
    those that do not. Empty masks are no regions. With no region on one side, that side counts 0.
    """
    unit = F.normalize(values.float(), dim=-1)
    held = (masks > 0).float()
    held = held[held.any(1)]
    # The mean of cosines is the cosine to the mean: N x N similarities are never built.
    to_region = (held @ unit / held.sum(1, keepdim=True)) @ unit.T
    count = held.sum(0)
    inside = (to_region * held).sum(0)
    outside = to_region.sum(0) - inside
    return inside / count.clamp(min=1) - outside / (len(held) - count).clamp(min=1)


def without_global(values: Tensor, masks: Tensor, tau: float) -> Tensor:
    """The masks with patches of S_local < tau taken out of every region."""
    return masks * (local_similarity(values, masks) >= tau)


def pool(values: Tensor, masks: Tensor, project: Project, settings: Pooling) -> tuple[Tensor, Tensor]:
    """Eq. 2: values `(N, D)`, masks `(R, N)` in [0, 1] -> unit tokens `(R', dim)` float32 and which regions they are,
    `(R,)` bool: one without any patch, or with none left by the filter, has no token."""
    values, masks = values.float(), masks.float()
    if settings.filter_tau is not None:
        masks = without_global(values, masks, settings.filter_tau)
    kept = (masks > 0).any(1)
    summed = masks[kept] @ (F.normalize(values, dim=-1) if settings.unit_values else values)
    return F.normalize(project(summed).float(), dim=-1), kept


def attention_pool(
    inputs: Tensor, masks: Tensor, values: Project, project: Project, filter_tau: float | None
) -> tuple[Tensor, Tensor]:
    """Eq. 7, for models with a pooling head: inputs `(N, D)` of the head, masks `(R, N)` -> as `pool`.

    Its keys are all the mean patch, so each patch with mask > 0 has the same attention: what is left is the plain mean
    of `values(inputs)` `(N, D)` over them, whatever the query.
    """
    if filter_tau is not None:
        masks = without_global(inputs, masks, filter_tau)
    held = (masks > 0).float()
    kept = held.any(1)
    held = held[kept]
    mean = held @ values(inputs).float() / held.sum(1, keepdim=True)
    return F.normalize(project(mean).float(), dim=-1), kept
