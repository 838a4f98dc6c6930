"""A plain implementation of the T-REN region encoder, after a description of its public code, for comparison.

Written for this benchmark from the description; no code was copied: everything is computed anew for each picture, every
attention matrix is written out over all heads and queries at once, float32. Position embeddings are looked up, as
there. Where the description leaves a choice, the faster one is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

Weights = Mapping[str, Tensor]
"""A state dict of `vidmem.encoders.tren.region_encoder.RegionEncoder`."""


def norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def attend(query: Tensor, memory: Tensor, weights: Weights, name: str, heads: int) -> Tensor:
    """Multi-head attention: query `(B, Q, D)`, memory `(B, N, D)` -> `(B, Q, D)`."""

    def split(x: Tensor, which: str) -> Tensor:
        projected = linear(x, weights[f"{name}.{which}_proj.weight"])
        return projected.view(*x.shape[:2], heads, -1).transpose(1, 2)

    q = norm(split(query, "q"), weights, f"{name}.q_norm")
    k = norm(split(memory, "k"), weights, f"{name}.k_norm")
    v = split(memory, "v")
    matrix = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1)
    mixed = (matrix @ v).transpose(1, 2).flatten(2)
    return linear(mixed, weights[f"{name}.out_proj.weight"])


def mlp(x: Tensor, weights: Weights, first: str, second: str) -> Tensor:
    hidden = gelu(linear(x, weights[f"{first}.weight"], weights[f"{first}.bias"]))
    return linear(hidden, weights[f"{second}.weight"], weights[f"{second}.bias"])


def encode(
    features: Tensor, at_points: Tensor, at_patches: Tensor, weights: Weights, *, heads: int = 8, layers: int = 2
) -> tuple[Tensor, Tensor]:
    """features `(B, D, h, w)`, position embeddings of the points `(P, D)` and of the patches `(h * w, D)`.

    Returns tokens `(B, P, k, D)` and attention `(B, P, k, h * w)`.
    """
    scales = weights["scale_embeddings.weight"]
    batch, dim = features.shape[:2]
    k, points = len(scales), len(at_points)
    patches = features.flatten(2).transpose(1, 2)
    positions = at_points.repeat_interleave(k, dim=0).expand(batch, -1, -1)
    queries = scales.repeat(points, 1).expand(batch, -1, -1)
    for i in range(layers):
        name = f"layers.{i}"
        queries = queries + positions
        asked = norm(queries, weights, f"{name}.query_norm")
        queries = queries + attend(asked, patches + at_patches, weights, f"{name}.cross_attn", heads)
        inner = mlp(norm(queries, weights, f"{name}.mlp_norm"), weights, f"{name}.linear1", f"{name}.linear2")
        queries = norm(inner, weights, f"{name}.out_norm") + queries
        few = norm(queries, weights, f"{name}.region_norm").view(batch * points, k, dim)
        few = attend(few, few, weights, f"{name}.prompt_attn", heads)
        queries = norm(few, weights, f"{name}.prompt_norm").view(batch, points * k, dim)
    q = norm(linear(queries, weights["q_proj.weight"]), weights, "q_norm")
    keys = norm(linear(patches + at_patches, weights["k_proj.weight"]), weights, "k_norm")
    attention = (q @ keys.transpose(1, 2) / math.sqrt(dim)).softmax(-1)
    tokens = attention @ patches
    return tokens.view(batch, points, k, dim), attention.view(batch, points, k, -1)


def project(tokens: Tensor, weights: Weights) -> Tensor:
    """All tokens `(..., D)` into the text space, before any merge."""
    return mlp(tokens, weights, "text1", "text2")
