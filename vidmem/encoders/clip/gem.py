"""`gem[:BACKBONE[,depth=N][,iterations=N][,pool=N]]`: GEM's self-self attention over CLIP (arXiv 2312.00878), with
clusters of its patches as regions.

It needs no training and no segmenter, and one forward pass per picture. See files.py for the backbones and OPTIONS for
the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, UsageError
from ...records import Float32
from ..base import EncoderInfo, MaskSource
from ..pixels import normalised
from ..spec import LoadOptions
from ..spelling import split_options
from ..templates import PLAIN
from .family import Family
from .patch_regions import PatchRegions
from .spec import GEM

if TYPE_CHECKING:
    from .files import Loaded

SIDE = 448
"""Side of the working picture in pixels, rounded down to whole patches; the picture is squashed to a square. Towers of
timm (EVA) have a fixed side."""
OPTIONS = {"depth": (2, 41), "iterations": (0, 9), "pool": (1, 8)}
"""Minimum and maximum of the options: `depth` and `iterations` of gem_attention.gem_tokens, and `pool`, the side in
patches of the means that replace exact attention in the iterations. By default 7, 1 and 1, as in the authors' code."""


class Gem(PatchRegions):
    """Both sides of `gem`.

    Args:
        info: The facts about the model.
        loaded: The model.
        device: cuda, mps or cpu; None for the best that works.
        masks: Where regions come from; None for clusters of patches.
        depth: See OPTIONS; None for the authors' 7, or all blocks of a tower that has fewer.
        iterations: See OPTIONS.
        pool: See OPTIONS.

    Raises:
        UsageError: The tower has fewer blocks than `depth` needs.
    """

    def __init__(
        self,
        info: EncoderInfo,
        loaded: Loaded,
        device: str | None,
        *,
        masks: MaskSource | None = None,
        depth: int | None = None,
        iterations: int = 1,
        pool: int = 1,
    ) -> None:
        from ..device import pick_device
        from .gem_attention import DEPTH
        from .model import ClipTower

        super().__init__(info, loaded, PLAIN)
        self.device, self.dtype = pick_device(device)
        self.tower = ClipTower(loaded.model.visual.to(self.device))
        self.side = self.tower.crop_side(SIDE)
        most = len(self.tower.blocks) + 1
        if depth is not None and depth > most:
            raise UsageError(f"depth={depth} does not fit this tower, which has {most - 1} blocks; give at most {most}")
        self.depth = depth or min(DEPTH, most)
        self.masks, self.iterations, self.pool = masks, iterations, pool

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return self.side, self.side

    def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
        """GEM's patch features as unit vectors in the space of texts, `(B, rows, columns, Dt)` float32.

        images: Pictures `(h, w, 3)` of one size, in whole patches.
        """
        import torch
        from torch.nn import functional as F

        from .gem_attention import gem_tokens

        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            pixels = normalised(images, self._loaded.mean, self._loaded.std, self.device)
            tokens = gem_tokens(self.tower, pixels, depth=self.depth, iterations=self.iterations, pool=self.pool)[:, 1:]
        rows = images[0].shape[0] // self.tower.patch
        unit: Float32 = F.normalize(tokens.float(), dim=-1).cpu().numpy()
        return unit.reshape(len(unit), rows, -1, unit.shape[-1])


def load(options: LoadOptions) -> Gem:
    """Load both sides.

    Raises:
        ModelError: As `files.load_model`.
        UsageError: The device does not work, or an option behind the backbone is wrong.
    """
    from ..device import pick_device

    pick_device(options.device)  # fails before the slow part
    info, loaded = FAMILY.load_model(options)
    given = split_options(options.backbone, OPTIONS)[1]
    return Gem(
        info,
        loaded,
        options.device,
        masks=options.masks,
        depth=given.get("depth"),
        iterations=given.get("iterations", 1),
        pool=given.get("pool", 1),
    )


def _check(loaded: Loaded, backbone: str) -> None:
    """Raise ModelError for a tower that GEM cannot use."""
    from .model import ClipTower

    tower = ClipTower(loaded.model.visual)
    remedy = f"use textregion:{backbone}, or gem with a backbone such as ViT-B-16/openai"
    if not tower.blocks:
        raise ModelError(f"GEM needs a vision transformer with a class token, and {backbone} has none; {remedy}")
    if tower.blocks[-1].post_norm:
        raise ModelError(
            f"GEM takes its temperature from the norm before attention, and {backbone} has its norm after it; {remedy}"
        )


FAMILY = Family(spec=GEM, prompts=PLAIN, options=OPTIONS, check=_check)
wanted, load_text, described, text_files = FAMILY.wanted, FAMILY.load_text, FAMILY.described, FAMILY.text_files
