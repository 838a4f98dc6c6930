"""Regions from the features of patches: clusters of similar patches, or given masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...records import Float32, RegionTokens
from ..masks.fitting import fitted_masks
from ..masks.pooling import MaskPooling
from .pixels import regions
from .text import ClipText

MIN_COSINE, MIN_PATCHES, MAX_REGIONS = 0.9, 4, 48
"""Settings of `clusters.cluster`. Our choice, not calibrated."""


class PatchRegions(ClipText, MaskPooling):
    """Base of encoders over open_clip whose patches are in the space of texts (`gem`, `densevlm`).

    A region's token is the mean of the patches under its mask, as a unit vector.
    """

    has_patches = True

    @abstractmethod
    def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
        """Patch features as unit vectors in the space of texts, `(B, rows, columns, Dt)` float32.

        images: Pictures `(h, w, 3)` of one size, in whole patches.
        """

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        from ..masks.clusters import cluster, one_hot

        if self.masks is not None:
            fitted = [fitted_masks(self.masks.of_picture(i), i.shape[1], i.shape[0]) for i in images]
            return [self.under(i, width, height, masks) for i, masks in zip(images, fitted, strict=True)]
        found = []
        for patches in self.patches(images):
            labels = cluster(patches, threshold=MIN_COSINE, min_patches=MIN_PATCHES, max_regions=MAX_REGIONS)
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
        kept = small.any(axis=(1, 2))  # a thin mask may miss the centres of all patches
        return regions(_pooled(patches, small[kept]), masks[kept] if fine else small[kept], width, height)


def _pooled(patches: Float32, masks: Float32) -> Float32:
    """Unit vectors `(n, D)` of the means of the patches `(h, w, D)`, weighted by masks `(n, h, w)`."""
    flat = patches.reshape(-1, patches.shape[-1])
    sums = masks.reshape(len(masks), len(flat)) @ flat
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)
