"""The T-REN region encoder (arXiv 2604.18573, section 3.1 and appendix A.3) as a module of any width.

Each point prompt becomes k queries. L decoder layers attend from the queries to patch features. A last single-head
cross-attention without value or output projection pools the patch features of one region per query. Details that are
not in the paper follow the authors' public code: queries and keys have a layer norm per head, attention has no biases,
and the self-attention over the k queries of a point has no residual.

What does not depend on the picture is computed once for the same points (see prompts.py). On a CPU, points go through
the decoder in parts that fit its cache. Points do not see each other, so the result is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cpu_kernels import attend_few, batch_product, mlp, products
from .positions import FourierPositions, Kind
from .prompts import PromptCache, Prompts

FEW = 8
"""Maximum number of keys for `attend_few`."""
PART = 384
"""Points in a part on a CPU. With 3 queries each, an activation of width 1024 has 5 MB."""


class Attention(nn.Module):
    """Multi-head attention `(B, Q, D), (B, N, D) -> (B, Q, D)` without biases; queries and keys are normed per head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = nn.LayerNorm(dim // heads), nn.LayerNorm(dim // heads)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        if query is memory:
            q, k, v = products(query, self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
            return self.mix(self.q_norm(self._split(q)), self.k_norm(self._split(k)), self._split(v))
        return self.mix(self.queries(query), *self.keys_values(memory))

    def queries(self, query: Tensor) -> Tensor:
        """Normalised queries `(B, Q, heads, D / heads)` of `query` `(B, Q, D)`."""
        normed: Tensor = self.q_norm(self._split(products(query, self.q_proj.weight)[0]))
        return normed

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised keys, and values, `(B, N, heads, D / heads)` of `memory` `(B, N, D)`."""
        k, v = products(memory, self.k_proj.weight, self.v_proj.weight)
        return self.k_norm(self._split(k)), self._split(v)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from queries to keys and values, `(B, Q, D)`.

        The norms come before heads and rows are swapped. The fused kernel reads and writes rows with their heads side
        by side, so nothing is copied.
        """
        if k.shape[-3] <= FEW:
            out = attend_few(q, k, v)
        else:
            q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v).transpose(-3, -2)
        return products(out.flatten(-2), self.out_proj.weight)[0]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1)


class DecoderLayer(nn.Module):
    """Cross-attention to the patches, an MLP, and self-attention among the k queries of each point."""

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.query_norm, self.mlp_norm, self.out_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.cross_attn = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)
        self.region_norm, self.prompt_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.prompt_attn = Attention(dim, heads)

    def queries(self, queries: Tensor) -> Tensor:
        """Queries of the cross-attention, `(B, P * k, heads, D / heads)`, of the layer's input `(B, P, k, D)`."""
        return self.cross_attn.queries(self.query_norm(queries.flatten(1, 2)))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, projected: Tensor | None = None) -> Tensor:
        """Run the layer, `(B, P, k, D)`.

        Args:
            queries: `(B or 1, P, k, D)`.
            keys: Keys of the patches; see `Attention.keys_values`.
            values: Values of the patches.
            projected: `self.queries(queries)`; None to compute it.
        """
        _, points, k, dim = queries.shape
        if projected is None:
            projected = self.queries(queries)
        x = queries.flatten(1, 2) + self.cross_attn.mix(projected.expand(len(keys), -1, -1, -1), keys, values)
        x = self.out_norm(mlp(self.mlp_norm(x), self.linear1, self.linear2)) + x
        x = self.region_norm(x).view(-1, k, dim)
        out: Tensor = self.prompt_norm(self.prompt_attn(x, x))
        return out.view(-1, points, k, dim)


class Memory(NamedTuple):
    """What the queries attend to.

    Attributes:
        layers: Keys and values of each layer.
        keys: Keys of the pooling, `(B, N, D)`.
        patches: Patch features that are pooled, `(B, D, N)`.
    """

    layers: list[tuple[Tensor, Tensor]]
    keys: Tensor
    patches: Tensor

    def of(self, picture: int) -> Memory:
        """The memory of one picture, as a batch of 1."""
        row = slice(picture, picture + 1)
        return Memory([(k[row], v[row]) for k, v in self.layers], self.keys[row], self.patches[row])


