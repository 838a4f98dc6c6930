"""What a finished network finds, with names: the tokens that the text side is fitted to (see refit.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..encoders import tiny
from ..encoders.tiny_net import TinyNet, choose_points, find
from ..geometry import box_iou, mask_boxes, part_at
from ..records import Box, Float32
from .photo.names import Names
from .photo.photos import Photo
from .photo.scenes import middle
from .steps import held, pixels
from .supply import Batch, Material
from .tren.folder import Folder
from .tren.world import SCENERY

MOST_OF_A_NAME = {"caltech": 30, "grocery": 16}
"""Photos of one name from each source that has one name a photo."""
MOST_OF_A_SOURCE = 200
ANSWERS = 12
"""Of the teacher's crops so many of each photo."""
LEAST_IOU, LEAST_ANSWER_IOU = 0.35, 0.4
"""How well a region must fit the box of a thing, and that of a crop. A photo of one thing has it somewhere in the
middle: the region that fits best is taken for it, however well."""
LEAST_SHARE = 0.02


class Named(NamedTuple):
    """tokens `(N, DIM)` as pooled; labels `(N,)`: classes, -1 for none; answers `(N,)`: rows of the teacher's answers,
    -1 for none; weights `(N,)`: how much each counts, by the share that it has in the mean of its region."""

    tokens: Tensor
    labels: Tensor
    answers: Tensor
    weights: Tensor

    def take(self, rows: Tensor) -> Named:
        return Named(*(values[rows] for values in self))


@torch.inference_mode()
def of_scenes(net: TinyNet, scenes: Iterable[Batch], batches: int) -> Named:
    """Tokens that found an object (mask IoU above one half)."""
    tokens, labels = [], []
    for _, batch in zip(range(batches), scenes, strict=False):
        features, heat = net.backbone(pixels(batch))
        points = choose_points(heat, (6, 10), 68)
        token, attention, queries = net.regions(features, points)
        logits = net.masks(queries, attention, net.mask_patches(features)[:, None])
        at = points[:, :, None].expand(-1, -1, logits.shape[2], -1).flatten(0, 2)
        mask = held(logits.view(-1, *features.shape[-2:]), at).view(len(logits), -1, logits.shape[-1]).float()
        cover = batch["cover"].flatten(2) * (batch["labels"] >= 0)[..., None]
        inter = mask @ cover.transpose(1, 2)
        iou = inter / (mask.sum(-1)[..., None] + cover.sum(-1)[:, None] - inter).clamp_min(1e-3)
        best = iou.max(-1)
        good = best.values > 0.5
        tokens.append(token.flatten(1, 2)[good])
        labels.append(batch["labels"].gather(1, best.indices)[good])
    named = torch.cat(tokens), torch.cat(labels)
    return Named(*named, torch.full_like(named[1], -1), torch.ones(len(named[1])))


def of_worlds(net: TinyNet, frames: Folder, names: Names) -> Named:
    """Tokens of frames of worlds, as indexed: of every thing with a name. The last tenth, which WorldScenes measures
    on, is left out."""
    rows: list[Row] = []
    for i in range(len(frames) * 9 // 10):
        sample = frames[i]
        found = regions_of(net, Image.fromarray(sample.image), mirrored=bool(i % 2))
        for mask, name in zip(sample.masks, sample.names, strict=True):
            label = None if name is None or name == SCENERY or not mask.any() else names.find(name)
            if label is not None:
                (box,) = mask_boxes(mask[None].astype(np.float32), *mask.shape[::-1])
                rows += fitting(found, box, LEAST_IOU, label)
    return stacked(rows)


def of_photos(net: TinyNet, material: Material, seed: int = 0) -> Named:
    """Tokens of whole photos, as indexed: of every thing that has a name, and of crops that the teacher saw. Of the
    latter all sources count alike, however many photos they have."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    answered: dict[str, list[Row]] = {}
    owners = material.crops["owners"]
    for i in some_of_each(material.photos, rng):
        photo = material.photos[i]
        found = regions_of(net, photo.image(), mirrored=bool(rng.random() < 0.5))
        for row in np.flatnonzero(owners == i)[:ANSWERS].tolist():
            told = fitting(found, material.crops["boxes"][row], LEAST_ANSWER_IOU, answer=row)
            answered.setdefault(photo.source, []).extend(told)
        for region in photo.regions:
            if (label := material.names.find(region.name)) is not None:
                box, least = (middle(photo), 0.0) if photo.whole else (region.box, LEAST_IOU)
                rows += fitting(found, box, least, label)
    for some in answered.values():
        total = sum(row.weight for row in some)
        rows += [row._replace(weight=row.weight / total) for row in some]
    return stacked(rows)


class Row(NamedTuple):
    """One of Named."""

    token: Float32
    label: int
    answer: int
    weight: float


def fitting(found: tuple[Float32, Float32, Float32], box: Box | Float32, least: float, label: int = -1,
            answer: int = -1) -> list[Row]:  # fmt: skip
    """The tokens, as `regions_of` gives them, of the region that fits the box best; none where that has an IoU below
    `least`."""
    tokens, share, boxes = found
    fit = box_iou(boxes, box)
    best = int(fit.argmax())
    if fit[best] < least:
        return []
    many = np.flatnonzero(share[best] >= LEAST_SHARE)
    return [Row(tokens[k], label, answer, float(share[best, k])) for k in many]


def stacked(rows: Sequence[Row]) -> Named:
    tokens, labels, answers, weights = zip(*rows, strict=True)
    return Named(torch.from_numpy(np.stack(tokens)), torch.tensor(labels), torch.tensor(answers), torch.tensor(weights))


def some_of_each(photos: list[Photo], rng: np.random.Generator) -> Iterator[int]:
    """Photos in any order, no more of a name, or of a source, than is worth looking at."""
    count = Counter[str]()
    for i in rng.permutation(len(photos)).tolist():
        photo = photos[i]
        most = MOST_OF_A_NAME.get(photo.source)
        key = photo.source if most is None or not photo.regions else photo.regions[0].name
        count[key] += 1
        if count[key] <= (most or MOST_OF_A_SOURCE):
            yield i


@torch.inference_mode()
def regions_of(net: TinyNet, image: Image.Image, mirrored: bool) -> tuple[Float32, Float32, Float32]:
    """Tokens `(n, DIM)` of a picture, the shares `(k, n)` that they have in its regions, and the boxes `(k, 4)` of
    these in its pixels: as `tiny` finds them, maybe in the picture's mirror image."""
    width, height = image.size
    resized = image.resize(tiny.working_size(width, height), Image.Resampling.BICUBIC)
    seen = np.array(resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else resized)
    batch = torch.from_numpy(seen)[None].permute(0, 3, 1, 2).float().div(255).contiguous(
        memory_format=torch.channels_last)  # fmt: skip
    found = find(net, batch, tiny.grid_of(width, height), tiny.PEAKS, tiny.MIN_SCORE, tiny.LEAST)
    masks = part_at(found.masks.numpy(), found.points.numpy())
    kept, share = tiny.distinct(masks, found.scores.numpy())
    boxes = mask_boxes(masks[kept], width, height)
    if mirrored:
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return found.tokens.numpy(), share, boxes
