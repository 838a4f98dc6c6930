"""`gem`: GEM's self-self attention over CLIP (arXiv 2312.00878), regions by clusters of its patches. No training and no
segmenter; one forward pass per picture. Spelled `gem[:BACKBONE]`, see files.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...records import Float32, RegionTokens
from ..base import EncoderInfo, MaskSource
from ..hub import Wanted
from ..masks.fitting import fitted_masks
from ..masks.pooling import MaskPooling
from ..pixels import normalised
from ..spec import LoadOptions
from ..templates import PLAIN
from .pixels import regions
from .spec import GEM
from .text import CALIBRATION, ClipText, text_dim

if TYPE_CHECKING:
    from .files import Loaded

SIDE = 448
"""Side of the working picture in pixels, the ratio not kept; in whole patches. Towers of timm (EVA) have one of their
own."""
CLUSTER_THRESHOLD, CLUSTER_LEAST, CLUSTER_MOST = 0.9, 4, 48
"""Least cosine of patches, least patches, most regions. Our choice, not calibrated."""


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `gem:backbone`. Raises ModelError for one that is not there."""
    from .files import wanted as files

    return files(GEM.name, backbone)


class Gem(ClipText, MaskPooling):
    """Both sides. masks: where regions come from, None for clusters."""

    has_patches = True

    def __init__(
        self, info: EncoderInfo, loaded: Loaded, device: str | None, *, masks: MaskSource | None = None
    ) -> None:
        from ..device import pick_device
        from .gem_attention import BLOCKS
        from .model import ClipTower

        super().__init__(info, loaded, PLAIN)
        self.device, self.dtype = pick_device(device)
        self.tower = ClipTower(loaded.model.visual.to(self.device))
        self.side = self.tower.crop_side(SIDE)
        self.blocks = min(BLOCKS, len(self.tower.blocks))
        self.masks = masks

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return self.side, self.side

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        from ..masks.clusters import cluster, one_hot

        if self.masks is not None:
            given = [fitted_masks(self.masks.of_picture(i), i.shape[1], i.shape[0]) for i in images]
            return [self.under(i, width, height, masks) for i, masks in zip(images, given, strict=True)]
        found = []
        for patches in self.patches(images):
            labels = cluster(patches, threshold=CLUSTER_THRESHOLD, least=CLUSTER_LEAST, most=CLUSTER_MOST)
            masks = one_hot(labels)
            found.append(regions(_pooled(patches, masks), masks, width, height))
        return found

    def under(
        self, image: NDArray[np.uint8], width: int, height: int, masks: Float32, *, fine: bool = False
    ) -> RegionTokens:
        import torch

        from .textregion_pooling import patch_masks

        (patches,) = self.patches([image])
        grid = patches.shape[0], patches.shape[1]
        small = patch_masks(torch.from_numpy(masks), grid).reshape(-1, *grid).numpy()
        kept = small.any(axis=(1, 2))  # a mask between the middles of patches holds none
        return regions(_pooled(patches, small[kept]), masks[kept] if fine else small[kept], width, height)

    def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
        """GEM's patch features, unit vectors in the space of texts: pictures `(h, w, 3)` of one size, in whole patches
        -> `(B, rows, columns, Dt)` float32."""
        import torch
        from torch.nn import functional as F

        from .gem_attention import gem_tokens

        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            pixels = normalised(images, self._loaded.mean, self._loaded.std, self.device)
            tokens = gem_tokens(self.tower, pixels, blocks=self.blocks)[:, 1:]
        rows = images[0].shape[0] // self.tower.patch
        unit: Float32 = F.normalize(tokens.float(), dim=-1).cpu().numpy()
        return unit.reshape(len(unit), rows, -1, unit.shape[-1])


def _pooled(patches: Float32, masks: Float32) -> Float32:
    """Unit means `(n, D)` of the patches `(h, w, D)`, weighted by masks `(n, h, w)`."""
    flat = patches.reshape(-1, patches.shape[-1])
    sums = masks.reshape(len(masks), len(flat)) @ flat
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)


def load(options: LoadOptions) -> Gem:
    """Both sides. Raises ModelError as `files.load_model`, UsageError for the device."""
    from ..device import pick_device

    pick_device(options.device)  # before anything long is done
    info, loaded = _known(options)
    return Gem(info, loaded, options.device, masks=options.masks)


def load_text(options: LoadOptions) -> ClipText:
    """The text side alone, without the image tower. Raises ModelError as `load`."""
    info, loaded = _known(options)
    loaded.model.visual = None
    return ClipText(info, loaded, PLAIN)


def _known(options: LoadOptions) -> tuple[EncoderInfo, Loaded]:
    from .files import load_model
    from .model import ClipTower

    loaded = load_model(GEM.name, options.backbone, options.weights)
    tower, backbone = ClipTower(loaded.model.visual), options.backbone
    other = f"use textregion:{backbone}, or gem with a backbone such as ViT-B-16/openai"
    if not tower.blocks:
        raise ModelError(f"GEM is for vision transformers of CLIP with a class token; {backbone} has none: {other}")
    if tower.blocks[-1].post_norm:
        raise ModelError(
            f"GEM takes its temperature from the norm before attention, which {backbone} has behind it: {other}"
        )
    dim = text_dim(loaded)
    return described(loaded.name, loaded.weights, dim, dim), loaded


def described(name: str, weights: str, visual_dim: int, text_dim: int) -> EncoderInfo:
    """The facts about a model of this family."""
    return EncoderInfo(name, weights, visual_dim, text_dim, GEM.knows, True, CALIBRATION)


def text_files(options: LoadOptions) -> list[Path]:
    """The files that vectors of texts depend on. Raises ModelError if there is no such model."""
    from .files import model_files

    return model_files(GEM.name, options.backbone, options.weights)
