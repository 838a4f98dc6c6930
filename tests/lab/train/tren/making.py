"""A small backbone without weights, and data sets that are written in a moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab.train.tren.backbones import Seen
from lab.train.tren.config import LossConfig, ModelConfig, TrainConfig
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.errors import UsageError

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 40), "blue": (20, 40, 220)}
SMALL = TrainConfig(
    losses=LossConfig(),
    model=ModelConfig(heads=2, layers=1, dropout=0.1),
    points=12,
    batch=4,
    warmup=2,
    steps=6,
    lr=2e-3,
    precision="fp32",
    log_every=1,
    checkpoint_every=1,
)


class Squares:
    """A backbone of fixed random projections of 8 x 8 patches: dim 16, text_dim 8, pictures of 64 x 48."""

    name, weights, dim, text_dim, size, grid = "squares", "seed 5", 16, 8, (64, 48), (6, 8)

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.patch = torch.randn(16, 3, generator=generator)
        self.out = torch.randn(8, 16, generator=generator)

    def features(self, images: Tensor) -> Seen:
        mean = torch.nn.functional.avg_pool2d(images, 8)
        return Seen(torch.einsum("dc,bchw->bdhw", self.patch, mean - 0.4))

    def head(self, tokens: Tensor, seen: Seen) -> Tensor:
        return tokens @ self.out.T

    def head_together(self, tokens: Tensor, seen: Seen, there: Tensor) -> Tensor:
        return self.head(tokens, seen)

    def patch_head(self, seen: Seen) -> Tensor:
        return seen.patches.flatten(2).transpose(1, 2) @ self.out.T

    def text(self, names: Sequence[str]) -> Tensor:
        for name in names:
            if name not in COLOURS:
                raise UsageError(f"no such colour: {name}")
        colour = torch.tensor([COLOURS[name] for name in names]) / 255
        return (colour - 0.4) @ self.patch.T @ self.out.T

    def copy_head(self, model: RegionEncoder) -> None:
        raise UsageError("the head of `squares` is a single matrix; start the text projector at random")


def squares(folder: Path, count: int, seed: int = 0) -> Path:
    """A folder of masks: pictures of 64 x 48, each with two or three coloured squares on grey."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "names.json").write_text(json.dumps({str(i): name for i, name in enumerate(COLOURS, 1)}))
    for n in range(count):
        image = np.full((48, 64, 3), 110, np.uint8)
        index = np.zeros((48, 64), np.uint8)
        for value in rng.permutation(3)[: int(rng.integers(2, 4))]:
            x, y, side = int(rng.integers(0, 40)), int(rng.integers(0, 28)), int(rng.integers(12, 20))
            image[y : y + side, x : x + side] = tuple(COLOURS.values())[value]
            index[y : y + side, x : x + side] = value + 1
        Image.fromarray(image).save(folder / "images" / f"{n:03d}.png")
        Image.fromarray(index).save(folder / "masks" / f"{n:03d}.png")
    return folder
