"""From samples to batches: pictures at the backbone's size, shares of patches, point prompts and their targets.

All random choices follow from the seed and the position in the training, so that neither the number of workers nor an
interruption changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vidmem.errors import MediaError, VidmemError
from vidmem.export.coco import Masks, Sample

from .augment import View, coarse_masks, draw_view, view_masks, view_picture, whole
from .config import Sampling, TrainConfig
from .order import Key
from .sample import Data, Kind, pools_of

TRIES = 10
"""Crops that are drawn until one shows a region; then the whole picture is taken."""
IN_A_ROW = 100
"""Samples that may be unusable one after the other before a training ends."""
ROWS = ("images", "cover", "labels", "points", "targets", "index")
KINDS: tuple[Kind, ...] = ("both", "regions", "texts")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch of P pictures in V views each: B = P * V rows, the views of a picture one after the other.

    images `(B, 3, H, W)` float32 in [0, 1]; cover `(B, R, h, w)` float32, the share of each patch that a region covers
    (region r is the same in all views of a picture, and empty where a view does not show it); labels `(B, R)` int64,
    the name's index, -1 without a name; points `(B, N, 2)` float32 x, y in [0, 1]; targets `(B, N, k)` int64, the
    regions that a point lies on, -1 for none; index `(B,)` int64, the samples' numbers. views: V. kind: the losses it
    is for. damaged: numbers of the samples that cannot be used, with the reason; others have taken their places.
    """

    images: Tensor
    cover: Tensor
    labels: Tensor
    points: Tensor
    targets: Tensor
    index: Tensor
    views: int = 1
    kind: Kind = "both"
    damaged: tuple[tuple[int, str], ...] = ()

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in ROWS})

    def chunk(self, count: int) -> list[Batch]:
        """Cut the batch into `count` parts of equally many pictures; their number must be a multiple of `count`."""
        cut = {name: getattr(self, name).chunk(count) for name in ROWS}
        return [replace(self, **{name: cut[name][i] for name in ROWS}) for i in range(count)]


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


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """One view of a sample: its masks `(R, H, W)` at the backbone's size, their shares of patches, and `(R,)` which are
    large enough."""

    view: View
    masks: Masks
    cover: NDArray[np.float32]
    there: NDArray[np.bool_]


