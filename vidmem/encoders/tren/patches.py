"""`patches:tren[:SIZE]`: patch tokens of the frozen backbone without regions, T-REN's baseline.

Each patch is a region of one cell. Its visual token is the DINOv3 feature, and its text token comes from dino.txt's
vision head. Its presets merge nothing, for comparisons with `tren`: `patches` keeps every patch of every frame, and
`patches-tracked` tracks patches as if they were regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...records import Float32, RegionTokens
from ..base import Encoder, EncoderInfo
from ..hub import Wanted, fingerprint, locate, weights_folder
from ..pixels import normalised
from ..spec import LoadOptions
from . import encoder as tren
from .spec import PATCHES

if TYPE_CHECKING:
    from torch import nn

    from .dinotxt import VisionHead


def size_of(backbone: str) -> str:
    """The size in `tren` or `tren:SIZE`; the default for "". Raises ModelError if there is no such size."""
    name, _, size = backbone.partition(":")
    if name not in ("", "tren"):
        raise ModelError(f"no patches of {name!r}; use patches:tren")
    return tren.size_of(size)


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `patches:backbone`. Raises ModelError if there is no such size."""
    return [tren.backbone_file(size_of(backbone)), tren.TEXT, tren.VOCABULARY]


class Patches(tren.TrenText, Encoder):
    """Both sides of `patches`."""

    def __init__(
        self, info: EncoderInfo, text: tren.TextSide, backbone: nn.Module, head: VisionHead, device: str | None
    ) -> None:
        from ..device import pick_device
        from .dinov3 import to_device

        super().__init__(info, text)
        self.device, self.dtype = pick_device(device)
        self.backbone = to_device(backbone, self.device, self.dtype)
        self.head = head.to(self.device, self.dtype)

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return tren.SIZE, tren.SIZE

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        import torch

        from .dinov3 import features

        with torch.inference_mode():
            found = features(self.backbone, normalised(images, tren.MEAN, tren.STD, self.device))
            parts = found.patches, self.head(found)[1]
            visual, text = (part.flatten(2).transpose(1, 2).float().cpu().numpy() for part in parts)
        h, w = found.patches.shape[-2:]
        boxes = _cells(h, w, width, height)
        points = np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)
        masks = np.eye(h * w, dtype=np.float32).reshape(h * w, h, w)
        area = np.full(h * w, 1 / (h * w), np.float32)
        return [RegionTokens(v, t, masks, points, boxes, area) for v, t in zip(visual, text, strict=True)]


def _cells(h: int, w: int, width: int, height: int) -> Float32:
    """Boxes `(h * w, 4)` of the cells in pixels of a `width` x `height` picture, rows first."""
    y, x = (n.reshape(-1) for n in np.mgrid[:h, :w])
    scale = np.array([width / w, height / h] * 2, np.float32)
    return np.asarray(np.stack([x, y, x + 1, y + 1], axis=1) * scale, np.float32)


def load(options: LoadOptions) -> Patches:
    """Load both sides. Raises ModelError and UsageError as `tren.load`."""
    from ..device import pick_device
    from .dinotxt import load_vision_head
    from .dinov3 import heads, load_backbone, width

    pick_device(options.device)
    size, folder = size_of(options.backbone), weights_folder(options.weights)
    files = locate(tren.backbone_file(size), folder), locate(tren.TEXT, folder)
    text, info = _load_text(size, folder)
    model = load_backbone(files[0])
    if width(model) != info.visual_dim:
        raise ModelError(
            f"dino.txt's vision head is for features of width {info.visual_dim}, the backbone gives "
            f"{width(model)}; only {tren.DEFAULT_SIZE} has a published one: {files[1]}"
        )
    return Patches(info, text, model, load_vision_head(files[1], heads=heads(model)), options.device)


def load_text(options: LoadOptions) -> tren.TrenText:
    """Load the text side. Raises ModelError as `load`."""
    text, info = _load_text(size_of(options.backbone), weights_folder(options.weights))
    return tren.TrenText(info, text)


def _load_text(size: str, folder: Path) -> tuple[tren.TextSide, EncoderInfo]:
    for each in (tren.TEXT, tren.VOCABULARY):
        locate(each, folder)  # fails before the slow part
    weights = fingerprint(wanted(f"tren:{size}"), folder)
    text = tren.load_text_side(folder)
    name = "patches:tren" if size == tren.DEFAULT_SIZE else f"patches:tren:{size}"
    # Each half of the text embedding is as wide as the features that the vision head was trained on.
    return text, EncoderInfo(name, weights, text.dim, text.dim, PATCHES.knows, True, tren.CALIBRATION)
