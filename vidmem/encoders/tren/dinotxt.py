"""dino.txt (arXiv 2412.16334) for DINOv3: the text tower, and the vision head that maps patches into the text space.

Written from the published facts. The text embedding has two halves, `[class half | patch half]`, each as wide as the
backbone. The first was trained with the head's class token, the second with the mean of its patches.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tensor_file import fail, fill, read_tensors
from .dinov3 import Features

WHAT = "the dino.txt weights"
"""Their name in messages."""
HEAD_DIM = 64
"""Width of an attention head of the published text tower (1280 / 20). The tensors do not show it."""
TEXT, TEXT_HEAD, VISION = "text_model.backbone.", "text_model.head.", "visual_model.head."
"""Prefixes of the names in Meta's file. The prefix of the frozen backbone, if it is included, is
`visual_model.backbone.`."""


class _Attention(nn.Module):
    """Multi-head self-attention with a fused projection without bias: `(B, N, D) -> (B, N, D)`."""

    def __init__(self, dim: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class _Gelu(nn.Module):
    """Two linear layers with GELU in between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class _SwiGlu(nn.Module):
    """w3(silu(w1 x) * w2 x) (Shazeer, arXiv 2002.05202)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(dim, hidden), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w3(F.silu(self.w1(x)) * self.w2(x))
        return out


class _Scale(nn.Module):
    """A factor per channel (layer scale)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _TextBlock(nn.Module):
    """A causal pre-norm block without layer scale."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention, self.feed_forward = _Attention(dim, heads, causal=True), _Gelu(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class _VisionBlock(nn.Module):
    """A pre-norm block with layer scale, without positions."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = _Attention(dim, heads, causal=False), _SwiGlu(dim, hidden)
        self.ls1, self.ls2 = _Scale(dim), _Scale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class TextTower(nn.Module):
    """The text tower: token ids `(n, L)` int64 with L <= `context` -> embeddings `(n, 2 D)`, not normalised.

    The embedding is the token with the largest id of a row, which is the end of the text. Later tokens have no
    influence, since attention is causal.
    """

    def __init__(self, vocabulary: int, context: int, dim: int, layers: int, heads: int, hidden: int, out: int) -> None:
        super().__init__()
        self.context, self.out = context, out
        self.token_embedding = nn.Embedding(vocabulary, dim)
        self.positional_embedding = nn.Parameter(torch.zeros(context, dim))
        self.blocks = nn.ModuleList(_TextBlock(dim, heads, hidden) for _ in range(layers))
        self.ln_final = nn.LayerNorm(dim)
        self.linear_projection = nn.Linear(dim, out, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        pooled: Tensor = self.linear_projection(self.tokens(ids)[torch.arange(len(ids)), ids.argmax(1)])
        return pooled

    def tokens(self, ids: Tensor) -> Tensor:
        """All tokens `(n, L, dim)` after the last norm."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.ln_final(x)
        return out


class VisionHead(nn.Module):
    """The vision head: tokens of the backbone -> class token `(B, D)` and patches `(B, D, h, w)` in the text space.

    The class token is comparable with the first half of the text embedding, patches with the second.
    """

    def __init__(self, dim: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.dim = dim
        self.blocks = nn.ModuleList(_VisionBlock(dim, heads, hidden) for _ in range(layers))
        self.ln_final = nn.LayerNorm(dim)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        patches = features.patches.flatten(2).transpose(1, 2)
        x = torch.cat([features.cls[:, None], features.registers, patches], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.ln_final(x)
        first = x.shape[1] - patches.shape[1]
        return x[:, 0], x[:, first:].transpose(1, 2).unflatten(2, features.patches.shape[-2:])


def load_text_tower(path: Path, *, heads: int | None = None) -> TextTower:
    """Load the text tower from Meta's file, float32 on the CPU. heads: None for width / 64, as published.

    Raises:
        ModelError: The file is missing, damaged, has no text tower, or wants to run code.
    """
    tensors = read_tensors(path, WHAT)
    state = _with_prefix(tensors, TEXT) | _with_prefix(tensors, TEXT_HEAD)
    try:
        vocabulary, dim = state["token_embedding.weight"].shape
        context, out = state["positional_embedding"].shape[0], state["linear_projection.weight"].shape[0]
        hidden = state["blocks.0.feed_forward.fc1.weight"].shape[0]
        heads = heads or dim // HEAD_DIM
        if dim % heads or out % 2:
            raise ValueError("heads or halves")
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        fail(WHAT, f"it holds no text tower ({TEXT}*); fetch the published dinotxt file", path)
    with torch.device("meta"):
        tower = TextTower(vocabulary, context, dim, _layers(state), heads, hidden, out)
    fill(tower, state, WHAT, path)
    return tower


def load_vision_head(path: Path, *, heads: int) -> VisionHead:
    """Load the vision head from Meta's file, float32 on the CPU. heads: The number of heads of the backbone.

    Raises ModelError as `load_text_tower`.
    """
    state = _with_prefix(read_tensors(path, WHAT), VISION)
    try:
        dim, hidden = state["ln_final.weight"].shape[0], state["blocks.0.mlp.w1.weight"].shape[0]
        if dim % heads:
            raise ValueError("heads")
    except (KeyError, ValueError, IndexError):
        fail(WHAT, f"it holds no vision head ({VISION}*) of {heads} heads; fetch the published dinotxt file", path)
    with torch.device("meta"):
        head = VisionHead(dim, _layers(state), heads, hidden)
    fill(head, state, WHAT, path)
    return head


def _with_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _layers(state: dict[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in state if name.startswith("blocks.")})
