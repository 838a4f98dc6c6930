"""One forward pass of student and teacher and its loss."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from .config import Precision, TrainConfig
from .data import Batch
from .labels import label_regions, name_scores
from .losses import region_loss, thing_columns
from .towers import Seer

FIGURES = ("loss", "kept", "things", "agree")
"""The figures of a step: the loss; the share of regions with a valid label; the share of things among these; and the
share of these for which the student, choosing among all names, says what the teacher says. The share with a valid label
is NaN if the teacher's features are not finite."""


def half(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """A context in which towers compute in bfloat16, if `precision` is that."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def step_loss(
    student: Seer, teacher: Seer, batch: Batch, things: int, config: TrainConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, differentiable in the student's tower, and the FIGURES, all scalars on the device.

    Args:
        student: What is trained.
        teacher: What names the regions.
        batch: On their device.
        things: Number of names that are things.
        config: The settings.
    """
    device = batch.images.device
    with torch.no_grad(), half(device, config.precision):
        seen = teacher.regions(batch)
    with half(device, config.precision):
        regions = student.regions(batch)
    labels = label_regions(seen, teacher.texts, config.tau, config.threshold)
    scores = name_scores(regions, student.texts, config.tau)
    loss = region_loss(
        scores,
        labels,
        things,
        alignment=config.alignment,
        reduction=config.reduction,
        columns=config.thing_columns,
    )
    valid = labels.valid.float()
    kept = valid.sum().clamp_min(1)
    thing = (labels.best < thing_columns(things, config.thing_columns)).float()
    same = (scores.detach().argmax(-1) == labels.best).float()
    figures = {
        "loss": loss.detach(),
        "kept": valid.where(labels.probability.isfinite(), math.nan).mean(),
        "things": (thing * valid).sum() / kept,
        "agree": (same * valid).sum() / kept,
    }
    return loss, figures
