"""One transformer block of an image tower, and its parts: blocks of open_clip, of timm and of EVA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError


class Block:
    """One transformer block.

    Attributes:
        module: The block of open_clip or timm.
        heads: Number of attention heads.
        sequence_first: True if the module takes `(L, B, D)`.
        rope: Rotary positions of the patches, which the tower sets for each picture; None if it has none.
        post_norm: True if its norms come after attention and MLP (EVA02-E).

    Raises:
        ModelError: The block scales or gates its heads, or shares keys between them.
    """

    def __init__(self, module: Any, heads: int, *, sequence_first: bool = False) -> None:
        self.module, self.heads, self.sequence_first = module, heads, sequence_first
        self.rope: Tensor | None = None
        attn = module.attn
        self._timm = hasattr(attn, "qkv")
        self.post_norm = type(module).__name__ in ("EvaBlockPostNorm", "ResPostBlock")
        if getattr(attn, "head_scale", None) is not None:
            raise ModelError("this tower scales its heads, which vidmem does not support; choose another backbone")
        if getattr(attn, "gate", None) is not None or getattr(attn, "num_kv_groups", 1) != 1:
            raise ModelError(
                "this tower gates heads or shares keys, which vidmem does not support; choose another backbone"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Run the whole block: `(B, L, D)` -> `(B, L, D)`."""
        out: Tensor
        if self.rope is not None:
            out = self.module(x, rope=self.rope)
        elif self.sequence_first:
            out = self.module(x.transpose(0, 1)).transpose(0, 1)
        else:
            out = self.module(x)
        return out

    def from_projections(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Run the block for an `x` whose projections `(B, heads, L, d)` are known.

        If the attention is not the usual one, the whole block is run instead.
        """
        if self._timm or type(self.module.attn) is not nn.MultiheadAttention:
            return self(x)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.mlp(x + self.out(attended))

    def normed(self, x: Tensor) -> Tensor:
        """The input of the block's projections: ln_1(x), or x itself if the norm comes after attention."""
        if self.post_norm:
            return x
        out: Tensor = (self.module.norm1 if self._timm else self.module.ln_1)(x)
        return out

    def queries_keys_values(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, `(B, L, D)` each, with the heads side by side in D.

        If the tower does so, queries and keys are normalised per head and rotated by their positions.
        """
        q, k, v = (F.linear(normed, *self._projection(i)) for i in range(3))
        return self._normed_per_head(q, "q_norm"), self._normed_per_head(k, "k_norm"), v

    def values(self, normed: Tensor) -> Tensor:
        """The values of `queries_keys_values`, for a third of the work."""
        return F.linear(normed, *self._projection(2))

    def out(self, attended: Tensor) -> Tensor:
        """What attention adds to the stream: out_proj of the attended values, and the block's scale or norm.

        attended: `(..., D)`, heads side by side.
        """
        module, attn = self.module, self.module.attn
        if not self._timm:
            return apply_present(apply_present(attended, attn, "ln_inner", "out_proj"), module, "ln_attn", "ls_1")
        projected = apply_present(attended, attn, "norm", "proj")
        if self.post_norm:
            return apply_present(projected, module, "norm1")
        return _scaled(apply_present(projected, module, "ls1"), module, "gamma_1")

    def mlp(self, x: Tensor) -> Tensor:
        """The second half of the block: x + mlp(ln_2(x)), or x + ln_2(mlp(x))."""
        if not self._timm:
            return x + apply_present(x, self.module, "ln_2", "mlp", "ls_2")
        if self.post_norm:
            return x + apply_present(x, self.module, "mlp", "norm2")
        return x + _scaled(apply_present(x, self.module, "norm2", "mlp", "ls2"), self.module, "gamma_2")

    def _projection(self, which: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the queries (0), keys (1) or values (2)."""
        attn = self.module.attn
        if not self._timm:
            bias = attn.in_proj_bias
            return attn.in_proj_weight.chunk(3)[which], None if bias is None else bias.chunk(3)[which]
        if attn.qkv is None:  # three separate projections
            projection = (attn.q_proj, attn.k_proj, attn.v_proj)[which]
            return projection.weight, projection.bias
        weight = attn.qkv.weight.chunk(3)[which]
        if (
            getattr(attn, "q_bias", None) is not None
        ):  # EVA keeps biases outside of the projection; that of the keys is 0
            return weight, (attn.q_bias, attn.k_bias, attn.v_bias)[which]
        return weight, None if attn.qkv.bias is None else attn.qkv.bias.chunk(3)[which]

    def _normed_per_head(self, x: Tensor, norm_name: str) -> Tensor:
        """Queries or keys `(B, L, D)` after the norm of each head and the rotation by their positions."""
        attn = self.module.attn
        norm = getattr(attn, norm_name, None)
        plain = norm is None or isinstance(norm, nn.Identity)
        if plain and self.rope is None:
            return x
        heads: Tensor = x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
        heads = heads if plain or norm is None else norm(heads)
        if self.rope is not None:
            first = getattr(attn, "num_prefix_tokens", 1)  # the class token has no position
            patches = rotate(heads[:, :, first:], self.rope, half=getattr(attn, "rotate_half", False))
            heads = torch.cat([heads[:, :, :first], patches], dim=2).to(x.dtype)
        return heads.transpose(1, 2).flatten(2)


def rotate(x: Tensor, rope: Tensor, *, half: bool) -> Tensor:
    """Apply rotary positions (Su et al., arXiv 2104.09864) to `x` `(..., L, d)`.

    rope: `(L, 2 d)`, the sines of the angles and then their cosines. half: True if channels i and i + d / 2 are
    rotated together, False if 2 i and 2 i + 1 are.
    """
    sin, cos = rope.chunk(2, dim=-1)
    if half:
        a, b = x.chunk(2, dim=-1)
        perpendicular = torch.cat([-b, a], dim=-1)
    else:
        perpendicular = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return x * cos + perpendicular * sin


def apply_present(x: Tensor, owner: Any, *names: str) -> Tensor:
    """Apply the named modules of `owner` to `x` in turn, without those that it does not have."""
    for name in names:
        module = getattr(owner, name, None)
        x = x if module is None else module(x)
    return x


def _scaled(x: Tensor, owner: Any, name: str) -> Tensor:
    """Multiply `x` by the named factors per channel, if `owner` has them."""
    factors = getattr(owner, name, None)
    return x if factors is None else factors * x
