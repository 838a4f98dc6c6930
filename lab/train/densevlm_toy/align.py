"""Alignment of a student with a teacher's labels of random grids of boxes, by the loss of `lab.train.densevlm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.train.densevlm.grids import draw, grid_boxes
from lab.train.densevlm.labels import label_regions, name_scores
from lab.train.densevlm.losses import Alignment, Reduction, region_loss
from vidmem.encoders.clip.dense import roi_align

from .models import CELLS, Recipe, dense, name_vectors, pixels, train
from .scenes import THINGS, Scenes


@torch.no_grad()
def look(model: Any, scenes: Scenes) -> Tensor:
    """The dense features `(N, D, h, w)` of all scenes."""
    return torch.cat([dense(model, pixels(part)) for part in np.array_split(scenes.pictures, -(-len(scenes) // 32))])


def align(
    student: Any,
    seen: Tensor,
    teacher_texts: Tensor,
    scenes: Scenes,
    recipe: Recipe,
    seed: int,
    *,
    alignment: Alignment,
    reduction: Reduction,
    note: Callable[[int, float], None] | None = None,
) -> None:
    """Train the image tower of `student`; its texts stay as they are.

    Args:
        student: The model, changed in place.
        seen: `(N, D, h, w)`, the teacher's dense features of the scenes.
        teacher_texts: `(C, D)`, the teacher's vectors of the names.
        scenes: Pictures; nothing else of them is used.
        recipe: How long and how fast.
        seed: Of the order of the scenes and of the grids; the same for all arms.
        alignment: See `Alignment`.
        reduction: See `Reduction`.
        note: Called every 50 steps with the step and the loss.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        texts = name_vectors(student)

    def loss_of(step: int, rows: NDArray[np.intp]) -> Tensor:
        boxes = [grid_boxes(*draw(generator), CELLS, CELLS) for _ in rows]
        labels = label_regions(roi_align(seen[torch.from_numpy(rows)], boxes), teacher_texts)
        scores = name_scores(roi_align(dense(student, pixels(scenes.pictures[rows])), boxes), texts)
        return region_loss(scores, labels, len(THINGS), alignment=alignment, reduction=reduction)

    student.train()
    train(student.visual.named_parameters(), recipe, loss_of, len(scenes), (seed, 4), note)
    student.eval()
