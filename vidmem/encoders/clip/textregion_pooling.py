"""TextRegion: pool the values of a frozen image-text model under masks, to get region tokens in the space of texts.

Pure functions of tensors. V are the value vectors of the last block (CLIP) or the input of the pooling head (SigLIP2,
PE), fused over resolutions. m are masks on V's grid. Numbers of equations are those of the paper; where the authors'
code differs from it, the function says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Project = Callable[[Tensor], Tensor]
"""Maps pooled features `(R, D)` into the space of texts, `(R, dim)`, not normalised."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """Settings of the pooling.

    Attributes:
        filter_tau: tau of Eq. 5. Patches whose local similarity is lower belong to no region; None to keep all.
        mlp: Apply the last block's MLP after the pooling. The authors' code does so for referring expressions only.
        unit_values: Pool unit vectors in place of V. The authors' code does so whenever it filters.
    """

    filter_tau: float | None = 0.07
    mlp: bool = False
    unit_values: bool = True


def crop_grid(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of the crops of a picture: as many of `side` pixels as fit, at least one."""
    return max(height // side, 1), max(width // side, 1)


def crops(picture: Tensor, side: int) -> Tensor:
    """The whole picture `(3, H, W)` and its crops row by row, squashed: `(1 + rows * columns, 3, side, side)`.

    All crops have one size. If that does not divide the picture, the last crop lies at the edge and overlaps the one
    before it by a pixel or so, as in the authors' code.
    """
    height, width = picture.shape[-2:]
    rows, columns = crop_grid(height, width, side)
    parts = [picture]
    for top, bottom in _spans(height, rows):
        parts += [picture[:, top:bottom, left:right] for left, right in _spans(width, columns)]
    squashed = [F.interpolate(part[None], (side, side), mode="bicubic", antialias=True) for part in parts]
    return torch.cat(squashed)


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """Start and end of `count` spans of one length that cover `length`."""
    size = -(-length // count)
    ends = [min((i + 1) * size, length) for i in range(count)]
    return [(end - size, end) for end in ends]


def fuse_resolutions(maps: Tensor, rows: int, columns: int, *, low_share: float = 1.0) -> Tensor:
    """V_final = V_high + low_share upsample(V_low), `(rows * h, columns * w, D)`.

    Args:
        maps: `(1 + rows * columns, h, w, D)`, features of `crops`.
        rows: Rows of crops.
        columns: Columns of crops.
        low_share: 1 for CLIP, .5 for SigLIP2 and PE (appendix A.3).
    """
    _, h, w, dim = maps.shape
    high = maps[1:].reshape(rows, columns, h, w, dim).transpose(1, 2).reshape(rows * h, columns * w, dim)
    low = F.interpolate(maps[:1].permute(0, 3, 1, 2), high.shape[:2], mode="bilinear")
    return high + low_share * low[0].permute(1, 2, 0)


def patch_masks(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Scale soft masks `(R, H, W)` of the picture, 0 outside, to the patch grid: `(R, h * w)` float32 in [0, 1]."""
    if not len(masks):
        return masks.new_zeros(0, grid[0] * grid[1], dtype=torch.float32)
    return F.interpolate(masks.float()[None], grid, mode="bilinear")[0].clamp(0, 1).flatten(1)


def local_similarity(values: Tensor, masks: Tensor) -> Tensor:
    """S_local of Eq. 5 for each patch, as in the authors' code: values `(N, D)`, masks `(R, N)` -> `(N,)`.

    The mean cosine of the patch to the patches of a region, averaged over the regions that contain the patch, minus
    the average over the regions that do not. An average over no region is 0. Empty masks do not count as regions.
    """
    unit = F.normalize(values.float(), dim=-1)
    held = (masks > 0).float()
    held = held[held.any(1)]
    # The mean of the cosines is the product with the mean vector, so the N x N similarities are never built.
    to_region = (held @ unit / held.sum(1, keepdim=True)) @ unit.T
    count = held.sum(0)
    inside = (to_region * held).sum(0)
    outside = to_region.sum(0) - inside
    return inside / count.clamp(min=1) - outside / (len(held) - count).clamp(min=1)


def without_global(values: Tensor, masks: Tensor, tau: float) -> Tensor:
    """The masks without the patches whose S_local is below tau."""
    return masks * (local_similarity(values, masks) >= tau)


def pool(values: Tensor, masks: Tensor, project: Project, settings: Pooling) -> tuple[Tensor, Tensor]:
    """Pool values under masks (Eq. 2).

    Args:
        values: `(N, D)`.
        masks: `(R, N)` in [0, 1].
        project: Maps the sums into the space of texts.
        settings: See `Pooling`.

    Returns:
        Unit tokens `(n, dim)` float32, and which of the regions these are, `(R,)` bool. A region without a patch after
        the filter has no token.
    """
    values, masks = values.float(), masks.float()
    if settings.filter_tau is not None:
        masks = without_global(values, masks, settings.filter_tau)
    kept = (masks > 0).any(1)
    summed = masks[kept] @ (F.normalize(values, dim=-1) if settings.unit_values else values)
    return F.normalize(project(summed).float(), dim=-1), kept


def attention_pool(
    inputs: Tensor, masks: Tensor, values: Project, project: Project, filter_tau: float | None
) -> tuple[Tensor, Tensor]:
    """Pool under masks for models with a pooling head (Eq. 7).

    All keys are the mean patch, so all patches with mask > 0 get the same attention. What remains is the mean of
    `values(inputs)` over these patches, for every query.

    Args:
        inputs: Input `(N, D)` of the head.
        masks: `(R, N)`.
        values: The head's value projection.
        project: Maps the means into the space of texts.
        filter_tau: See `Pooling`.

    Returns:
        As `pool`.
    """
    if filter_tau is not None:
        masks = without_global(inputs, masks, filter_tau)
    held = (masks > 0).float()
    kept = held.any(1)
    held = held[kept]
    mean = held @ values(inputs).float() / held.sum(1, keepdim=True)
    return F.normalize(project(mean).float(), dim=-1), kept
