"""`textregion[:BACKBONE[,short=N][,crop=N]]`: TextRegion over any ViT of open_clip, without training.

See files.py for the backbones and OPTIONS for the rest. Regions are given masks (see masks/loading.py), or clusters of
the model's value vectors. Clusters need only the CLIP model, and follow the borders of patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...records import Float32, RegionTokens
from ..base import EncoderInfo, MaskSource
from ..masks.fitting import checked_masks, fitted_masks
from ..masks.pooling import MaskPooling
from ..pixels import normalised
from ..spec import LoadOptions
from ..spelling import split_options
from ..templates import IMAGENET
from .family import Family
from .pixels import regions, short_side
from .spec import TEXTREGION
from .text import ClipText

if TYPE_CHECKING:
    from torch import Tensor

    from .files import Loaded
    from .textregion_pooling import Pooling

SIDE = 336
"""Side of a crop in pixels, for towers that take any size; the others have a fixed side (appendix A.2)."""
SHORT_SIDES = 2
"""Crops along the shorter side of a working picture: 672 pixels, as in the paper for most datasets. For COCO-Stuff it
uses 896 pixels and for Cityscapes 1344 (section 4.1), which is `short=896` here."""
OPTIONS = {"short": (32, 2016), "crop": (16, 2016)}
"""Minimum and maximum in pixels of the shorter side of a working picture, and of the side of a crop."""
LOW_SHARE_POOLED = 0.5
"""Weight of the whole picture's features for towers with a pooling head (appendix A.3); 1 for the others."""
MIN_COSINE, MIN_PATCHES, MAX_REGIONS = 0.85, 4, 64
"""Settings of `clusters.cluster`. Our choice, not calibrated."""


