"""One block of an image tower, taken apart: open_clip's own, those of timm's vision transformers, and EVA's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError


class Block:
    """One transformer block. module: open_clip's or timm's own; sequence_first: it wants `(L, B, D)`. rope: rotary
    positions of the patches, which the tower sets for each picture; None without. post_norm: its norms follow attention
    and MLP (EVA02-E).

    Raises ModelError for a block that does something which vidmem does not.
    """

    def __init__(self, module: Any, heads: int, *, sequence_first: bool = False) -> None:
        self.module, self.heads, self.sequence_first = module, heads, sequence_first
        self.rope: Tensor | None = None
        attn = module.attn
        self._timm = hasattr(attn, "qkv")
        self.post_norm = type(module).__name__ in ("EvaBlockPostNorm", "ResPostBlock")
        if getattr(attn, "head_scale", None) is not None:
            raise ModelError("this tower scales its heads, which vidmem does not do; choose another backbone")
        if getattr(attn, "gate", None) is not None or getattr(attn, "num_kv_groups", 1) != 1:
            raise ModelError("this tower gates heads or shares keys, which vidmem does not do; choose another backbone")

    def __call__(self, x: Tensor) -> Tensor:
        """The whole block: `(B, L, D)` -> `(B, L, D)`."""
        if self.rope is not None:
            turned: Tensor = self.module(x, rope=self.rope)
            return turned
        if not self.sequence_first:
            out: Tensor = self.module(x)
            return out
        swapped: Tensor = self.module(x.transpose(0, 1))
        return swapped.transpose(0, 1)

    def known(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As the whole block, for projections of x that are known already: `(B, heads, L, d)` each. Attention of a kind
        of its own is run by itself."""
        if self._timm or type(self.module.attn) is not nn.MultiheadAttention:
            return self(x)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.mlp(x + self.out(attended))

    def normed(self, x: Tensor) -> Tensor:
        """What the block's projections see of its input: ln_1(x), or x itself where the norm comes after."""
        if self.post_norm:
            return x
        out: Tensor = (self.module.norm1 if self._timm else self.module.ln_1)(x)
        return out

    def queries_keys_values(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(B, L, D)` each, heads side by side in D, as its attention compares them: normed per head, and turned by
        their places, where the tower does so."""
        q, k, v = (F.linear(normed, *self._projection(i)) for i in range(3))
        return self._compared(q, "q_norm"), self._compared(k, "k_norm"), v

    def values(self, normed: Tensor) -> Tensor:
        """The values alone, for a third of the work."""
        return F.linear(normed, *self._projection(2))

    def out(self, attended: Tensor) -> Tensor:
        """What attention adds to the stream, from heads side by side `(..., D)`: out_proj and the block's own scale or
        norm."""
        module, attn = self.module, self.module.attn
        if not self._timm:
            return through(through(attended, attn, "ln_inner", "out_proj"), module, "ln_attn", "ls_1")
        projected = through(attended, attn, "norm", "proj")
        if self.post_norm:
            return through(projected, module, "norm1")
        return _scaled(through(projected, module, "ls1"), module, "gamma_1")

    def mlp(self, x: Tensor) -> Tensor:
        """The second half of the block: x + mlp(ln_2(x)), or x + ln_2(mlp(x))."""
        if not self._timm:
            return x + through(x, self.module, "ln_2", "mlp", "ls_2")
        if self.post_norm:
            return x + through(x, self.module, "mlp", "norm2")
        return x + _scaled(through(x, self.module, "norm2", "mlp", "ls2"), self.module, "gamma_2")

    def _projection(self, which: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the queries (0), keys (1) or values (2)."""
        attn = self.module.attn
        if not self._timm:
            bias = attn.in_proj_bias
            return attn.in_proj_weight.chunk(3)[which], None if bias is None else bias.chunk(3)[which]
        if attn.qkv is None:  # three of their own
            own = (attn.q_proj, attn.k_proj, attn.v_proj)[which]
            return own.weight, own.bias
        weight = attn.qkv.weight.chunk(3)[which]
        if getattr(attn, "q_bias", None) is not None:  # EVA's, beside the projection; keys have none that counts
            return weight, (attn.q_bias, attn.k_bias, attn.v_bias)[which]
        return weight, None if attn.qkv.bias is None else attn.qkv.bias.chunk(3)[which]

    def _compared(self, x: Tensor, norm: str) -> Tensor:
        """Queries or keys `(B, L, D)` after the norm of each head and the turn by their place."""
        attn = self.module.attn
        own = getattr(attn, norm, None)
        plain = own is None or isinstance(own, nn.Identity)
        if plain and self.rope is None:
            return x
        heads: Tensor = x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
        heads = heads if plain or own is None else own(heads)
        if self.rope is not None:
            first = getattr(attn, "num_prefix_tokens", 1)  # class token: it has no place
            turned = rotated(heads[:, :, first:], self.rope, half=getattr(attn, "rotate_half", False))
            heads = torch.cat([heads[:, :, :first], turned], dim=2).to(x.dtype)
        return heads.transpose(1, 2).flatten(2)


def rotated(x: Tensor, rope: Tensor, *, half: bool) -> Tensor:
    """Rotary positions (Su et al., arXiv 2104.09864): pairs of numbers of x `(..., L, d)` turned by the angles of their
    place, whose sines and cosines are the halves of rope `(L, 2 d)`. half: pairs are i and i + d / 2, else 2 i and
    2 i + 1."""
    sin, cos = rope.chunk(2, dim=-1)
    if half:
        a, b = x.chunk(2, dim=-1)
        across = torch.cat([-b, a], dim=-1)
    else:
        across = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return x * cos + across * sin


def through(x: Tensor, owner: Any, *names: str) -> Tensor:
    """x through those of the named modules that there are."""
    for name in names:
        module = getattr(owner, name, None)
        x = x if module is None else module(x)
    return x


def _scaled(x: Tensor, owner: Any, name: str) -> Tensor:
    """x times the named factors per channel, if there are any."""
    factors = getattr(owner, name, None)
    return x if factors is None else factors * x
