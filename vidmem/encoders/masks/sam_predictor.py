"""Prompt SAM2 with points and a mask: SAM2ImagePredictor's interface to the model of `transformers`.

export/refine.py uses it. Weights and spelling are those of `masks` (see sam2.py).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...records import Float32
from .sam2 import Sam2Masks, load

LOGITS_SIDE = 256
"""Side in pixels of the logits that are returned and of a mask prompt, as in SAM2's code."""


def load_predictor(
    spec: str, device: str | None = None, weights: str | os.PathLike[str] | None = None
) -> Sam2Predictor:
    """Load a predictor.

    Args:
        spec: `sam2`, `sam2:SIZE` or `sam2:local-dir:FOLDER`.
        device: As for `sam2.load`.
        weights: As for `sam2.load`.

    Raises:
        UsageError: The spec is of another form.
        ModelError: As `sam2.load`.
    """
    name, _, size = spec.partition(":")
    if name != "sam2":
        raise UsageError(f"`refine` is sam2 or sam2:SIZE, with the same sizes as `masks`; got {spec!r}")
    return Sam2Predictor(load(size, device, weights))


class Sam2Predictor:
    """An `ImagePredictor` of vidmem/export/refine.py."""

    def __init__(self, source: Sam2Masks) -> None:
        self.source = source
        self._maps: list[Any] = []
        self._size = (0, 0)

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Set the picture `(H, W, 3)` uint8 RGB for the next prompts."""
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
        """Segment what the prompts mark.

        Args:
            point_coords: x, y in pixels, `(p, 2)`.
            point_labels: `(p,)`, 1 for points inside and 0 for points outside.
            mask_input: Logits `(1, LOGITS_SIDE, LOGITS_SIDE)`.
            multimask_output: Return 3 masks, else 1.

        Returns:
            Masks `(n, H, W)`, the predicted IoU of each `(n,)`, and their logits `(n, LOGITS_SIDE, LOGITS_SIDE)`.
        """
        import torch
        from torch.nn import functional as F

        model, device = self.source.model, self.source.device
        scale = np.array([self.source.side / self._size[1], self.source.side / self._size[0]], np.float32)
        points = torch.from_numpy(point_coords * scale)[None, None].to(device)
        labels = torch.from_numpy(point_labels.astype(np.int64))[None, None].to(device)
        mask = torch.from_numpy(np.asarray(mask_input, np.float32))[None].to(device)
        with torch.inference_mode(), self.source.autocast():
            size = model.prompt_encoder.mask_input_size
            if mask.shape[-2:] != size:
                mask = F.interpolate(mask, size, mode="bilinear", align_corners=False, antialias=True)
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
            logits = F.interpolate(low, (LOGITS_SIDE, LOGITS_SIDE), mode="bilinear", align_corners=False)[0]
            masks = F.interpolate(low, self._size, mode="bilinear", align_corners=False)[0] > 0
        return masks.cpu().numpy(), quality[0, 0].float().cpu().numpy(), logits.cpu().numpy()
