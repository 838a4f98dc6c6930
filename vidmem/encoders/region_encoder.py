"""The T-REN region encoder (arXiv 2604.18573, section 3.1 and appendix A.3) as a plain module of any width.

Point prompts become k queries each; L decoder layers let them look at patch features; a last single-head
cross-attention without value or output projection pools the patch features of one region per query. Details that
the paper leaves out follow the authors' public code: queries and keys are layer-normed per head, attention has no
biases, the self-attention over the k queries of a point has no residual.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 8
"""Keys up to which attention is written out."""


class FourierPositions(nn.Module):
    """Gaussian random Fourier features of positions in [0, 1]^2: `(..., 2)` x, y -> `(..., dim)`.

    The matrix `(2, dim / 2)` is drawn from seed 42 and is not a parameter, so every model of one width shares it.
    """

    gaussian: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        matrix = torch.randn((2, dim // 2), generator=torch.Generator().manual_seed(42))
        self.register_buffer("gaussian", matrix, persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        angles = 2 * math.pi * ((2 * points - 1) @ self.gaussian)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Features of the centres of a patch grid, `(height * width, dim)`, rows first."""
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        return self.forward(torch.stack([x, y], dim=-1).reshape(-1, 2).to(self.gaussian))


class Attention(nn.Module):
    """Multi-head attention, no biases, per-head layer norm on queries and keys. `(B, Q, D), (B, N, D) -> (B, Q, D)`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = nn.LayerNorm(dim // heads), nn.LayerNorm(dim // heads)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for proj, x in ((self.q_proj, query), (self.k_proj, memory), (self.v_proj, memory))
        )
        q, k = self.q_norm(q), self.k_norm(k)
        if k.shape[-2] <= FEW:  # thousands of attentions over three keys: the fused kernel takes five times as long
            out = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.out_proj(out.transpose(-3, -2).flatten(-2))
        return mixed


class DecoderLayer(nn.Module):
    """Cross-attention to the patches, an MLP, then self-attention among the k queries of each point."""

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.query_norm, self.mlp_norm, self.out_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.cross_attn = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)
        self.region_norm, self.prompt_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.prompt_attn = Attention(dim, heads)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """queries `(B, P, k, D)`, memory `(B, N, D)` -> `(B, P, k, D)`."""
        batch, points, k, dim = queries.shape
        x = queries.flatten(1, 2)
        x = x + self.cross_attn(self.query_norm(x), memory)
        x = self.out_norm(self.linear2(F.gelu(self.linear1(self.mlp_norm(x))))) + x
        x = self.region_norm(x).view(batch * points, k, dim)
        out: Tensor = self.prompt_norm(self.prompt_attn(x, x))
        return out.view(batch, points, k, dim)


class RegionEncoder(nn.Module):
    """Patch features and point prompts -> k region tokens and attention masks per point.

    dim: width of the patch features and of the visual tokens; text_dim: width of the text space; k: tokens per point
    (paper 3); layers: L (paper 2). Two options that the paper does not have, for small models. seed_queries: start each
    query from the patch feature under its point as well; masks then begin as feature similarity. coarse: the decoder
    layers look at features averaged over so many patches a side; the pooling at the end always sees every patch.
    """

    def __init__(
        self, dim: int, text_dim: int, *, heads: int = 8, layers: int = 2, k: int = 3, mlp_dim: int | None = None,
        seed_queries: bool = False, coarse: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        mlp_dim = mlp_dim or 2 * dim
        self.k, self.seed_queries, self.coarse = k, seed_queries, coarse
        self.positions = FourierPositions(dim)
        self.scale_embeddings = nn.Embedding(k, dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, mlp_dim) for _ in range(layers))
        self.q_proj, self.k_proj = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.q_norm, self.k_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.text1, self.text2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, text_dim)

    def forward(self, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """features `(B, D, h, w)`, points `(B, P, 2)` x, y in [0, 1].

        Returns tokens `(B, P, k, D)` in the space of the features, attention `(B, P, k, h * w)` that sums to 1, and
        the queries `(B, P, k, D)` that the last layer pooled with.
        """
        height, width = features.shape[-2:]
        patches = features.flatten(2).transpose(1, 2)
        memory = patches + self.positions.grid(height, width).to(patches.dtype)
        overview = memory
        if self.coarse > 1:
            small = F.avg_pool2d(features, self.coarse)
            grid = self.positions.grid(*small.shape[-2:]).to(patches.dtype)
            overview = small.flatten(2).transpose(1, 2) + grid
        positions = self.positions(points).to(patches.dtype).unsqueeze(2)
        queries = self.scale_embeddings.weight.expand(*points.shape[:2], -1, -1)
        if self.seed_queries:
            at = F.grid_sample(features.float(), 2 * points.float().unsqueeze(1) - 1, align_corners=False)
            queries = queries + at.squeeze(2).transpose(1, 2).unsqueeze(2).to(queries.dtype)
        for layer in self.layers:  # the position is injected anew before every layer
            queries = layer(queries + positions, overview)
        flat = queries.flatten(1, 2)
        scores = self.q_norm(self.q_proj(flat)) @ self.k_norm(self.k_proj(memory)).transpose(1, 2)
        attention = (scores / math.sqrt(features.shape[1])).softmax(-1)
        tokens = attention @ patches
        return tokens.unflatten(1, (-1, self.k)), attention.unflatten(1, (-1, self.k)), queries

    def project(self, tokens: Tensor) -> Tensor:
        """Visual tokens `(..., D)` into the text space `(..., Dt)` (the text projector)."""
        out: Tensor = self.text2(F.gelu(self.text1(tokens)))
        return out
