"""`textregion`: TextRegion over any ViT of open_clip, no training. Spelled `textregion[:BACKBONE[,short=N][,crop=N]]`:
see files.py for the backbones and OPTIONS for the rest.

Regions are given masks (see masks/loading.py), or else clusters of the model's own value vectors. Clusters have the
boundaries of patches, and need nothing but the CLIP model.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...records import Float32, RegionTokens
from ..base import EncoderInfo, MaskSource
from ..hub import Wanted
from ..masks.fitting import checked_masks, fitted_masks
from ..masks.pooling import MaskPooling
from ..pixels import normalised
from ..spec import LoadOptions
from ..spelling import split_options
from ..templates import IMAGENET
from .pixels import regions, short_side
from .spec import TEXTREGION
from .text import CALIBRATION, ClipText, text_dim

if TYPE_CHECKING:
    from torch import Tensor

    from .files import Loaded
    from .textregion_pooling import Pooling

SIDE = 336
"""Pixels of a crop's side for towers that take any size; others have one of their own (appendix A.2)."""
SHORT_SIDES = 2
"""Crops along the shorter side of a working picture: 672 pixels, as the paper has for most sets. It has 896 for
COCO-Stuff and 1344 for Cityscapes (section 4.1): `short=896`."""
OPTIONS = {"short": (32, 2016), "crop": (16, 2016)}
"""Pixels of the shorter side of a working picture, and of a crop's side, from and to."""
LOW_SHARE_POOLED = 0.5
"""Weight of the whole picture's features for towers with a pooling head (appendix A.3); 1 for the others."""
CLUSTER_THRESHOLD, CLUSTER_LEAST, CLUSTER_MOST = 0.85, 4, 64
"""Clusters in place of masks: least cosine of values, least patches, most regions. Our choice, not calibrated."""


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `textregion:backbone`. Raises ModelError for one that is not there, UsageError for its options."""
    from .files import wanted as files

    return files(TEXTREGION.name, split_options(backbone, OPTIONS)[0])


class TextRegion(ClipText, MaskPooling):
    """Both sides. masks: where regions come from, None for clusters. pooling: see Pooling, None for its defaults. short
    and crop: as in OPTIONS, None for SHORT_SIDES crops and for SIDE.

    Raises UsageError for a crop of another size than the only one that the tower takes.
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
        """The same for the question which region a phrase refers to: with the last block's MLP, as the authors' code
        has it there and not for naming regions. It shares all weights."""
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
        """Tokens of one picture `(h, w, 3)` under `masks` `(R, h, w)`, by default its clusters; points and boxes in the
        pixels of a `width` x `height` picture. A region none of whose patches is left by the filter is left out.

        Raises ModelError for masks of another size, or when there are none.
        """
        import torch

        from ..masks.clusters import cluster, one_hot

        if masks is not None:
            return self.under(image, width, height, checked_masks(masks, image.shape[1], image.shape[0]))
        with torch.inference_mode():
            features = self.features(image)
            h, w, _ = features.shape
            found = features.cpu().numpy()
            labels = cluster(found, threshold=CLUSTER_THRESHOLD, least=CLUSTER_LEAST, most=CLUSTER_MOST)
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
        chosen = kept.cpu()
        shown = masks[chosen.numpy()] if fine else small[chosen].reshape(-1, h, w).numpy()
        return regions(tokens.cpu().numpy(), shown, width, height)

    def features(self, image: NDArray[np.uint8]) -> Tensor:
        """V_final of one picture `(h, w, 3)`: `(rows, columns, D)` float32 on the device; for a tower with a pooling
        head its input."""
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
        """features `(h, w, D)` of `features`, masks `(R, h * w)` in [0, 1] -> unit tokens `(R', dim)`, kept `(R,)`."""
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
    """Both sides. Raises ModelError as `files.load_model`, UsageError for the device and for the options behind the
    backbone."""
    from ..device import pick_device

    pick_device(options.device)  # before anything long is done
    info, loaded = _known(options)
    sizes = split_options(options.backbone, OPTIONS)[1]
    return TextRegion(
        info, loaded, options.device, masks=options.masks, short=sizes.get("short"), crop=sizes.get("crop")
    )


def load_text(options: LoadOptions) -> ClipText:
    """The text side alone, without the image tower. Raises ModelError as `load`."""
    info, loaded = _known(options)
    loaded.model.visual = None
    return ClipText(info, loaded, IMAGENET)


def _known(options: LoadOptions) -> tuple[EncoderInfo, Loaded]:
    from .files import load_model
    from .model import ClipTower

    backbone = options.backbone
    plain, _ = split_options(backbone, OPTIONS)
    loaded = load_model(TEXTREGION.name, plain, options.weights)
    ClipTower(loaded.model.visual)  # raises for a tower without patches, on the text side too
    dim = text_dim(loaded)
    # Tokens of another size of picture are others: the options belong to the name.
    return described(loaded.name + backbone[len(plain) :], loaded.weights, dim, dim), loaded


def described(name: str, weights: str, visual_dim: int, text_dim: int) -> EncoderInfo:
    """The facts about a model of this family."""
    return EncoderInfo(name, weights, visual_dim, text_dim, TEXTREGION.knows, True, CALIBRATION)


def text_files(options: LoadOptions) -> list[Path]:
    """The files that vectors of texts depend on. Raises ModelError if there is no such model."""
    from .files import model_files

    return model_files(TEXTREGION.name, split_options(options.backbone, OPTIONS)[0], options.weights)
