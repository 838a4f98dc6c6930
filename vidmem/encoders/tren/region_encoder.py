"""The T-REN region encoder (arXiv 2604.18573, section 3.1 and appendix A.3) as a plain module of any width.

Point prompts become k queries each; L decoder layers let them look at patch features; a last single-head
cross-attention without value or output projection pools the patch features of one region per query. Details that
the paper leaves out follow the authors' public code: queries and keys are layer-normed per head, attention has no
biases, the self-attention over the k queries of a point has no residual.

What does not depend on the picture is computed once for the same points (see prompts.py), and on a CPU points go
through the decoder in parts that stay in its cache: no point sees another, so the result is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cpu_kernels import attend_few, mlp, pairs, products
from .positions import FourierPositions, Kind
from .prompts import PromptCache, Prompts

FEW = 8
"""Keys up to which attention is written out."""
PART = 384
"""Points at a time on a CPU: with 3 queries each of width 1024 an activation is 5 MB."""


class Attention(nn.Module):
    """Multi-head attention, no biases, per-head layer norm on queries and keys. `(B, Q, D), (B, N, D) -> (B, Q, D)`."""

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
        """Normed queries `(B, Q, heads, D / heads)`."""
        normed: Tensor = self.q_norm(self._split(products(query, self.q_proj.weight)[0]))
        return normed

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Normed keys and values `(B, N, heads, D / heads)`."""
        k, v = products(memory, self.k_proj.weight, self.v_proj.weight)
        return self.k_norm(self._split(k)), self._split(v)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What the queries take from the values, `(B, Q, D)`. Norms come before the heads change places with the rows:
        the fused kernel reads and writes rows with their heads side by side, so nothing is ever copied."""
        if k.shape[-3] <= FEW:
            out = attend_few(q, k, v)
        else:
            q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v).transpose(-3, -2)
        return products(out.flatten(-2), self.out_proj.weight)[0]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1)


class DecoderLayer(nn.Module):
    """Cross-attention to the patches, an MLP, then self-attention among the k queries of each point."""

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.query_norm, self.mlp_norm, self.out_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.cross_attn = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)
        self.region_norm, self.prompt_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.prompt_attn = Attention(dim, heads)

    def queries(self, queries: Tensor) -> Tensor:
        """The queries `(B, P, k, D)` as the cross-attention asks with them, `(B, P * k, heads, D / heads)`."""
        return self.cross_attn.queries(self.query_norm(queries.flatten(1, 2)))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, asked: Tensor | None = None) -> Tensor:
        """queries `(B, P, k, D)`, keys and values of the patches (see Attention.keys_values) -> `(B, P, k, D)`.

        asked: `self.queries(queries)`, where it is known. Both may have a batch of 1 for all pictures.
        """
        _, points, k, dim = queries.shape
        if asked is None:
            asked = self.queries(queries)
        x = queries.flatten(1, 2) + self.cross_attn.mix(asked.expand(len(keys), -1, -1, -1), keys, values)
        x = self.out_norm(mlp(self.mlp_norm(x), self.linear1, self.linear2)) + x
        x = self.region_norm(x).view(-1, k, dim)
        out: Tensor = self.prompt_norm(self.prompt_attn(x, x))
        return out.view(-1, points, k, dim)


class Memory(NamedTuple):
    """What the queries look at: keys and values for every layer; keys `(B, N, D)` and patches `(B, D, N)` to pool."""

    layers: list[tuple[Tensor, Tensor]]
    keys: Tensor
    patches: Tensor

    def of(self, picture: int) -> Memory:
        """One picture's, as a batch of 1."""
        one = slice(picture, picture + 1)
        return Memory([(k[one], v[one]) for k, v in self.layers], self.keys[one], self.patches[one])


