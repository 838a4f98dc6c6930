"""From samples to batches: pictures at the backbone's size, shares of patches, point prompts and their targets.

All random choices follow from the seed and the position in the training, so that neither the number of workers nor an
interruption changes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vidmem.errors import MediaError
from vidmem.export.coco import Masks

from .config import Sampling, TrainConfig
from .sample import Data


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch. images `(B, 3, H, W)` float32 in [0, 1]; cover `(B, R, h, w)` float32, the share of each patch that a
    region covers; labels `(B, R)` int64, the name's index, -1 without a name; points `(B, P, 2)` float32 x, y in [0,
    1]; targets `(B, P, k)` int64, the regions that a point lies on, -1 for none; index `(B,)` int64, the samples'
    numbers.
    """

    images: Tensor
    cover: Tensor
    labels: Tensor
    points: Tensor
    targets: Tensor
    index: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        names = ("images", "cover", "labels", "points", "targets", "index")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


def sample_points(
    masks: Masks, count: int, k: int, sampling: Sampling, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Sample points on masks `(R, H, W)`, with their targets: `(count, 2)` x, y in [0, 1] at pixel centres, and
    `(count, k)`.

    "overlap": a pixel's chance is proportional to the squared number of masks on it (section 3.2). "even": a mask is
    drawn first, each with one chance, then a pixel of it. A point under more than k masks gets k of them, at random.
    Raises ValueError if all masks are empty.
    """
    _, height, width = masks.shape
    over = masks.sum(0, dtype=np.int64)
    if not over.any():
        raise ValueError("no mask holds a pixel")
    if sampling == "overlap":
        total = np.cumsum(over.ravel() ** 2)
        pixels = np.searchsorted(total, rng.integers(0, total[-1], count), side="right")
    else:
        inside = [np.flatnonzero(mask) for mask in masks if mask.any()]
        pixels = np.array([rng.choice(inside[i]) for i in rng.integers(0, len(inside), count)])
    y, x = np.divmod(pixels, width)
    points = np.stack([(x + 0.5) / width, (y + 0.5) / height], 1).astype(np.float32)
    targets = np.full((count, k), -1, np.int64)
    for row, column in zip(targets, masks[:, y, x].T, strict=True):
        held = np.flatnonzero(column)
        if len(held) > k:
            held = np.sort(rng.choice(held, k, replace=False))
        row[: len(held)] = held
    return points, targets


def shares(masks: Masks, grid: tuple[int, int]) -> NDArray[np.float32]:
    """Return the share `(R, h, w)` of each patch of a (h, w) grid that masks `(R, H, W)` cover; patches may have
    fractional sizes."""
    h, w = grid
    out = np.empty((len(masks), h, w), np.float32)
    for row, mask in zip(out, masks, strict=True):
        picture = Image.fromarray(mask.astype(np.float32))
        row[:] = np.asarray(picture.resize((w, h), Image.Resampling.BOX))
    return out


class Prepared(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Samples prepared for a backbone. Keys are (position in the training, number of the sample).

    Pictures are resized bicubically, masks by nearest neighbour (appendix A.3), to `size` (width, height).
    """

    def __init__(self, data: Data, size: tuple[int, int], grid: tuple[int, int], config: TrainConfig) -> None:
        self.data, self.size, self.grid, self.config = data, size, grid, config
        self.place = {name: i for i, name in enumerate(data.names)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        position, number = key
        sample = self.data[number]
        width, height = self.size
        picture = Image.fromarray(sample.image).resize(self.size, Image.Resampling.BICUBIC)
        rows = (np.arange(height) * 2 + 1) * sample.image.shape[0] // (2 * height)
        columns = (np.arange(width) * 2 + 1) * sample.image.shape[1] // (2 * width)
        masks = sample.masks[:, rows[:, None], columns[None, :]]
        cover = shares(masks, self.grid)
        kept = np.flatnonzero((cover.sum((1, 2)) >= self.config.least_patches) & masks.any((1, 2)))
        if not len(kept):
            least, (h, w) = self.config.least_patches, self.grid
            raise MediaError(
                f"no mask of this picture covers {least:g} of the {w}x{h} patches; "
                f"leave the picture out, or lower least_patches: {sample.source}"
            )
        rng = np.random.default_rng([self.config.seed, 11, position])
        points, targets = sample_points(masks[kept], self.config.points, self.config.model.k, self.config.sampling, rng)
        labels = [-1 if (name := sample.names[i]) is None else self.place[name] for i in kept]
        return {
            "images": torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255,
            "cover": torch.from_numpy(cover[kept]),
            "labels": torch.tensor(labels),
            "points": torch.from_numpy(points),
            "targets": torch.from_numpy(targets),
            "index": torch.tensor(number),
        }


def collate(rows: Sequence[dict[str, Any]]) -> Batch:
    """Collate items of `Prepared`; regions are padded with empty ones without a name."""
    most = max(len(row["labels"]) for row in rows)
    cover = torch.zeros(len(rows), most, *rows[0]["cover"].shape[1:])
    labels = torch.full((len(rows), most), -1)
    for i, row in enumerate(rows):
        cover[i, : len(row["cover"])] = row["cover"]
        labels[i, : len(row["labels"])] = row["labels"]
    stacked = {name: torch.stack([row[name] for row in rows]) for name in ("images", "points", "targets", "index")}
    return Batch(cover=cover, labels=labels, **stacked)


@dataclass(frozen=True, slots=True)
class Order:
    """Keys of the batches of the steps first .. steps - 1: all samples in a new random order in each epoch."""

    size: int
    batch: int
    first: int
    steps: int
    seed: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        turn, shuffled = -1, np.empty(0, np.int64)
        for step in range(self.first, self.steps):
            keys = []
            for position in range(step * self.batch, (step + 1) * self.batch):
                if position // self.size != turn:
                    turn = position // self.size
                    shuffled = np.random.default_rng([self.seed, 13, turn]).permutation(self.size)
                keys.append((position, int(shuffled[position % self.size])))
            yield keys

    def __len__(self) -> int:
        return max(0, self.steps - self.first)
