"""DINOv3 with the dino.txt head and text tower as a frozen backbone, as in the paper (section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vidmem.encoders.hub import fingerprint, locate, weights_folder
from vidmem.encoders.tren import dinov3
from vidmem.encoders.tren import encoder as tren
from vidmem.encoders.tren.dinotxt import VisionHead, load_vision_head
from vidmem.errors import ModelError, UsageError

from .backbones import Seen

if TYPE_CHECKING:
    from vidmem.encoders.tren.region_encoder import RegionEncoder

TOKENS = 256
"""Number of names per batch of the text tower."""


class DinoFeatures:
    """A `Backbone` made of the given parts. pixels: side of the square pictures.

    Region tokens go through the vision head one by one, each with the class and register tokens of its picture, as
    "processing the visual targets using the text-alignment vision block" leaves open what else the block sees, and
    regions of a picture must not depend on which others are annotated. Raises ModelError if the widths of the parts
    differ.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        model: nn.Module,
        head: VisionHead,
        text: tren.TextSide,
        pixels: int,
        device: torch.device,
    ) -> None:
        if pixels % dinov3.PATCH or pixels < dinov3.PATCH:
            raise UsageError(f"`pixels` is a multiple of {dinov3.PATCH}; got {pixels}")
        self.name, self.weights, self.dim, self.text_dim = name, weights, dinov3.width(model), text.dim
        if head.dim != self.dim or head.dim != text.dim:
            raise ModelError(
                f"the backbone gives width {self.dim}, the dino.txt head takes {head.dim}, its text tower "
                f"gives {text.dim}; dino.txt is for {tren.DEFAULT_SIZE}"
            )
        self.size, self.grid = (pixels, pixels), (pixels // dinov3.PATCH, pixels // dinov3.PATCH)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.model, self.vision = dinov3.to_device(model, device, dtype), head.to(device, dtype)
        self.reader = text
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (tren.MEAN, tren.STD))
        self.mean, self.std, self.dtype = mean, std, dtype

    @torch.no_grad()
    def features(self, images: Tensor) -> Seen:
        found = dinov3.features(self.model, ((images - self.mean) / self.std).to(self.dtype))
        return Seen(found.patches.float(), found.cls.float(), found.registers.float())

    @torch.no_grad()
    def head(self, tokens: Tensor, seen: Seen) -> Tensor:
        assert seen.cls is not None
        assert seen.registers is not None
        count = tokens.shape[1]
        alone = dinov3.Features(
            tokens.flatten(0, 1)[:, :, None, None].to(self.dtype),
            seen.cls.repeat_interleave(count, 0).to(self.dtype),
            seen.registers.repeat_interleave(count, 0).to(self.dtype),
        )
        out: Tensor = self.vision(alone)[1]
        return out.reshape(len(tokens), count, -1).float()

    @torch.no_grad()
    def head_together(self, tokens: Tensor, seen: Seen, there: Tensor) -> Tensor:
        assert seen.cls is not None
        assert seen.registers is not None
        out = torch.zeros(*tokens.shape[:2], self.text_dim, device=tokens.device)
        for i, own in enumerate(there):  # their number differs from picture to picture
            if own.any():
                alone = seen.one(i)
                held = tokens[i, own].T[None, :, :, None]
                parts = (part.to(self.dtype) for part in (held, alone.cls, alone.registers) if part is not None)
                out[i, own] = self.vision(dinov3.Features(*parts))[1].flatten(2)[0].T.float()
        return out

    @torch.no_grad()
    def patch_head(self, seen: Seen) -> Tensor:
        assert seen.cls is not None
        assert seen.registers is not None
        parts = (part.to(self.dtype) for part in (seen.patches, seen.cls, seen.registers))
        out: Tensor = self.vision(dinov3.Features(*parts))[1]
        return out.flatten(2).transpose(1, 2).float()

    @torch.no_grad()
    def text(self, names: Sequence[str]) -> Tensor:
        parts = []
        for first in range(0, len(names), TOKENS):
            ids = self.reader.tokens([tren.PROMPT + name for name in names[first : first + TOKENS]])
            # T-REN's text tokens are in the patch space, the second half.
            parts.append(self.reader.tower(torch.from_numpy(ids))[:, self.text_dim :])
        return torch.cat(parts) if parts else torch.zeros(0, self.text_dim)

    def copy_head(self, model: RegionEncoder) -> None:
        raise UsageError("the dino.txt head is not an MLP to start a text projector from; leave `text_start` at random")


def load(size: str, weights: Path | None, device: torch.device, pixels: int = 0) -> DinoFeatures:
    """Load DINOv3 of a size ("" for ViT-L/16) from a folder of weights. Raises ModelError if a file is missing."""
    size, folder = tren.size_of(size), weights_folder(weights)
    wanted = [tren.backbone_file(size), tren.TEXT, tren.VOCABULARY]
    backbone, dinotxt, _ = (locate(each, folder) for each in wanted)
    model = dinov3.load_backbone(backbone)
    head = load_vision_head(dinotxt, heads=dinov3.heads(model))
    prints = hashlib.sha256(fingerprint(wanted, folder).encode()).hexdigest()
    name = f"dinov3:{size}"
    return DinoFeatures(name, prints, model, head, tren.load_text_side(folder), pixels or tren.SIZE, device)
