"""What a model says of the regions of made scenes: Boxes, Masks-T, Masks-S, and its foreground bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.train.densevlm.grids import CHOICES, grid_boxes
from lab.train.densevlm.labels import name_scores
from vidmem.encoders.clip.dense import mask_pool, roi_align
from vidmem.evaluation.dense import dense_report, guesses

from .align import look
from .models import CELLS, name_vectors
from .regions import regions_of
from .scenes import NAMES, PATCH, THINGS, Scenes

MIXED = (0.1, 0.5)
"""A box of a grid is mixed if things cover more than the first and less than the second share of it."""


@torch.no_grad()
def measure(model: Any, scenes: Scenes) -> dict[str, float]:
    """Measure a model on scenes.

    Returns:
        boxes_top1, masks_thing_top1, masks_stuff_top1: Share of regions named rightly among all names, mean over
            classes, by the box or mask of things and by the mask of stuff; _top5 for one of the first five guesses.
        stuff_as_thing, thing_as_stuff: Share of masks of stuff that are called a thing, and the other way round.
        mixed_as_thing: Share of mixed boxes (see MIXED) of all grids that are called a thing.
    """
    features, texts = look(model, scenes), name_vectors(model)
    regions = [regions_of(scenes, row) for row in range(len(scenes))]
    truth = torch.cat([r.names for r in regions]).numpy()
    boxes = guesses(roi_align(features, [r.boxes for r in regions]).numpy(), texts.numpy())
    masks = guesses(mask_pool(features, [r.masks for r in regions]).numpy(), texts.numpy())
    report = dense_report(boxes, masks, truth, np.arange(len(NAMES)) < len(THINGS), NAMES)
    figures = {name: float(figure) for name, figure in report.figures().items() if figure is not None}
    return figures | {
        "stuff_as_thing": float(report.stuff_as_thing or 0),
        "thing_as_stuff": float((masks[truth < len(THINGS), 0] >= len(THINGS)).mean()),
        "mixed_as_thing": _mixed_as_thing(features, texts, scenes),
    }


def labels_of(model: Any, scenes: Scenes) -> Tensor:
    """The likeliest name of each patch, `(N, h, w)` int64."""
    with torch.no_grad():
        return torch.einsum("ndhw,cd->nchw", look(model, scenes), name_vectors(model)).argmax(1)


def _mixed_as_thing(features: Tensor, texts: Tensor, scenes: Scenes) -> float:
    shape = (len(scenes), CELLS, PATCH, CELLS, PATCH)
    share = torch.from_numpy((scenes.labels < len(THINGS)).reshape(shape).mean((2, 4), dtype=np.float32))[:, None]
    called = []
    for rows, columns in CHOICES:
        boxes = [grid_boxes(rows, columns, CELLS, CELLS)] * len(scenes)
        covered = roi_align(share, boxes)[:, 0]
        mixed = (covered > MIXED[0]) & (covered < MIXED[1])
        called.append(name_scores(roi_align(features, boxes)[mixed], texts).argmax(1) < len(THINGS))
    return float(torch.cat(called).float().mean())