class RegionEncoder(nn.Module):
    """Patch features and point prompts -> k region tokens and attention masks per point.

    dim: width of the patch features and of the visual tokens; text_dim: width of the text space; k: tokens per point
    (paper 3); layers: L (paper 2). positions: see FourierPositions; native: patches and pixels a side that the weights
    were trained on. Two options that the paper does not have, for small models. seed_queries: start each
    query from the patch feature under its point as well; masks then begin as feature similarity. coarse: the decoder
    layers look at features averaged over so many patches a side; the pooling at the end always sees every patch.
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
            raise ValueError(f"width {dim}, {heads} heads, {layers} layers, k {k}, coarse {coarse} make no encoder")
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
        """`layers` with their type, which a ModuleList does not keep."""
        return [cast(DecoderLayer, layer) for layer in self.layers]

    def forward(self, features: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """features `(B, D, h, w)`, points `(B, P, 2)` x, y in [0, 1], or `(1, P, 2)` for all pictures.

        Returns tokens `(B, P, k, D)` in the space of the features, attention `(B, P, k, h * w)` that sums to 1, and
        the queries `(B, P, k, D)` that the last layer pooled with. Points that are the same as in the last call
        cost nothing again (without gradients, outside training).
        """
        memory, prompts = self.prepare(features, points)
        count = points.shape[1]
        if features.device.type != "cpu" or count <= PART or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.decode(memory, prompts)
        widths = self.dim, memory.keys.shape[1], self.dim
        outs = tuple(features.new_empty(len(features), count, self.k, width) for width in widths)
        for b in range(len(features)):
            one, mine = memory.of(b), prompts.of(b)
            for start in range(0, count, PART):
                part = slice(start, start + PART)
                for out, value in zip(outs, self.decode(one, mine.part(part, self.k)), strict=True):
                    out[b, part] = value[0]
        return outs[0], outs[1], outs[2]

    def prepare(self, features: Tensor, points: Tensor) -> tuple[Memory, Prompts]:
        """What `decode` and `ask` take, of what `forward` takes."""
        if features.ndim != 4 or features.shape[1] != self.dim:
            raise RuntimeError(f"features are (B, {self.dim}, h, w), not {tuple(features.shape)}")
        if points.shape[0] > 1 and points.stride(0) == 0:
            points = points[:1]
        prompts = self._cache.get(self, points, features)
        if prompts is None:
            prompts = self.prompts(points, features)
        if self.seed_queries:
            prompts = self._seeded(prompts, features, points)
        return self.look_at(features, prompts), prompts

    def prompts(self, points: Tensor, features: Tensor) -> Prompts:
        """All that depends on the points and on the size of the patch grid alone. points `(B or 1, P, 2)`."""
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
        where = 2 * points.to(features.device, torch.float32).unsqueeze(1).expand(len(features), -1, -1, -1) - 1
        at = F.grid_sample(features.float(), where, align_corners=False).squeeze(2).transpose(1, 2).unsqueeze(2)
        return prompts._replace(queries=prompts.queries + at.to(prompts.queries.dtype) + prompts.positions)

    def look_at(self, features: Tensor, prompts: Prompts) -> Memory:
        """Keys and values of the patches, for all layers and for the pooling; each is computed once for all points."""
        patches = features.flatten(2)
        memory = torch.add(patches.transpose(1, 2), prompts.grid).contiguous()  # it would keep the columns together
        overview = memory
        if prompts.coarse is not None:
            overview = F.avg_pool2d(features, self.coarse).flatten(2).transpose(1, 2) + prompts.coarse
        layers = [layer.cross_attn.keys_values(overview) for layer in self.decoders]
        return Memory(layers, self.k_norm(products(memory, self.k_proj.weight)[0]), patches)

    def decode(self, memory: Memory, prompts: Prompts) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, attention and queries of the points in `prompts`; see `forward`. One graph for torch.compile."""
        queries = self.ask(memory, prompts)
        tokens, attention = self.pool(memory, queries.flatten(1, 2))
        shape = *queries.shape[:3], -1
        return tokens.view(shape), attention.view(shape), queries

    def ask(self, memory: Memory, prompts: Prompts) -> Tensor:
        """The queries `(B, P, k, D)` of the points in `prompts` after the last layer."""
        queries, asked = prompts.queries, prompts.asked
        for i, layer in enumerate(self.layers):
            if i:  # the position is injected anew before every layer
                queries, asked = queries + prompts.positions, None
            queries = layer(queries, *memory.layers[i], asked)
        return queries

    def pool(self, memory: Memory, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens `(B, Q, D)` and attention `(B, Q, N)` of queries `(B, Q, D)`: any of those that `ask` gives."""
        q = self.q_norm(products(queries, self.q_proj.weight)[0])
        attention = pairs(q / math.sqrt(self.dim), memory.keys).softmax(-1)
        return pairs(attention, memory.patches), attention

    def compile_decoder(self, **options: Any) -> None:
        """Have torch.compile (with its `options`) make a graph of what is done for every picture; prompts stay kept.
        Compiling the whole module works as well, as one graph, and computes them anew each time. A copy made later
        would run this module's weights: copy first."""
        for name in ("decode", "look_at"):
            setattr(self, name, torch.compile(getattr(self, name), **options))

    def project(self, tokens: Tensor) -> Tensor:
        """Visual tokens `(..., D)` into the text space `(..., Dt)` (the text projector). The paper projects merged
        tokens, the authors' code all of them and then averages: 3,072 a frame for some 100."""
        return mlp(tokens, self.text1, self.text2)

    def options(self) -> dict[str, Any]:
        """What makes the module, as arguments of it."""
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
    def more_options(texts: Mapping[str, str]) -> dict[str, Any]:
        """Those of `options` that the shapes of the weights do not tell, as keyword arguments, from their texts."""
        flags = {"True": True, "False": False}
        return {
            "seed_queries": flags[texts.get("seed_queries", "False")],
            "coarse": int(texts.get("coarse", "1")),
            "positions": texts.get("positions", "exact"),
            "native": (int(texts.get("side", "32")), int(texts.get("pixels", "512"))),
        }
