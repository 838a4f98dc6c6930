"""Names of tensors in the files that EVA-CLIP's authors publish, and in those made with their code, as DenseVLM's are.

open_clip builds these models through timm, which has other names for the same tensors. The table follows timm's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_PARTS = (
    ("mlp.ffn_ln.", "mlp.norm."),
    ("attn.inner_attn_ln.", "attn.norm."),
    ("mlp.w1.", "mlp.fc1_g."),
    ("mlp.w2.", "mlp.fc1_x."),
    ("mlp.w3.", "mlp.fc2."),
)
_SEPARATE_BIASES = (("attn.q_bias", "attn.q_proj.bias"), ("attn.v_bias", "attn.v_proj.bias"))
"""In blocks with three separate projections. Blocks with one projection have the left names in timm as well."""


def is_eva(tensors: Mapping[str, object]) -> bool:
    """Whether these are the names of EVA-CLIP's files."""
    return "visual.pos_embed" in tensors and "visual.blocks.0.norm1.weight" in tensors


def from_eva(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under open_clip's names. Rotary positions and attention masks are left out: they are computed."""
    separate = "visual.blocks.0.attn.q_proj.weight" in tensors
    found = {}
    for name, tensor in tensors.items():
        if "rope.freqs_" in name or name.endswith(".attn_mask"):
            continue
        if name.startswith("visual."):
            name = "visual.trunk." + name.removeprefix("visual.")
            for old, new in (*_PARTS, *(_SEPARATE_BIASES if separate else ())):
                name = name.replace(old, new)
        found[name] = tensor
    return found
