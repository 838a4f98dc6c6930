"""SAM2 as a mask refiner: its own package, loaded only when somebody asks for it.

vidmem ships neither the package nor its weights. MODEL is what SAM2's `from_pretrained` takes, such as
facebook/sam2.1-hiera-small, or CONFIG@CHECKPOINT: a configuration of the package and a file of weights.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import ModelError
from .device import pick_device

REMEDY = "pip install sam2 (https://github.com/facebookresearch/sam2), and leave torch as it is"


def load_predictor(model: str, device: str | None = None) -> Any:
    """A SAM2ImagePredictor. Raises ModelError when the package or the weights are missing or do not fit."""
    try:
        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor
    except ImportError as error:
        raise ModelError(f"masks are refined by SAM2, whose package is missing ({error}); {REMEDY}") from None
    where = str(pick_device(device)[0])
    config, at, checkpoint = model.partition("@")
    if at and not os.path.isfile(checkpoint):
        raise ModelError(f"there is no such file of weights; check the path: {checkpoint}")
    try:
        if at:
            return SAM2ImagePredictor(build_sam2(config, checkpoint, device=where))
        return SAM2ImagePredictor.from_pretrained(model, device=where)
    except Exception as error:  # anything: hydra, the hub, torch
        cause = " ".join(str(error).split())[:200]
        remedy = "give --refine a model of the hub or CONFIG@FILE"
        raise ModelError(f"SAM2 cannot be loaded ({cause}); {remedy}: {model}") from None
