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
        mark: The weight of the lesson in which cells are meant (`Writer.mark`), beside the loss of the text.
        lesson: Teach that lesson alone, without answers.
        hard: The share of questions about places beside other things, half of them absent, before the usual mix.
        start: The training whose weights this one starts from; "" for random ones.
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
    mark: float = 1.0
    lesson: bool = False
    hard: float = 0.0
    start: str = ""
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


def loss_of(model: Writer, batch: Batch, mark: float, lesson: bool = False) -> tuple[Tensor, Tensor]:
    """The loss of a batch and, as a figure for people, its part of the text (0 with `lesson`).

    It is the cross-entropy of the tokens after the opening tag, without padding, and `mark` times the binary
    cross-entropy of the marks.
    """
    if lesson:
        marks = model.mark(batch.features, batch.question)
        return F.binary_cross_entropy_with_logits(marks, batch.marks), torch.zeros(())
    logits, marks = model(batch.features, batch.question, batch.answer[:, :-1])
    target = batch.answer[:, 1:]
    keep = target != tokens.PAD_ID
    text = F.cross_entropy(logits[keep], target[keep])
    marked = F.binary_cross_entropy_with_logits(marks, batch.marks) if mark else torch.zeros(())
    return text + mark * marked, text.detach()


def train(
    vision: Vision,
    config: Config,
    out: Path,
    *,
    start: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    report: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Writer:
    """Train a writer on frozen features.

    Args:
        vision: Frozen.
        config: Of the training.
        out: Folder for the checkpoint and the log.
        start: The weights of `config.start`.
        resume: Continue from the checkpoint there; the result equals that of an uninterrupted training.
        report: Called with the step and each row of the log.

    Raises:
        UsageError: There is a training and `resume` is off, or none and it is on, or it is one of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = checkpoint.may_start(out, resume)
    torch.manual_seed(config.seed)
    model = Writer(config.model, config.grid)
    if start is not None:
        model.load_state_dict(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    facts = asdict(config)
    first = checkpoint.restore(path, model.state_dict(), optimizer, facts, FORMAT) if resume else 0
    dev = held_out(DEV, config.dev)
    begun, total = time.monotonic(), 0.0
    with Log(out, first, tensorboard=False) as log:
        for group in range(first // GROUP, config.steps // GROUP):
            ready = batches(vision, config.grid, config.layout, config.batch, config.seed, group, config.hard)
            for at, batch in enumerate(ready):
                total += _step(model.train(), optimizer, batch, config, group * GROUP + at)
            done = (group + 1) * GROUP
            if done % config.every == 0 or done == config.steps:
                checkpoint.save(path, model.state_dict(), optimizer, done, facts, FORMAT)
                row = {"loss": total / config.every, "seconds": time.monotonic() - begun, "cpu": time.process_time()}
                if not config.lesson:
                    row |= scores(dev, answers(model, vision, dev, config.grid, config.layout))
                log.write(done, row)
                total = 0.0
                if report:
                    report(done, row)
    return model.eval()


def _step(model: Writer, optimizer: torch.optim.Optimizer, batch: Batch, config: Config, step: int) -> float:
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    loss, text = loss_of(model, batch, config.mark, config.lesson)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    return float(loss.detach() if config.lesson else text)