class RegionEncoder(nn.Module):
    """Gives k region tokens and attention masks for each point prompt on patch features.

    Args:
        dim: Width of the patch features and of the visual tokens.
        text_dim: Width of the text space.
        heads: Attention heads.
        layers: Number L of decoder layers; 2 in the paper.
        k: Tokens per point; 3 in the paper.
        mlp_dim: Width of the hidden layers; None for 2 dim.
        seed_queries: Add the patch feature under its point to each query, so that masks start as similarity of
            features. Not in the paper; for small models.
        coarse: The decoder layers see features that are averaged over this many patches along each side; the final
            pooling sees every patch. Not in the paper; for small models.
        positions: See `FourierPositions`.
        native: Patches and pixels along a side of the pictures in training.

    Raises:
        ValueError: The numbers do not fit together.
    """

    def __init__(
        self,
        dim: int,
        text_dim: int,
        *,
        heads: int = 8,
        layers: int = 2,
        k: int = 3,
        mlp_dim: int | None = None,
        seed_queries: bool = False,
        coarse: int = 1,
        positions: Kind = "exact",
        native: tuple[int, int] = (32, 512),
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads or layers < 1 or k < 1 or coarse < 1:
            raise ValueError(f"width {dim}, {heads} heads, {layers} layers, k {k}, coarse {coarse} do not fit together")
        mlp_dim = mlp_dim or 2 * dim
        self.dim, self.text_dim, self.heads, self.mlp_dim, self.k = dim, text_dim, heads, mlp_dim, k
        self.seed_queries, self.coarse = seed_queries, coarse
        self.positions = FourierPositions(dim, positions, side=native[0], pixels=native[1])
        self.scale_embeddings = nn.Embedding(k, dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, mlp_dim) for _ in range(layers))
        self.q_proj, self.k_proj = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.q_norm, self.k_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.text1, self.text2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, text_dim)
        self._cache = PromptCache()

    @property
    def decoders(self) -> list[DecoderLayer]:
        """`layers` with their type, which is lost in a ModuleList."""
        return [cast(DecoderLayer, layer) for layer in self.layers]

    def forward(self, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode regions. Prompts of the same points as in the last call are reused; see `PromptCache`.

        Args:
            features: `(B, D, h, w)`.
            points: x, y in [0, 1], `(B, P, 2)`, or `(1, P, 2)` for all pictures.

        Returns:
            Tokens `(B, P, k, D)` in the space of the features, attention `(B, P, k, h * w)` that sums to 1, and the
            queries `(B, P, k, D)` of the final pooling.
        """
        memory, prompts = self.prepare(features, points)
        count = points.shape[1]
        if features.device.type != "cpu" or count <= PART or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.decode(memory, prompts)
        widths = self.dim, memory.keys.shape[1], self.dim
        outs = tuple(features.new_empty(len(features), count, self.k, width) for width in widths)
        for b in range(len(features)):
            picture_memory, picture_prompts = memory.of(b), prompts.of(b)
            for start in range(0, count, PART):
                part = slice(start, start + PART)
                values = self.decode(picture_memory, picture_prompts.part(part, self.k))
                for out, value in zip(outs, values, strict=True):
                    out[b, part] = value[0]
        return outs[0], outs[1], outs[2]

    def prepare(self, features: Tensor, points: Tensor) -> tuple[Memory, Prompts]:
        """The arguments of `decode` from those of `forward`. Raises RuntimeError for features of another width."""
        if features.ndim != 4 or features.shape[1] != self.dim:
            raise RuntimeError(f"features are (B, {self.dim}, h, w), not {tuple(features.shape)}")
        if points.shape[0] > 1 and points.stride(0) == 0:
            points = points[:1]
        prompts = self._cache.get(self, points, features)
        if prompts is None:
            prompts = self.prompts(points, features)
        if self.seed_queries:
            prompts = self._seeded(prompts, features, points)
        return self.make_memory(features, prompts), prompts

    def prompts(self, points: Tensor, features: Tensor) -> Prompts:
        """What depends on the points `(B or 1, P, 2)` and the size of the patch grid alone."""
        height, width = features.shape[-2:]
        dtype = features.dtype
        grid = self.positions.grid(height, width).to(dtype)
        coarse = None
        if self.coarse > 1:
            coarse = self.positions.grid(height // self.coarse, width // self.coarse).to(dtype)
        positions = self.positions(points).to(dtype).unsqueeze(2)
        queries = self.scale_embeddings.weight.expand(*points.shape[:2], -1, -1)
        if self.seed_queries:
            return Prompts(grid, coarse, positions, queries, None)
        queries = queries + positions
        return Prompts(grid, coarse, positions, queries, self.decoders[0].queries(queries))

    def _seeded(self, prompts: Prompts, features: Tensor, points: Tensor) -> Prompts:
        """The prompts with the features under the points added to the queries."""
        grid = 2 * points.to(features.device, torch.float32).unsqueeze(1).expand(len(features), -1, -1, -1) - 1
        seeds = F.grid_sample(features.float(), grid, align_corners=False).squeeze(2).transpose(1, 2).unsqueeze(2)
        return prompts._replace(queries=prompts.queries + seeds.to(prompts.queries.dtype) + prompts.positions)

    def make_memory(self, features: Tensor, prompts: Prompts) -> Memory:
        """Keys and values of the patches for all layers and the pooling, computed once for all points."""
        patches = features.flatten(2)
        memory = torch.add(patches.transpose(1, 2), prompts.grid).contiguous()  # else columns would stay contiguous
        overview = memory
        if prompts.coarse is not None:
            overview = F.avg_pool2d(features, self.coarse).flatten(2).transpose(1, 2) + prompts.coarse
        layers = [layer.cross_attn.keys_values(overview) for layer in self.decoders]
        return Memory(layers, self.k_norm(products(memory, self.k_proj.weight)[0]), patches)

    def decode(self, memory: Memory, prompts: Prompts) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, attention and queries of the points in `prompts`, as in `forward`. One graph for torch.compile."""
        queries = self.run_layers(memory, prompts)
        tokens, attention = self.pool(memory, queries.flatten(1, 2))
        shape = *queries.shape[:3], -1
        return tokens.view(shape), attention.view(shape), queries

    def run_layers(self, memory: Memory, prompts: Prompts) -> Tensor:
        """The queries `(B, P, k, D)` of the points in `prompts` after the last layer."""
        queries, projected = prompts.queries, prompts.projected
        for i, layer in enumerate(self.layers):
            if i:  # positions are added before every layer
                queries, projected = queries + prompts.positions, None
            queries = layer(queries, *memory.layers[i], projected)
        return queries

    def pool(self, memory: Memory, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens `(B, Q, D)` and attention `(B, Q, N)` of queries `(B, Q, D)` from `run_layers`."""
        q = self.q_norm(products(queries, self.q_proj.weight)[0])
        attention = batch_product(q / math.sqrt(self.dim), memory.keys).softmax(-1)
        return batch_product(attention, memory.patches), attention

    def compile_decoder(self, **options: Any) -> None:
        """Compile what runs for every picture, with torch.compile and its `options`. Prompts stay cached.

        The whole module can be compiled as well, as one graph, which computes the prompts every time. Copy a module
        before it is compiled: a later copy runs this module's weights.
        """
        for name in ("decode", "make_memory"):
            setattr(self, name, torch.compile(getattr(self, name), **options))

    def project(self, tokens: Tensor) -> Tensor:
        """Project visual tokens `(..., D)` into the text space `(..., Dt)` (the text projector).

        The paper projects the merged tokens, about 100 a frame. The authors' code projects all 3,072 and then averages.
        """
        return mlp(tokens, self.text1, self.text2)

    def options(self) -> dict[str, Any]:
        """The options of the module, for the metadata of a file."""
        return {
            "dim": self.dim,
            "text_dim": self.text_dim,
            "heads": self.heads,
            "layers": len(self.layers),
            "k": self.k,
            "mlp_dim": self.mlp_dim,
            "seed_queries": self.seed_queries,
            "coarse": self.coarse,
            "positions": self.positions.kind,
            "side": self.positions.side,
            "pixels": self.positions.pixels,
        }

    @staticmethod
    def options_from_metadata(texts: Mapping[str, str]) -> dict[str, Any]:
        """Keyword arguments for the options that the shapes of the weights do not show.

        texts: The metadata of a file; see `options`.
        """
        flags = {"True": True, "False": False}
        return {
            "seed_queries": flags[texts.get("seed_queries", "False")],
            "coarse": int(texts.get("coarse", "1")),
            "positions": texts.get("positions", "exact"),
            "native": (int(texts.get("side", "32")), int(texts.get("pixels", "512"))),
        }
