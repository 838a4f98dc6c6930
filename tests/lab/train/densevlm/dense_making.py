"""Pictures, small models and settings for the tests of DenseVLM's training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from encoders import clip_folder
from PIL import Image

from lab.train.densevlm.config import TrainConfig
from lab.train.densevlm.names import make_names

NAMES = make_names(["cup", "dog", "chair"], ["sky", "grass"])
SMALL = TrainConfig(
    size=48, batch=4, steps=6, warmup=2, lr=1e-3, threshold=0.0, precision="fp32", log_every=1, checkpoint_every=1
)
"""The threshold keeps all regions: the names of random models have no clear winner."""
STUDENT: dict[str, Any] = {"text_cfg": clip_folder.CONFIGURATION["text_cfg"] | {"vocab_size": 49408}}
TEACHER: dict[str, Any] = {
    "embed_dim": 20,
    "vision_cfg": {"image_size": 40, "layers": 3, "width": 48, "head_width": 16, "patch_size": 10},
}
"""Of another patch grid, width and depth than clip_folder.CONFIGURATION."""


def pictures(folder: Path, count: int = 6, seed: int = 0) -> Path:
    """Pictures of coloured blocks, wide and tall, in a folder and one below it."""
    rng = np.random.default_rng(seed)
    (folder / "more").mkdir(parents=True)
    for n in range(count):
        width, height = ((60, 40), (30, 70), (48, 48))[n % 3]
        blocks = rng.integers(0, 256, (3, 4, 3), np.uint8)
        place = folder / "more" if n % 2 else folder
        Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(place / f"{n}.png")
    return folder


def models(folder: Path) -> tuple[Path, Path]:
    """Folders of a student and of a teacher."""
    return clip_folder.write(folder / "student"), clip_folder.write(folder / "teacher", **TEACHER)
