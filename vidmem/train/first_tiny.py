"""The first `tiny`, which knew drawings alone: it teaches its successor what it had learned of them.

Its weights are a file tiny.safetensors as it shipped before photographs (see the model card).
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoders.mobile_net import DIM, Block, Detail, conv


class TinyBackbone(Detail):
    """`(B, 3, H, W)` in [0, 1] -> features `(B, DIM, H/8, W/8)` and heat logits `(B, H/8, W/8)`.

    H and W are multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Sequential(conv(96, 192, stride=2), nn.ReLU(), Block(192), Block(192), Block(192))
        self.lateral, self.top = nn.Conv2d(96, DIM, 1), nn.Conv2d(192, DIM, 1)
        self.fuse = nn.Sequential(conv(DIM, DIM), nn.ReLU(), nn.Conv2d(DIM, DIM, 1))
        self.heat = nn.Conv2d(DIM, 1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        fine = super().forward(images)
        up = F.interpolate(self.top(self.coarse(fine)), scale_factor=2, mode="bilinear", align_corners=False)
        features = self.fuse(self.lateral(fine) + up)
        return features, self.heat(features).squeeze(1)


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