class TextRegion(ClipText, MaskPooling):
    """Both sides of `textregion`.

    Args:
        info: The facts about the model.
        loaded: The model.
        device: cuda, mps or cpu; None for the best that works.
        masks: Where regions come from; None for clusters of patches.
        pooling: Settings of the pooling; None for the defaults.
        short: Shorter side of a working picture in pixels; None for SHORT_SIDES crops.
        crop: Side of a crop in pixels; None for SIDE.

    Raises:
        UsageError: The tower does not take crops of this size.
    """

    def __init__(
        self,
        info: EncoderInfo,
        loaded: Loaded,
        device: str | None,
        *,
        masks: MaskSource | None = None,
        pooling: Pooling | None = None,
        short: int | None = None,
        crop: int | None = None,
    ) -> None:
        from ..device import pick_device
        from .model import ClipTower
        from .textregion_pooling import Pooling

        super().__init__(info, loaded, IMAGENET)
        self.device, self.dtype = pick_device(device)
        self.tower = ClipTower(loaded.model.visual.to(self.device))
        self.side = self.tower.crop_side(crop or SIDE)
        if crop is not None and self.side != crop:
            raise UsageError(f"crop={crop} does not fit this tower; it takes {self.side}")
        self.short = short or SHORT_SIDES * self.side
        self.masks, self.pooling = masks, pooling or Pooling()

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return short_side(width, height, self.short)

    def referring(self) -> TextRegion:
        """The encoder for `ground`: the same weights, and the last block's MLP after the pooling.

        The authors' code uses the MLP for referring expressions, and not for naming regions.
        """
        from dataclasses import replace

        other = copy(self)
        other.pooling = replace(self.pooling, mlp=True)
        other.whole_regions = self.masks is not None
        return other

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        if self.masks is None:
            return [self.regions(image, width, height) for image in images]
        return [self.under(image, width, height, self._fitted(image)) for image in images]

    def _fitted(self, image: NDArray[np.uint8]) -> Float32:
        assert self.masks is not None
        return fitted_masks(self.masks.of_picture(image), image.shape[1], image.shape[0])

    def regions(
        self, image: NDArray[np.uint8], width: int, height: int, masks: NDArray[np.generic] | None = None
    ) -> RegionTokens:
        """Tokens of the regions of one picture. Regions without a patch after the filter are left out.

        Args:
            image: The working picture `(h, w, 3)`.
            width: Width of the original, in whose pixels points and boxes are given.
            height: Height of the original.
            masks: Masks `(R, h, w)` of the regions; None for clusters of patches.

        Raises:
            ModelError: The masks have another size than the picture, or there are none.
        """
        import torch

        from ..masks.clusters import cluster, one_hot

        if masks is not None:
            return self.under(image, width, height, checked_masks(masks, image.shape[1], image.shape[0]))
        with torch.inference_mode():
            features = self.features(image)
            h, w, _ = features.shape
            found = features.cpu().numpy()
            labels = cluster(found, threshold=MIN_COSINE, min_patches=MIN_PATCHES, max_regions=MAX_REGIONS)
            small = torch.from_numpy(one_hot(labels)).flatten(1)
            tokens, kept = self.tokens(features, small.to(self.device))
        return regions(tokens.cpu().numpy(), small[kept.cpu()].reshape(-1, h, w).numpy(), width, height)

    def under(
        self, image: NDArray[np.uint8], width: int, height: int, masks: Float32, *, fine: bool = False
    ) -> RegionTokens:
        import torch

        from .textregion_pooling import patch_masks

        with torch.inference_mode():
            features = self.features(image)
            h, w, _ = features.shape
            small = patch_masks(torch.from_numpy(masks), (h, w))
            tokens, kept = self.tokens(features, small.to(self.device))
        rows = kept.cpu()
        kept_masks = masks[rows.numpy()] if fine else small[rows].reshape(-1, h, w).numpy()
        return regions(tokens.cpu().numpy(), kept_masks, width, height)

    def features(self, image: NDArray[np.uint8]) -> Tensor:
        """V_final of one picture `(h, w, 3)`: `(rows, columns, D)` float32 on the device.

        For a tower with a pooling head, the input of the head.
        """
        import torch

        from .textregion_pooling import crop_grid, crops, fuse_resolutions

        tower = self.tower
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            picture = normalised([image], self._loaded.mean, self._loaded.std, self.device)[0]
            grid = crop_grid(picture.shape[-2], picture.shape[-1], self.side)
            squares = crops(picture, self.side)
            if tower.pools:
                maps = tower.pool_inputs(squares)
            else:
                block, x = next(tower.last_blocks(squares, 1, "offset"))
                maps = block.values(block.normed(x))[:, 1:]
            n = round(maps.shape[1] ** 0.5)
            share = LOW_SHARE_POOLED if tower.pools else 1.0
            return fuse_resolutions(maps.float().reshape(len(maps), n, n, -1), *grid, low_share=share)

    def tokens(self, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Unit tokens `(n, dim)` of regions, and which of the regions these are, `(R,)` bool.

        features: `(h, w, D)` as from `features`. masks: `(R, h * w)` in [0, 1].
        """
        from .textregion_pooling import attention_pool, pool

        tower, flat = self.tower, features.flatten(0, 1)
        if tower.pools:
            return attention_pool(flat, masks, tower.pool_values, tower.pool_head, self.pooling.filter_tau)
        block = tower.blocks[-1]

        def project(summed: Tensor) -> Tensor:
            out = block.out(summed)
            return tower.head(block.mlp(out) if self.pooling.mlp else out)

        return pool(flat, masks, project, self.pooling)


def load(options: LoadOptions) -> TextRegion:
    """Load both sides.

    Raises:
        ModelError: As `files.load_model`.
        UsageError: The device does not work, or an option behind the backbone is wrong.
    """
    from ..device import pick_device

    pick_device(options.device)  # fails before the slow part
    info, loaded = FAMILY.load_model(options)
    sizes = split_options(options.backbone, OPTIONS)[1]
    return TextRegion(
        info, loaded, options.device, masks=options.masks, short=sizes.get("short"), crop=sizes.get("crop")
    )


def _check(loaded: Loaded, backbone: str) -> None:
    """Raise ModelError for a tower without patches, when only the text side is loaded, too."""
    from .model import ClipTower

    ClipTower(loaded.model.visual)


FAMILY = Family(spec=TEXTREGION, prompts=IMAGENET, options=OPTIONS, check=_check)
wanted, load_text, described, text_files = FAMILY.wanted, FAMILY.load_text, FAMILY.described, FAMILY.text_files
