"""The training loop: AdamW, warm-up and cosine, accumulation, checkpoints, and the blended result."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from vidmem.encoders.clip.files import Loaded
from vidmem.encoders.clip.model import ClipTower
from vidmem.errors import MediaError, UsageError

from .. import checkpoint
from ..logs import Log
from ..optimizers import adamw
from ..order import Order
from .config import TrainConfig
from .data import Batch, Pictures, Squares, collate
from .names import Names
from .step import FIGURES, step_loss
from .texts import name_vectors
from .towers import Seer, side_of
from .weights import blended, originals, save_model

FORMAT = "vidmem-densevlm-training-1"
"""Of the checkpoints."""
MODEL = "model"
"""Folder of the result, within the folder of the training."""
Row = Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Student and teacher: their models, their towers, and the names as each of them says them in the prompts."""

    student_model: Loaded
    teacher_model: Loaded
    student: Seer
    teacher: Seer
    prompts: tuple[str, ...]


def make_pair(
    student: tuple[Loaded, ClipTower],
    teacher: tuple[Loaded, ClipTower],
    names: Names,
    prompts: tuple[str, ...],
    config: TrainConfig,
    device: torch.device,
) -> Pair:
    """Encode the names with both models and move their image towers to the device.

    The text towers go back to the CPU. That of the student is saved with the result.

    Args:
        student: From `open_model`. Its image tower is what is trained.
        teacher: From `open_model`, of any architecture, size of patches and width. It may be loaded from the same files
            as the student, but must be another object.
        names: The names of regions.
        prompts: Sentences that names are put into.
        config: The settings.
        device: Where to train.

    Raises:
        UsageError: A size does not fit a tower, or the first word of a name is too long.
    """
    seers = []
    for role, (loaded, tower), wanted in (
        ("student", student, config.size),
        ("teacher", teacher, config.teacher_size),
    ):
        side = side_of(role, tower, config.size, wanted)
        texts = name_vectors(loaded, names.all, prompts, device, config.text_vectors)
        # Towers have neither dropout nor batch norms here: eval mode trains the same weights, and nothing is random.
        loaded.model.cpu().eval().requires_grad_(False)
        loaded.model.visual.to(device).requires_grad_(role == "student")
        seers.append(Seer(tower, texts, side, loaded.mean, loaded.std))
    return Pair(student[0], teacher[0], seers[0], seers[1], prompts)


