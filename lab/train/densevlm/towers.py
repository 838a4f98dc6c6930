"""The student and the teacher: image towers and how they see the regions of a batch."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vidmem.encoders.clip.dense import dense_features, roi_align
from vidmem.encoders.clip.files import Loaded, load_model
from vidmem.encoders.clip.model import ClipTower
from vidmem.errors import ModelError, UsageError

from .data import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Seer:
    """An image tower with the names in its own space of texts.

    Attributes:
        tower: The image tower.
        texts: `(C, D)` float32 vectors of the names, on the tower's device.
        side: Side in pixels of the squares that it takes.
        mean: Mean of the RGB channels in [0, 1] that it expects.
        std: Their standard deviation.
    """

    tower: ClipTower
    texts: Tensor
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def pixels(self, batch: Batch) -> Tensor:
        """The pictures `(B, 3, side, side)` float32, normalised."""
        images = batch.images
        mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (self.mean, self.std))
        pixels = (images.float() / 255 - mean) / std
        if self.side != images.shape[-1]:
            pixels = F.interpolate(pixels, (self.side, self.side), mode="bicubic", antialias=True)
        return pixels

    def regions(self, batch: Batch) -> Tensor:
        """The features `(N, D)` float32 of the boxes of a batch: RoIAlign of dense features. Differentiable."""
        features = dense_features(self.tower, self.pixels(batch)).float()
        with torch.autocast(features.device.type, enabled=False):
            return roi_align(features, batch.boxes_on(*features.shape[-2:]))


def open_model(role: str, backbone: str, weights: str | os.PathLike[str] | None = None) -> tuple[Loaded, ClipTower]:
    """Load a model of open_clip for a role, "student" or "teacher".

    Args:
        role: What the model is, for messages.
        backbone: Its spelling: NAME/TAG, local-dir:FOLDER or hf-hub:ORG/REPO.
        weights: Folder of weights; see `vidmem.encoders.hub.weights_folder`.

    Raises:
        ModelError: Files are missing or damaged, or the tower has no patches or a pooling head.
    """
    loaded = load_model("clip", backbone, weights)
    try:
        tower = ClipTower(loaded.model.visual)
    except ModelError as error:
        raise ModelError(f"the {role} cannot be used: {error}: {backbone}") from None
    if tower.pools:
        raise ModelError(
            f"the {role} has a pooling head and no class token, so that its patches are not in the space of texts; "
            f"choose a CLIP or EVA-CLIP backbone: {backbone}"
        )
    return loaded, tower


def side_of(role: str, tower: ClipTower, size: int, wanted: int = 0) -> int:
    """The side in pixels of the squares that a tower takes.

    Args:
        role: What the tower is, for messages.
        tower: The tower.
        size: Side of the squares that are read.
        wanted: Side that the user wants; 0 for the whole number of patches nearest to `size`.

    Raises:
        UsageError: `wanted` is not a whole number of patches, or the tower takes pictures of its own size alone.
    """
    patch = tower.patch
    side = wanted or max(1, round(size / patch)) * patch
    if side % patch:
        fits = [n * patch for n in (side // patch, side // patch + 1) if n]
        raise UsageError(
            f"a side of {side} pixels is no whole number of the {role}'s patches of {patch}; choose "
            f"{' or '.join(map(str, fits))}"
        )
    if not tower.stretchable and side != tower.side:
        if wanted:
            raise UsageError(f"the {role} takes pictures of {tower.side} pixels only; got {side}")
        side = tower.side
    return side
