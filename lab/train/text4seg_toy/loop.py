"""The training loop: AdamW, warm-up, a constant rate and a linear end, checkpoints, and a log of a development set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidmem.export.textlayout import Layout

from .. import checkpoint
from ..logs import Log
from . import tokens
from .data import DEV, GROUP, Batch, batches, held_out
from .measure import answers, scores
from .model import ModelConfig, Writer
from .questions import EASY, KINDS
from .vision import Vision

FORMAT = "vidmem-text4seg-toy-1"
"""Of its checkpoints."""


@dataclass(frozen=True, slots=True)
class Config:
    """A training.

    Attributes:
        grid: Cells of an answer, both ways.
        layout: How answers are written.
        steps: A multiple of 4.
        easy: The first steps ask by colour and shape alone.
        batch: Questions in a step, about.
        lr: Learning rate after the warm-up.
        warmup: Steps of it.
        decay: The share of the steps over which the rate falls to 0 at the end.
        seed: Of weights, scenes and questions.
        every: Steps between checkpoints, and between measurements of `dev` questions.
        dev: Development questions.
        model: Its size.
    """

    grid: int = 8
    layout: Layout = "rows"
    steps: int = 4000
    easy: int = 0
    batch: int = 32
    lr: float = 1e-3
    warmup: int = 100
    decay: float = 0.4
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    every: int = 400
    dev: int = 128
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        if self.steps % GROUP or self.every % GROUP:
            raise ValueError(f"steps come in groups of {GROUP}")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        left = (self.steps - step) / (self.decay * self.steps)
        return self.lr * min(1.0, (step + 1) / self.warmup, left)


def loss_of(model: Writer, batch: Batch) -> Tensor:
    """The cross-entropy of the tokens after the opening tag; padding does not count."""
    logits = model(batch.features, batch.question, batch.answer[:, :-1])
    target = batch.answer[:, 1:]
    keep = target != tokens.PAD_ID
    return F.cross_entropy(logits[keep], target[keep])


def train(
    vision: Vision,
    config: Config,
    out: Path,
    *,
    resume: bool = False,
    report: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Writer:
    """Train a writer on frozen features.

    Args:
        vision: Frozen.
        config: Of the training.
        out: Folder for the checkpoint and the log.
        resume: Continue from the checkpoint there; the result equals that of an uninterrupted training.
        report: Called with the step and each row of the log.

    Raises:
        UsageError: There is a training and `resume` is off, or none and it is on, or it is one of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = checkpoint.may_start(out, resume)
    torch.manual_seed(config.seed)
    model = Writer(config.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    facts = asdict(config)
    first = checkpoint.restore(path, model.state_dict(), optimizer, facts, FORMAT) if resume else 0
    dev = held_out(DEV, config.dev)
    begun, total = time.monotonic(), 0.0
    with Log(out, first, tensorboard=False) as log:
        for group in range(first // GROUP, config.steps // GROUP):
            kinds = EASY if group * GROUP < config.easy else tuple(KINDS)
            ready = batches(vision, config.grid, config.layout, config.batch, config.seed, group, kinds)
            for at, batch in enumerate(ready):
                total += _step(model.train(), optimizer, batch, config, group * GROUP + at)
            done = (group + 1) * GROUP
            if done % config.every == 0 or done == config.steps:
                checkpoint.save(path, model.state_dict(), optimizer, done, facts, FORMAT)
                row = {"loss": total / config.every, "seconds": time.monotonic() - begun, "cpu": time.process_time()}
                row |= scores(dev, answers(model, vision, dev, config.grid, config.layout))
                log.write(done, row)
                total = 0.0
                if report:
                    report(done, row)
    return model.eval()


def _step(model: Writer, optimizer: torch.optim.Optimizer, batch: Batch, config: Config, step: int) -> float:
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    loss = loss_of(model, batch)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    return float(loss.detach())