def fit(
    pair: Pair,
    names: Names,
    pictures: Pictures,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    workers: int = 0,
    tensorboard: bool = True,
    report: Callable[[int, Row], None] | None = None,
    damaged: Callable[[str, str], None] | None = None,
) -> Path:
    """Train the student's image tower and write the blended model.

    Args:
        pair: Student and teacher, from `make_pair` with the same names and settings.
        names: The names of regions.
        pictures: What to train on.
        config: The settings.
        out: Folder for checkpoints, logs and the result.
        resume: Continue from the checkpoint in `out`. On the CPU, with the same number of threads, the result equals
            that of an uninterrupted training bit for bit.
        workers: Processes that read pictures.
        tensorboard: Write logs for TensorBoard too.
        report: Called with the step and the row of each log line, and "pictures_per_second", "hours" (of the whole
            training at this speed) and on a GPU "gigabytes" (the most memory so far).
        damaged: Called once for each file that cannot be read, with its path and the reason.

    Returns:
        The folder `out` / MODEL.

    Raises:
        UsageError: There is nothing to resume, or another training or its result is there, or the student or the
            teacher lies where the result is written, or a loss is not finite.
        MediaError: No picture can be read, or a file cannot be written.
        ModelError: The optimizer of 8 bits is not installed, or a checkpoint is damaged.
    """
    path = checkpoint.may_start(out, resume, [pair.student_model.home, pair.teacher_model.home])
    visual = pair.student_model.model.visual
    device = pair.student.texts.device
    start = originals(pair.student_model)
    optimizer = make_optimizer(visual, config)
    steps = config.steps_for(len(pictures))
    told = facts_of(pair, names, pictures, config)
    first = checkpoint.restore(path, visual.state_dict(), optimizer, told, FORMAT) if resume else 0
    checkpoint.make_folder(out)
    loader = DataLoader(
        Squares(pictures, pair.student.side, config.seed),
        batch_sampler=Order(len(pictures), config.batch, first, steps, config.seed),
        collate_fn=collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=False,
    )
    sums: dict[str, float] = {}
    seen: set[str] = set()
    began, since = time.monotonic(), first
    with Log(out, first, tensorboard) as log:
        for step, batch in enumerate(loader, first):
            for file, reason in batch.damaged:
                if file not in seen:
                    seen.add(file)
                    if damaged:
                        damaged(file, reason)
            if not len(batch):
                raise MediaError(
                    f"{len(batch.damaged)} pictures in a row cannot be read; check the folder: {batch.damaged[0][0]}"
                )
            rate = config.rate(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            for name, value in update(pair, optimizer, batch.to(device), len(names.things), config, step).items():
                sums[name] = sums.get(name, 0.0) + value
            done = step + 1
            if done % config.log_every == 0 or done == steps:
                count = done % config.log_every or config.log_every
                row = {name: value / count for name, value in sums.items()} | {"rate": rate}
                pace = (done - since) * config.batch / max(1e-9, time.monotonic() - began)
                log.write(done, row)
                if report:
                    more = {"pictures_per_second": pace, "hours": steps * config.batch / pace / 3600}
                    if device.type == "cuda":
                        more["gigabytes"] = torch.cuda.max_memory_allocated(device) / 1e9
                    report(done, {**row, **more})
                sums, since, began = {}, done, time.monotonic()
            if done % config.checkpoint_every == 0 or done == steps:
                checkpoint.save(path, visual.state_dict(), optimizer, done, told, FORMAT)
    result = out / MODEL
    save_model(
        result,
        pair.student_model,
        blended(visual.state_dict(), start, config.blend),
        {
            "student_name": pair.student_model.name.partition(":")[2],
            "teacher_name": pair.teacher_model.name.partition(":")[2],
            **told,
            "steps": steps,
            "prompts": list(pair.prompts),
            "things": list(names.things),
            "stuff": list(names.stuff),
        },
    )
    return result


def update(
    pair: Pair, optimizer: torch.optim.Optimizer, batch: Batch, things: int, config: TrainConfig, step: int
) -> dict[str, float]:
    """Take one step of the optimiser.

    Args:
        pair: Student and teacher.
        optimizer: Of the student's image tower.
        batch: On the device.
        things: Number of names that are things.
        config: The settings.
        step: Number of the step from 0, for messages.

    Returns:
        FIGURES as means over the parts of the batch, and "norm", the norm of the gradient before clipping.

    Raises:
        UsageError: The loss or the teacher is not finite. No weight has changed then.
    """
    optimizer.zero_grad(set_to_none=True)
    total: dict[str, torch.Tensor] = {}
    for part in batch.parts(config.accumulate):
        loss, figures = step_loss(pair.student, pair.teacher, part, things, config)
        (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        for name in FIGURES:
            total[name] = total.get(name, torch.zeros((), device=loss.device)) + figures[name] / config.accumulate
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = nn.utils.clip_grad_norm_(weights, config.clip or math.inf)
    out = {name: value.item() for name, value in {**total, "norm": norm}.items()}
    if not math.isfinite(out["kept"]):
        raise UsageError(
            f"the teacher's features of step {step + 1} are not finite; train with `precision` fp32, or with another "
            "teacher"
        )
    if not (math.isfinite(out["loss"]) and math.isfinite(out["norm"])):
        raise UsageError(
            f"the loss of step {step + 1} is not finite (loss {out['loss']}, gradient {out['norm']}); train anew with "
            "a lower `lr`, or with `precision` fp32"
        )
    optimizer.step()
    return out


def make_optimizer(visual: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over the parameters of an image tower. Biases, norms and the class token have no weight decay.

    Raises ModelError if `optimizer` is "adamw8bit" and bitsandbytes is missing.
    """
    return adamw(
        (weight for weight in visual.parameters() if weight.requires_grad),
        lr=config.lr,
        weight_decay=config.weight_decay,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        eight_bit=config.optimizer == "adamw8bit",
        decay_vectors=False,
    )


def facts_of(pair: Pair, names: Names, pictures: Pictures, config: TrainConfig) -> dict[str, Any]:
    """The settings that must be equal to resume a training, and that the result is written with."""
    return {
        "student": pair.student_model.weights,
        "teacher": pair.teacher_model.weights,
        "pictures": len(pictures),
        "pictures_sha256": pictures.sha256,
        "names_sha256": names.sha256,
        "prompts_sha256": hashlib.sha256("\n".join(pair.prompts).encode()).hexdigest(),
        **config.as_dict(),
    }
