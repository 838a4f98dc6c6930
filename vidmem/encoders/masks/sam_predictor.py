"""SAM2 asked with points and a mask: SAM2ImagePredictor's interface on `transformers`' model, for export/refine.py.

The weights and their spelling are those of `masks` (see sam2.py).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...records import Float32
from .sam2 import Sam2Masks, load

LOW = 256
"""Pixels a side of the logits that come back and of a mask prompt, as in SAM2's own."""


def load_predictor(
    spec: str, device: str | None = None, weights: str | os.PathLike[str] | None = None
) -> Sam2Predictor:
    """spec: sam2, sam2:SIZE or sam2:local-dir:FOLDER. Raises UsageError for another, ModelError as `sam2.load`."""
    name, _, size = spec.partition(":")
    if name != "sam2":
        raise UsageError(f"`refine` is sam2 or sam2:SIZE, with the sizes of `masks`; got {spec!r}")
    return Sam2Predictor(load(size, device, weights))


class Sam2Predictor:
    """An ImagePredictor of vidmem/export/refine.py."""

    def __init__(self, source: Sam2Masks) -> None:
        self.source = source
        self._maps: list[Any] = []
        self._size = (0, 0)

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """The picture `(H, W, 3)` RGB that the next prompts are about."""
        import torch

        self._size = (image.shape[0], image.shape[1])
        with torch.inference_mode(), self.source.autocast():
            self._maps = self.source.model.get_image_embeddings(self.source.pixels(image))

    def predict(
        self,
        point_coords: NDArray[np.float32],
        point_labels: NDArray[np.int32],
        mask_input: Float32,
        multimask_output: bool,
    ) -> tuple[NDArray[np.bool_], Float32, Float32]:
        """Masks `(n, H, W)`, the IoU expected of each `(n,)` and their logits `(n, LOW, LOW)`; n is 3 with
        `multimask_output`, else 1. point_coords: x, y in pixels `(p, 2)`; mask_input: logits `(1, LOW, LOW)`."""
        import torch
        from torch.nn import functional as F

        model, device = self.source.model, self.source.device
        scale = np.array([self.source.side / self._size[1], self.source.side / self._size[0]], np.float32)
        points = torch.from_numpy(point_coords * scale)[None, None].to(device)
        labels = torch.from_numpy(point_labels.astype(np.int64))[None, None].to(device)
        mask = torch.from_numpy(np.asarray(mask_input, np.float32))[None].to(device)
        with torch.inference_mode(), self.source.autocast():
            wanted = model.prompt_encoder.mask_input_size
            if mask.shape[-2:] != wanted:
                mask = F.interpolate(mask, wanted, mode="bilinear", align_corners=False, antialias=True)
            sparse, dense = model.prompt_encoder(points, labels, None, mask)
            low, quality, *_ = model.mask_decoder(
                image_embeddings=self._maps[-1],
                dense_prompt_embeddings=dense,
                sparse_prompt_embeddings=sparse,
                image_positional_embeddings=model.get_image_wide_positional_embeddings(),
                multimask_output=multimask_output,
                high_resolution_features=self._maps[:-1],
            )
            low = low[0].float()  # (1, n, h, w): one prompt
            logits = F.interpolate(low, (LOW, LOW), mode="bilinear", align_corners=False)[0]
            masks = F.interpolate(low, self._size, mode="bilinear", align_corners=False)[0] > 0
        return masks.cpu().numpy(), quality[0, 0].float().cpu().numpy(), logits.cpu().numpy()
