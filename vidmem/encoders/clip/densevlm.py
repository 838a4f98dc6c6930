"""`densevlm[:BACKBONE[,side=N]]`: dense features of CLIP models that were adapted to them (arXiv 2412.06244).

See dense.py for the features. Backbones are the published file, folders that `python -m lab.train densevlm` writes
(`local-dir:FOLDER`), or any vision transformer of files.py, which then is not adapted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...records import Float32
from ..base import EncoderInfo, MaskSource
from ..pixels import normalised
from ..spec import LoadOptions
from ..spelling import split_options
from ..templates import PLAIN
from .family import Family
from .patch_regions import PatchRegions
from .spec import DENSEVLM

if TYPE_CHECKING:
    from .files import Loaded

PUBLISHED = "EVA02-B-16/densevlm"
"""The authors' weights (Table 1): EVA02-CLIP's ViT-B/16, adapted on COCO at 512 pixels."""
SIDE = 512
"""Longest side of a working picture in pixels (section 4.1)."""
OPTIONS = {"side": (32, 2016)}
"""Minimum and maximum in pixels of the longest side. The paper's Table 10 has 224 to 1024."""


class DenseVlm(PatchRegions):
    """Both sides of `densevlm`.

    A picture keeps its shape. It is padded with black at the right and at the bottom to a square before the tower sees
    it, as in the paper's training; the padding's patches are dropped. Towers of a fixed size take squashed pictures.

    Args:
        info: The facts about the model.
        loaded: The model.
        device: cuda, mps or cpu; None for the best that works.
        masks: Where regions come from; None for clusters of patches.
        side: Longest side of a working picture in pixels, rounded down to whole patches; None for SIDE.
    """

    def __init__(
        self,
        info: EncoderInfo,
        loaded: Loaded,
        device: str | None,
        *,
        masks: MaskSource | None = None,
        side: int | None = None,
    ) -> None:
        from ..device import pick_device
        from .model import ClipTower

        super().__init__(info, loaded, PLAIN)
        self.device, self.dtype = pick_device(device)
        self.tower = tower = ClipTower(loaded.model.visual.to(self.device))
        self.side = max((side or SIDE) // tower.patch, 1) * tower.patch if tower.stretchable else tower.side
        self.masks = masks

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        if not self.tower.stretchable:
            return self.side, self.side
        patch, scale = self.tower.patch, self.side / max(width, height)
        w, h = (min(max(round(n * scale / patch), 1) * patch, self.side) for n in (width, height))
        return w, h

    def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
        import torch

        from .dense import dense_features

        height, width = images[0].shape[:2]
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            square = [padded(image) if self.tower.stretchable else image for image in images]
            pixels = normalised(square, self._loaded.mean, self._loaded.std, self.device)
            features = dense_features(self.tower, pixels)
        rows, columns = height // self.tower.patch, width // self.tower.patch
        own = features[:, :, :rows, :columns].permute(0, 2, 3, 1).float().cpu().numpy()
        return np.ascontiguousarray(own / np.maximum(np.linalg.norm(own, axis=-1, keepdims=True), 1e-12))


def padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture `(h, w, 3)` with black at its right or at its bottom, so that it is a square."""
    height, width = image.shape[:2]
    side = max(height, width)
    return np.pad(image, ((0, side - height), (0, side - width), (0, 0)))


def load(options: LoadOptions) -> DenseVlm:
    """Load both sides.

    Raises:
        ModelError: As `files.load_model`, or the model has no patches in the space of texts.
        UsageError: The device does not work, or an option behind the backbone is wrong.
    """
    from ..device import pick_device

    pick_device(options.device)  # fails before the slow part
    info, loaded = FAMILY.load_model(options)
    side = split_options(options.backbone, OPTIONS)[1].get("side")
    return DenseVlm(info, loaded, options.device, masks=options.masks, side=side)


def _check(loaded: Loaded, backbone: str) -> None:
    """Raise ModelError for a tower without dense features."""
    from .model import ClipTower

    if not ClipTower(loaded.model.visual).blocks:
        raise ModelError(
            f"dense features need a vision transformer with a class token, and {backbone} has a pooling head; use "
            f"textregion:{backbone}, or densevlm with a backbone such as ViT-B-16/openai"
        )


FAMILY = Family(spec=DENSEVLM, prompts=PLAIN, default=PUBLISHED, options=OPTIONS, check=_check)
wanted, load_text, described, text_files = FAMILY.wanted, FAMILY.load_text, FAMILY.described, FAMILY.text_files
