"""Frozen backbones: patch features, a head that maps them into a text space, and text vectors of that space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vidmem.errors import UsageError

if TYPE_CHECKING:
    from vidmem.encoders.tren.region_encoder import RegionEncoder


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Features of pictures. patches: `(B, D, h, w)`. cls `(B, D)`, registers `(B, R, D)`: for backbones whose head
    needs them."""

    patches: Tensor
    cls: Tensor | None = None
    registers: Tensor | None = None

    def one(self, picture: int) -> Seen:
        """The features of one picture, as a batch of 1."""
        at = slice(picture, picture + 1)
        cls, registers = (None if part is None else part[at] for part in (self.cls, self.registers))
        return Seen(self.patches[at], cls, registers)


class Backbone(Protocol):
    """A frozen backbone. name: as on the command line. weights: identifies the weights. dim, text_dim: widths of the
    features and of the text space. size: (width, height) of the pictures in pixels. grid: (h, w) patches of one."""

    name: str
    weights: str
    dim: int
    text_dim: int
    size: tuple[int, int]
    grid: tuple[int, int]

    def features(self, images: Tensor) -> Seen:
        """Return features of pictures `(B, 3, H, W)` float32 in [0, 1], without gradients."""

    def head(self, tokens: Tensor, seen: Seen) -> Tensor:
        """Map tokens `(B, N, dim)` of those pictures into the text space, each by itself: `(B, N, text_dim)`, without
        gradients."""

    def head_together(self, tokens: Tensor, seen: Seen, there: Tensor) -> Tensor:
        """Map tokens `(B, N, dim)` of those pictures into the text space, all of a picture together, in the place of
        its patches: `(B, N, text_dim)`, without gradients. there `(B, N)` bool: the others take no part, and what is
        returned for them has no meaning."""

    def patch_head(self, seen: Seen) -> Tensor:
        """Map all patches into the text space together, as the head was trained: `(B, h * w, text_dim)`, without
        gradients."""

    def text(self, names: Sequence[str]) -> Tensor:
        """Return text vectors `(C, text_dim)` float32 on the CPU, of any norm. Raises UsageError for a name with
        unknown words."""

    def copy_head(self, model: RegionEncoder) -> None:
        """Copy the weights of `head` to the text projector of `model`. Raises UsageError if their forms differ."""


HEAD = "tiny_head.safetensors"
"""File beside this module, made by `python -m lab.tiny.fit_head`."""


class TinyFeatures:
    """The detector of `tiny`, frozen: the finest level of its neck, each channel centred and scaled, and a linear head
    into the text space of `tiny`. The head knows COCO's 80 names; other names must be learned in training.

    The detector runs on the GPU if ONNX Runtime can use it. Raises ModelError if a file is missing or damaged.
    """

    name, size, grid = "tiny", (448, 256), (32, 56)

    def __init__(self, device: torch.device) -> None:
        from vidmem.encoders import load_text
        from vidmem.encoders.onnx import session
        from vidmem.encoders.shipped import REGIONS, shipped

        self._text = load_text("tiny")
        data, self.device = shipped(REGIONS[0]), device
        self._session = session(
            data,
            "the detector",
            device="cpu" if device.type == "cpu" else None,
            threads=torch.get_num_threads(),
            outputs=("neck8",),
        )
        mean, spread, self.weight, self.bias = (part.to(device) for part in _head(self._text.info.text_dim))
        self.mean, self.spread = mean.view(-1, 1, 1), spread.view(-1, 1, 1)
        self.text_dim, self.dim = self.weight.shape
        files = (data, _head_file().read_bytes(), shipped("tiny-text.safetensors"), shipped("tiny-vocabulary.txt"))
        self.weights = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in files)).hexdigest()

    @torch.no_grad()
    def features(self, images: Tensor) -> Seen:
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        (neck,) = self._session.run(["neck8"], {"image": pixels})
        return Seen((torch.from_numpy(neck).to(self.device) - self.mean) / self.spread)

    @torch.no_grad()
    def head(self, tokens: Tensor, seen: Seen) -> Tensor:
        return F.linear(tokens, self.weight, self.bias)

    def head_together(self, tokens: Tensor, seen: Seen, there: Tensor) -> Tensor:
        return self.head(tokens, seen)

    def patch_head(self, seen: Seen) -> Tensor:
        return self.head(seen.patches.flatten(2).transpose(1, 2), seen)

    def text(self, names: Sequence[str]) -> Tensor:
        return torch.from_numpy(self._text.encode_text(names))

    @torch.no_grad()
    def copy_head(self, model: RegionEncoder) -> None:
        """Since gelu(x) - gelu(-x) = x, two hidden units per dimension make the projector a linear map; the remaining
        units start with output weights of 0."""
        first, second, count = model.text1, model.text2, self.text_dim
        if first.in_features != self.dim or second.out_features != count or first.out_features < 2 * count:
            shape = f"{first.in_features} x {first.out_features} x {second.out_features}"
            raise UsageError(
                f"the head of `tiny` needs a text projector of {self.dim} x {2 * count} or more x {count}, this one is "
                f"{shape}; choose mlp_dim to fit, or start the text projector at random"
            )
        eye, bias = torch.eye(count), self.bias.cpu()
        first.weight[: 2 * count] = torch.cat([self.weight, -self.weight]).cpu()
        first.bias[: 2 * count] = torch.cat([bias, -bias])
        second.weight.zero_()
        second.weight[:, : 2 * count] = torch.cat([eye, -eye], 1)
        second.bias.zero_()


def _head_file() -> Path:
    return Path(__file__).with_name(HEAD)


def _head(text_dim: int) -> list[Tensor]:
    """Read mean, spread, weight and bias."""
    from vidmem.encoders.tensor_file import fail, read_tensors

    path, what = _head_file(), "the head of the backbone `tiny`"
    found = read_tensors(path, what)
    dim = found["mean"].shape[0] if "mean" in found else 0
    wanted = {"mean": (dim,), "spread": (dim,), "weight": (text_dim, dim), "bias": (text_dim,)}
    for name, shape in wanted.items():
        if name not in found or tuple(found[name].shape) != shape or not bool(found[name].isfinite().all()):
            fail(what, f"{name} is missing or of another form; reinstall vidmem", path)
    return [found[name].float() for name in wanted]


def _tiny(size: str, weights: Path | None, device: torch.device, pixels: int) -> Backbone:
    if size or weights is not None or pixels:
        raise UsageError("`tiny` has one size and its weights with it; leave `weights` and `pixels` out")
    return TinyFeatures(device)


def _dinov3(size: str, weights: Path | None, device: torch.device, pixels: int) -> Backbone:
    from .dinov3 import load

    return load(size, weights, device, pixels)


BACKBONES: dict[str, Callable[[str, Path | None, torch.device, int], Backbone]] = {"tiny": _tiny, "dinov3": _dinov3}
"""Loaders by name. Arguments: size ("" for the default), folder of weights, device, side of the pictures in pixels (0
for the default)."""


def load_backbone(name: str, weights: Path | None, device: torch.device, pixels: int = 0) -> Backbone:
    """Load the backbone `name` or `name:size`. Raises UsageError if there is none, ModelError if its weights are
    missing or damaged."""
    kind, _, size = name.partition(":")
    if kind not in BACKBONES:
        raise UsageError(f"no backbone {name!r}; there are: {', '.join(BACKBONES)}")
    return BACKBONES[kind](size, weights, device, pixels)
