"""Frozen backbones to train on: patch features, a head that maps them into a text space, and that space's texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ...errors import UsageError

if TYPE_CHECKING:
    from ...encoders.region_encoder import RegionEncoder


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a backbone made of pictures. patches `(B, D, h, w)`; cls `(B, D)` and registers `(B, R, D)`, where it has
    such tokens and its head wants them."""

    patches: Tensor
    cls: Tensor | None = None
    registers: Tensor | None = None

    def one(self, picture: int) -> Seen:
        """Of one picture, as a batch of 1."""
        at = slice(picture, picture + 1)
        cls, registers = (None if part is None else part[at] for part in (self.cls, self.registers))
        return Seen(self.patches[at], cls, registers)


class Backbone(Protocol):
    """name: as on the command line. weights: tells two sets of weights apart. dim, text_dim: widths of the features
    and of the text space. size: (width, height) of the pictures in pixels. grid: (h, w) patches of one."""

    name: str
    weights: str
    dim: int
    text_dim: int
    size: tuple[int, int]
    grid: tuple[int, int]

    def features(self, images: Tensor) -> Seen:
        """Of pictures `(B, 3, H, W)` float32 in [0, 1], without gradients."""

    def head(self, tokens: Tensor, seen: Seen) -> Tensor:
        """Tokens `(B, N, dim)` of those pictures, each by itself, -> `(B, N, text_dim)`, without gradients: the
        backbone's own way into the text space."""

    def patch_head(self, seen: Seen) -> Tensor:
        """All patches in the text space, `(B, h * w, text_dim)`, without gradients, as the head was trained on them."""

    def text(self, names: Sequence[str]) -> Tensor:
        """`(C, text_dim)` float32 on the CPU, any norm. Raises UsageError for a name that it cannot read."""

    def copy_head(self, model: RegionEncoder) -> None:
        """Give the text projector of `model` the weights of `head`. Raises UsageError when they have another form."""


class TinyFeatures:
    """The backbone of `tiny` with the shipped weights (vidmem.encoders.mobile_net); its head is the text
    projector of `tiny`."""

    name, size, grid = "tiny", (448, 256), (32, 56)

    def __init__(self, device: torch.device) -> None:
        from ...encoders import tiny

        self.net = tiny._load_net().to(device)
        self._text = tiny.load_text()
        self.weights = self._text.info.weights
        self.dim, self.text_dim = tiny.card()["visual_dim"], tiny.card()["text_dim"]

    @torch.no_grad()
    def features(self, images: Tensor) -> Seen:
        patches: Tensor = self.net.backbone(images.contiguous(memory_format=torch.channels_last))[0]
        return Seen(patches.contiguous())

    @torch.no_grad()
    def head(self, tokens: Tensor, seen: Seen) -> Tensor:
        return self.net.regions.project(tokens)

    def patch_head(self, seen: Seen) -> Tensor:
        return self.head(seen.patches.flatten(2).transpose(1, 2), seen)

    def text(self, names: Sequence[str]) -> Tensor:
        return torch.from_numpy(self._text.encode_text(names))

    def copy_head(self, model: RegionEncoder) -> None:
        for ours, theirs in ((model.text1, self.net.regions.text1), (model.text2, self.net.regions.text2)):
            if ours.weight.shape != theirs.weight.shape:
                raise UsageError(
                    f"the head of `tiny` is {tuple(theirs.weight.shape)} where the text projector is "
                    f"{tuple(ours.weight.shape)}; choose mlp_dim to fit, or start the text projector at random"
                )
            ours.load_state_dict(theirs.state_dict())


def _tiny(size: str, weights: Path | None, device: torch.device, pixels: int) -> Backbone:
    if size or weights is not None or pixels:
        raise UsageError("`tiny` has one size and its weights with it; leave --weights and --pixels out")
    return TinyFeatures(device)


def _dinov3(size: str, weights: Path | None, device: torch.device, pixels: int) -> Backbone:
    from .dinov3 import load

    return load(size, weights, device, pixels)


BACKBONES: dict[str, Callable[[str, Path | None, torch.device, int], Backbone]] = {"tiny": _tiny, "dinov3": _dinov3}
"""Name -> from a size ("" for the usual), a folder of weights, a device, and the side of the pictures in pixels (0 for
the usual)."""


def load_backbone(name: str, weights: Path | None, device: torch.device, pixels: int = 0) -> Backbone:
    """The backbone spelled `name` or `name:size`. Raises UsageError when there is none, ModelError for its weights."""
    kind, _, size = name.partition(":")
    if kind not in BACKBONES:
        raise UsageError(f"no backbone {name!r}; there are: {', '.join(BACKBONES)}")
    return BACKBONES[kind](size, weights, device, pixels)
