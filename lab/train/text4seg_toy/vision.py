"""The vision side: a small convolutional network, taught labels per patch on made scenes and then frozen.

For each patch of 4 x 4 pixels it is taught the colour and the shape of the thing on it, which of its pixels show the
thing, and how far away the thing's centre is. The language model sees none of these answers, only the features from
which they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .scenes import COLOURS, SHAPES, SIDE, Scene, draw

PATCH = 4
"""Pixels of a patch, both ways."""
GRID = SIDE // PATCH
"""Patches, both ways."""
WIDTH = 32
"""Features of a patch."""
UNIT = 8.0
"""Pixels in one unit of the distance to a centre."""
LEAST = 0.25
"""The share of a patch that a thing covers at least to give the patch its labels."""


class Labels(NamedTuple):
    """What a patch shows: of `n` scenes.

    Attributes:
        colour: `(n, 16, 16)` int64, 0 for the ground.
        shape: `(n, 16, 16)` int64, 0 for the ground.
        pixels: `(n, 16, 16, 16)` float32, 1 for each pixel of the patch on a thing.
        centre: `(n, 2, 16, 16)` float32, x and y from the patch to the centre of its thing, in units of UNIT pixels.
    """

    colour: Tensor
    shape: Tensor
    pixels: Tensor
    centre: Tensor


class Vision(nn.Module):
    """Features `(n, WIDTH, 16, 16)` of pictures `(n, 64, 64, 3)` uint8, and the heads that it is taught by."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(24, width, 3, stride=2, padding=1), nn.GELU()
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=d, dilation=d), nn.GELU(), nn.Conv2d(width, width, 1))
            for d in (1, 2, 3, 1)
        )
        self.out = nn.Conv2d(width, WIDTH, 1)
        self.heads = nn.Conv2d(WIDTH, 1 + len(COLOURS) + 1 + len(SHAPES) + PATCH * PATCH + 2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """The features."""
        x = self.stem(pictures.permute(0, 3, 1, 2).float() / 128 - 1)
        for block in self.blocks:
            x = x + block(x)
        features: Tensor = torch.tanh(self.out(F.gelu(x)))
        return features

    def read(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The heads' logits of colour, shape and pixels, and the distance to the centre; each `(n, c, 16, 16)`."""
        parts = self.heads(features).split([1 + len(COLOURS), 1 + len(SHAPES), PATCH * PATCH, 2], 1)
        return parts[0], parts[1], parts[2], parts[3]


def label(scenes: Sequence[Scene]) -> Labels:
    """The labels of the patches of scenes."""
    index = np.stack([scene.index for scene in scenes])
    cut = index.reshape(-1, GRID, PATCH, GRID, PATCH).transpose(0, 1, 3, 2, 4).reshape(-1, GRID, GRID, PATCH * PATCH)
    number = cut.max(-1)  # things are apart: a patch with two of them is rare
    covered = (cut == number[..., None]).mean(-1)
    shown = (number >= 0) & (covered >= LEAST)
    at = (np.arange(GRID) + 0.5) * PATCH
    shape, colour, centre = np.zeros(number.shape), np.zeros(number.shape), np.zeros((len(scenes), 2, GRID, GRID))
    for n, scene in enumerate(scenes):
        for k, thing in enumerate(scene.things):
            here = shown[n] & (number[n] == k)
            colour[n][here] = 1 + list(COLOURS).index(thing.colour)
            shape[n][here] = 1 + SHAPES.index(thing.shape)
            centre[n, 0][here] = ((thing.x - at[None, :]) / UNIT).repeat(GRID, 0)[here]
            centre[n, 1][here] = ((thing.y - at[:, None]) / UNIT).repeat(GRID, 1)[here]
    return Labels(
        torch.from_numpy(colour).long(),
        torch.from_numpy(shape).long(),
        torch.from_numpy((cut >= 0).astype(np.float32)),
        torch.from_numpy(centre).float(),
    )


def loss_of(model: Vision, pictures: Tensor, labels: Labels) -> Tensor:
    """The sum of the heads' losses: cross-entropies, and the absolute error of the centres on things."""
    colour, shape, pixels, centre = model.read(model(pictures))
    on = (labels.colour > 0)[:, None]
    off = (centre - labels.centre).abs() * on
    return (
        F.cross_entropy(colour, labels.colour)
        + F.cross_entropy(shape, labels.shape)
        + F.binary_cross_entropy_with_logits(pixels.permute(0, 2, 3, 1), labels.pixels)
        + 0.5 * off.sum() / on.sum().clamp(min=1)
    )


def pictures_of(scenes: Sequence[Scene]) -> Tensor:
    """The pictures `(n, 64, 64, 3)` uint8."""
    return torch.from_numpy(np.stack([scene.picture for scene in scenes]))


def teach(
    steps: int, seed: int = 0, batch: int = 32, lr: float = 2e-3, report: Callable[[int, float], None] | None = None
) -> Vision:
    """Teach a vision side and freeze it; AdamW, a cosine to 0, every scene seen once.

    report: called with the step and the loss, every 100 steps.
    """
    torch.manual_seed(seed)
    model = Vision()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    for step in range(steps):
        scenes = [draw(seed * 10_000_000 + 5_000_000 + step * batch + i) for i in range(batch)]
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = loss_of(model, pictures_of(scenes), label(scenes))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if report and (step + 1) % 100 == 0:
            report(step + 1, float(loss.detach()))
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def accuracy(model: Vision, scenes: Sequence[Scene]) -> dict[str, float]:
    """How well the heads read patches of new scenes: colour and shape on things, pixels, and the centre in pixels."""
    truth = label(scenes)
    colour, shape, pixels, centre = model.read(model(pictures_of(scenes)))
    on = truth.colour > 0
    off = (centre - truth.centre).permute(0, 2, 3, 1)[on].norm(dim=-1)
    return {
        "colour": float((colour.argmax(1) == truth.colour)[on].float().mean()),
        "shape": float((shape.argmax(1) == truth.shape)[on].float().mean()),
        "pixels": float(((pixels.permute(0, 2, 3, 1) > 0) == (truth.pixels > 0)).float().mean()),
        "centre_pixels": float(off.mean()) * UNIT,
    }
