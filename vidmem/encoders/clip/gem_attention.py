"""GEM: self-self attention on the side of a frozen vision transformer (arXiv 2312.00878, equations 4 to 7).

A second path runs alongside the last blocks and starts with the input of the first of them. Each block adds to the path
the attention of its projections of the original stream to themselves, without its MLP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .model import ClipTower

DEPTH = 7
"""Depth as the authors' code counts it: the second path runs beside the last DEPTH - 1 blocks. Their code has 7; the
paper reports 4 in its tables, and the best results for 3 to 5 (Table 6)."""


def self_self(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    iterations: int = 1,
    *,
    pool: int = 1,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """The ensemble of self-self attention in Eq. 7, `(B, heads, L, d)`.

    For each projection p, of unit length, p <- softmax(beta p p^T) p moves similar rows together `iterations` times.
    The result is the mean of softmax(beta p p^T) v over the three projections.

    Args:
        q: Queries `(B, heads, L, d)`.
        k: Keys, same shape.
        v: Values, same shape.
        beta: Inverse temperature of each picture, `(B,)`.
        iterations: How often rows are moved together.
        pool: With 2 or more, rows are moved towards means of pool x pool patches, which is not the paper's form. The
            last attention, to the values, is always exact.
        grid: Rows and columns of patches. The L - rows * columns first rows are class tokens. Needed for `pool`.
    """
    p = F.normalize(torch.stack([v, k, q]), dim=-1)
    scale = beta.to(p.dtype).view(1, -1, 1, 1, 1)
    for _ in range(iterations):
        targets = p if pool == 1 or grid is None else _pooled(p, grid, pool)
        p = F.normalize(_attend(p * scale, targets, targets), dim=-1)
    return _attend(p * scale, p, v.expand_as(p)).mean(0)


def _pooled(p: Tensor, grid: tuple[int, int], pool: int) -> Tensor:
    """The rows `(..., L, d)` with means of pool x pool patches in place of patches; less at the right and bottom."""
    patches = grid[0] * grid[1]
    first, rows = p[..., :-patches, :], p[..., -patches:, :]
    maps = rows.flatten(0, -3).transpose(1, 2).reshape(-1, rows.shape[-1], *grid)
    means = F.avg_pool2d(maps, pool, ceil_mode=True).flatten(2).transpose(1, 2)
    return torch.cat([first, means.reshape(*rows.shape[:-2], -1, rows.shape[-1])], dim=-2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v of `(3, B, heads, L, d)`, with the temperature in q. The fused kernel takes four axes."""
    flat = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale=1.0)
    return flat.reshape(q.shape)


def inverse_temperature(normed: Tensor, head_dim: int) -> Tensor:
    """1 / tau of Eq. 4 for each picture, `(B,)`.

    It is the mean norm of the tokens `(B, L, D)`, class token included, divided by sqrt(head_dim).
    """
    lengths: Tensor = torch.linalg.vector_norm(normed.float(), dim=-1)
    return lengths.mean(dim=-1) / math.sqrt(head_dim)


def gem_tokens(
    tower: ClipTower,
    pixels: Tensor,
    *,
    depth: int = DEPTH,
    iterations: int = 1,
    beta: float | None = None,
    pool: int = 1,
) -> Tensor:
    """GEM's tokens in the space of texts, not normalised: `(B, 1 + N, dim)`, the class token first.

    Args:
        tower: A tower with a class token.
        pixels: `(B, 3, H, W)`, normalised.
        depth: See DEPTH; at least 2.
        iterations: See `self_self`.
        beta: Inverse temperature of all pictures; None for `inverse_temperature`.
        pool: See `self_self`.
    """
    blocks = depth - 1
    grid = pixels.shape[-2] // tower.patch, pixels.shape[-1] // tower.patch
    _, x = next(tower.last_blocks(pixels, blocks, "antialiased"))
    path = x
    for remaining, block in zip(range(blocks - 1, -1, -1), tower.blocks[-blocks:], strict=True):
        normed = block.normed(x)
        parts = block.queries_keys_values(normed)
        q, k, v = (part.reshape(*part.shape[:2], block.heads, -1).transpose(1, 2) for part in parts)
        scale = inverse_temperature(normed, q.shape[-1]) if beta is None else normed.new_full((len(x),), beta)
        attended = self_self(q, k, v, scale, iterations, pool=pool, grid=grid).transpose(1, 2).flatten(2)
        path = path + block.out(attended)
        if remaining:  # reuse the projections, which are a fifth of a block's work
            x = block.from_projections(x, q, k, v)
    return tower.head(path)
