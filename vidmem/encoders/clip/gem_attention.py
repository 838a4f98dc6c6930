"""GEM: self-self attention beside a frozen vision transformer (arXiv 2312.00878, equations 4 to 7).

The path starts as the input of the first of the last blocks; each of them adds to it the attention of its own
projections to themselves, taken from the original stream, without its MLP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .model import ClipTower

BLOCKS = 6
"""Last blocks that have the path; "depth 7" in the authors' code. The paper reports depth 4 to 5."""


def self_self(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, iterations: int = 1) -> Tensor:
    """The ensemble of Eq. 7: q, k, v `(B, heads, L, d)`, beta `(B,)` the inverse temperature -> `(B, heads, L, d)`.

    Each projection p, of unit length, is drawn together `iterations` times by p <- softmax(beta p p^T) p and then says
    which values belong together: softmax(beta p p^T) v. The mean over the three.
    """
    p = F.normalize(torch.stack([v, k, q]), dim=-1)
    hot = beta.to(p.dtype).view(1, -1, 1, 1, 1)
    for _ in range(iterations):
        p = F.normalize(_attend(p * hot, p, p), dim=-1)
    return _attend(p * hot, p, v.expand_as(p)).mean(0)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v: the temperature is in q. `(3, B, heads, L, d)`; the fused kernel wants four axes."""
    flat = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale=1.0)
    return flat.reshape(v.shape)


def inverse_temperature(normed: Tensor, head_dim: int) -> Tensor:
    """1 / tau of Eq. 4 per picture: the mean length of the tokens `(B, L, D)`, class token included, over the root of
    the heads' width; `(B,)`."""
    lengths: Tensor = torch.linalg.vector_norm(normed.float(), dim=-1)
    return lengths.mean(dim=-1) / math.sqrt(head_dim)


def gem_tokens(
    tower: ClipTower, pixels: Tensor, *, blocks: int = BLOCKS, iterations: int = 1, beta: float | None = None
) -> Tensor:
    """Tokens in the space of texts, any norm: pixels `(B, 3, H, W)`, normalised -> `(B, 1 + N, dim)`, the class token's
    place first. beta: one for all, in place of `inverse_temperature`."""
    _, x = next(tower.last_blocks(pixels, blocks, "antialiased"))
    path = x
    for left, block in zip(range(blocks - 1, -1, -1), tower.blocks[-blocks:], strict=True):
        normed = block.normed(x)
        parts = block.queries_keys_values(normed)
        q, k, v = (part.reshape(*part.shape[:2], block.heads, -1).transpose(1, 2) for part in parts)
        hot = inverse_temperature(normed, q.shape[-1]) if beta is None else normed.new_full((len(x),), beta)
        attended = self_self(q, k, v, hot, iterations).transpose(1, 2).flatten(2)
        path = path + block.out(attended)
        if left:  # the stream itself, from the same projections: they are a fifth of a block's work
            x = block.known(x, q, k, v)
    return tower.head(path)
