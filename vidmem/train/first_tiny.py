"""The first `tiny`, which knew drawings alone: it teaches its successor what it had learned of them.

Its weights are a file tiny.safetensors as it shipped before photographs (see the model card).
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ..encoders.tiny_net import TinyBackbone


def first_backbone(weights: Path) -> TinyBackbone:
    """Its backbone, frozen, in float32."""
    kept = {k[9:]: v for k, v in load_file(weights).items() if k.startswith("backbone.")}
    backbone = TinyBackbone()
    backbone.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in kept.items()})
    return backbone.eval().requires_grad_(False)


def first_regions(weights: Path) -> dict[str, Tensor]:
    """Its region encoder and score, without its text projector, by the names of TinyNet."""
    kept = {k: v for k, v in load_file(weights).items() if k.startswith(("regions.", "score."))}
    return {k: v.float() for k, v in kept.items() if not k.startswith(("regions.text1", "regions.text2"))}


def first_detail(weights: Path) -> dict[str, Tensor]:
    """What its backbone sees at its finest, by the names of mobile_net.Detail."""
    kept = {k[9:]: v for k, v in load_file(weights).items() if k.startswith(("backbone.stem.", "backbone.fine."))}
    return {k: v.float() if v.is_floating_point() else v for k, v in kept.items()}
