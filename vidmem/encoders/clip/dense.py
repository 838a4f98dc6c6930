"""Dense features of a vision transformer whose last block does not attend, and their pooling under boxes and masks.

These are the features that DenseVLM compares and trains (arXiv 2412.06244, section 3.1; first used by MaskCLIP, arXiv
2112.01071). Every function can be differentiated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ModelError
from .model import ClipTower


def dense_features(tower: ClipTower, pixels: Tensor) -> Tensor:
    """A unit vector in the space of texts for each patch.

    The last block adds the projected values of each token instead of what it attends to: with y = x + proj(v(ln(x))),
    it gives y + mlp(y). The class token is then dropped. Position embeddings are stretched by plain bicubic.

    Args:
        tower: A tower with a class token.
        pixels: `(B, 3, H, W)`, normalised; H and W are multiples of the patch.

    Returns:
        `(B, D, H / patch, W / patch)`, of the dtype that the tower computes in.

    Raises:
        ModelError: The tower has a pooling head, the picture is not in whole patches, or the tower takes only pictures
            of its own size and these have another.
    """
    height, width = pixels.shape[-2:]
    if height % tower.patch or width % tower.patch or not height or not width:
        raise ModelError(f"a picture of {width} x {height} pixels is not in whole patches of {tower.patch} pixels")
    block, x = next(tower.last_blocks(pixels, 1, "plain"))
    x = x[:, 1:]
    tokens = F.normalize(tower.head(block.mlp(x + block.out(block.values(block.normed(x))))), dim=-1)
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height // tower.patch, width // tower.patch)


def roi_align(features: Tensor, boxes: Sequence[Tensor]) -> Tensor:
    """One vector for each box: RoIAlign with one bin, as `torchvision.ops.roi_align(..., 1, aligned=True)`.

    A box is sampled at ceil(height) x ceil(width) points, bilinearly; a point more than one cell outside of the grid
    counts as 0. The samples along the two axes are independent, so the mean is a product of two sets of weights. A box
    without area gives 0.

    Args:
        features: `(B, D, h, w)`.
        boxes: For each picture its boxes `(n, 4)` as x0, y0, x1, y1 in cells of the grid: (0, 0, w, h) is all of it.

    Returns:
        `(R, D)`, R boxes of all pictures in order. The vectors are not of unit length.

    Raises:
        ValueError: The number of lists of boxes is not B.
    """
    if not len(boxes):
        return features.new_zeros(0, features.shape[1])
    edges = torch.cat([own.to(features.device, torch.float32).reshape(-1, 4) for own in boxes])
    down = _weights(edges[:, 1], edges[:, 3], features.shape[2])
    across = _weights(edges[:, 0], edges[:, 2], features.shape[3])
    weights = (down[:, :, None] * across[:, None, :]).flatten(1).to(features.dtype)
    parts = torch.split(weights, [own.numel() // 4 for own in boxes])
    return torch.cat([part @ grid.flatten(1).T for grid, part in zip(features, parts, strict=True)])


def mask_pool(features: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """One vector for each mask: the mean of the features, weighted by the mask. An empty mask gives 0.

    Args:
        features: `(B, D, h, w)`.
        masks: For each picture its masks `(n, h, w)`, any dtype.

    Returns:
        `(R, D)`, R masks of all pictures in order. The vectors are not of unit length.

    Raises:
        ValueError: The number of lists of masks is not B.
    """
    pooled = []
    for grid, own in zip(features, masks, strict=True):
        weights = own.to(grid.device, grid.dtype).reshape(-1, grid.shape[1] * grid.shape[2])
        totals = weights.sum(1, keepdim=True)
        pooled.append(weights @ grid.flatten(1).T / totals.where(totals > 0, 1))
    return torch.cat(pooled) if pooled else features.new_zeros(0, features.shape[1])


def _weights(start: Tensor, stop: Tensor, cells: int) -> Tensor:
    """How much each of the cells counts in the mean of a box along one axis, `(n, cells)` float32."""
    start, stop = start - 0.5, stop - 0.5  # cell i has its centre at i + .5
    length = stop - start
    count = length.ceil().clamp(min=0)
    samples = torch.arange(int(count.max()) if len(count) else 0, device=start.device)
    places = start[:, None] + (samples + 0.5) * (length / count.clamp(min=1))[:, None]
    counted = (samples < count[:, None]) & (places >= -1) & (places <= cells)
    distance = (places.clamp(0, cells - 1)[:, :, None] - torch.arange(cells, device=start.device)).abs()
    weights = (1 - distance).clamp(min=0) * counted[:, :, None]
    return weights.sum(1) / count.clamp(min=1)[:, None]