class Prepared(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Samples prepared for a backbone. Keys are (position in the training, number of the sample) and the kind of batch.

    Pictures are resized bicubically, masks by nearest neighbour (appendix A.3), to `size` (width, height). The place of
    a sample that cannot be used is taken by the next one of its data set that can.
    """

    def __init__(self, data: Data, size: tuple[int, int], grid: tuple[int, int], config: TrainConfig) -> None:
        self.data, self.size, self.grid, self.config = data, size, grid, config
        self.place = {name: i for i, name in enumerate(data.names)}
        self.pools = pools_of(data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Raises MediaError if IN_A_ROW samples, or all of the data set, cannot be used."""
        position, number, kind = (*key, "both")[:3]
        pool = next(pool for pool in self.pools if pool.first <= number < pool.first + pool.size)
        damaged: list[tuple[int, str]] = []
        for turn in range(min(IN_A_ROW, pool.size)):
            taken = pool.first + (number - pool.first + turn) % pool.size
            try:
                return {**self._prepare(position, taken, kind), "damaged": damaged}
            except MediaError as error:
                damaged.append((taken, str(error)))
        if len(damaged) == 1:
            raise MediaError(damaged[0][1])
        raise MediaError(f"{len(damaged)} pictures in a row cannot be used; the first one: {damaged[0][1]}")

    def _prepare(self, position: int, number: int, kind: Kind) -> dict[str, Any]:
        """One sample. Raises MediaError if it cannot be used."""
        sample = self.data[number]
        config, stream = self.config, KINDS.index(kind)
        count = config.points_text if kind == "texts" else config.points
        seeds = [[position, stream, v] for v in range(config.views.count)]
        shown = [self._show(sample, np.random.default_rng([config.seed, 19, *seed])) for seed in seeds]
        kept = np.flatnonzero(np.any([each.there for each in shown], 0))
        if not len(kept):
            raise MediaError(
                f"no mask of this picture has a pixel at {self.size[0]}x{self.size[1]}; leave the picture out: "
                f"{sample.source}"
            )
        pairs = []
        for each, seed in zip(shown, seeds, strict=True):
            masks = each.masks[kept] & each.there[kept, None, None]
            if config.point_grid and (coarse := coarse_masks(masks, config.point_grid)).any():
                masks = coarse
            rng = np.random.default_rng([config.seed, 11, *seed])
            pairs.append(sample_points(masks, count, config.model.k, config.sampling, rng))
        labels = [-1 if (name := sample.names[i]) is None else self.place[name] for i in kept]
        pictures = np.stack([view_picture(sample.image, each.view, self.size) for each in shown])
        return {
            "images": torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(),
            "cover": torch.from_numpy(np.stack([each.cover[kept] * each.there[kept, None, None] for each in shown])),
            "labels": torch.tensor([labels] * len(shown)),
            "points": torch.from_numpy(np.stack([points for points, _ in pairs])),
            "targets": torch.from_numpy(np.stack([targets for _, targets in pairs])),
            "index": torch.full((len(shown),), number),
            "kind": kind,
        }

    def _show(self, sample: Sample, rng: np.random.Generator) -> _Shown:
        """Draw a view that shows a region; the whole picture after TRIES crops without one."""
        height, width = sample.image.shape[:2]
        views = self.config.views
        drawn = [draw_view(views, width, height, rng) for _ in range(TRIES if views.crop < 1 else 1)]
        last = replace(drawn[-1], box=whole(width, height).box)
        for view in [*drawn, last] if views.crop < 1 else drawn:
            masks = view_masks(sample.masks, view, self.size)
            cover = shares(masks, self.grid)
            there = (cover.sum((1, 2)) >= self.config.least_patches) & masks.any((1, 2))
            if there.any():
                break
        else:
            # No region is large enough anywhere: the largest serves, if it has a pixel.
            area = cover.sum((1, 2)) * masks.any((1, 2))
            there = (area > 0) & (np.arange(len(area)) == area.argmax()) if len(area) else there
        return _Shown(view, masks, cover, there)


def collate(rows: Sequence[dict[str, Any]]) -> Batch:
    """Collate items of `Prepared` of one kind; regions are padded with empty ones without a name."""
    most = max(row["labels"].shape[1] for row in rows)
    views = len(rows[0]["labels"])
    cover = torch.zeros(len(rows), views, most, *rows[0]["cover"].shape[2:])
    labels = torch.full((len(rows), views, most), -1)
    for i, row in enumerate(rows):
        count = row["labels"].shape[1]
        cover[i, :, :count], labels[i, :, :count] = row["cover"], row["labels"]
    stacked = {name: torch.cat([row[name] for row in rows]) for name in ("images", "points", "targets", "index")}
    return Batch(
        cover=cover.flatten(0, 1),
        labels=labels.flatten(0, 1),
        views=views,
        kind=rows[0]["kind"],
        damaged=tuple(dict.fromkeys(each for row in rows for each in row["damaged"])),
        **stacked,
    )


class Returned(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """As `Prepared`, but an error is returned: PyTorch would put a worker's traceback into its message."""

    def __init__(self, ready: Prepared) -> None:
        self.ready = ready

    def __len__(self) -> int:
        return len(self.ready)

    def __getitem__(self, key: Key) -> dict[str, Any] | VidmemError:
        try:
            return self.ready[key]
        except VidmemError as error:
            return error


def collate_step(rows: Sequence[dict[str, Any] | VidmemError]) -> list[Batch] | VidmemError:
    """Collate the items of a step into one batch for each kind among them; return the first error instead."""
    good: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row, VidmemError):
            return row
        good.append(row)
    return [collate(own) for kind in KINDS if (own := [row for row in good if row["kind"] == kind])]
