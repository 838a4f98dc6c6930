"""The settings of a training, with the source of every value.

The defaults are those of Table 7 of the paper, unless "not in the paper" says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from vidmem.errors import UsageError

Connector = Literal["lora", "full", "frozen"]
Pack = Literal["auto", "on", "off"]
Precision = Literal["bf16", "fp32"]
Optimizer = Literal["adamw", "adamw8bit"]
MOST_STEPS = 10**9


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """The adapter. It is on every linear layer of the language model; the vision encoder is frozen.

    rank, alpha, dropout: 64, 128, .05. connector: what happens to the layers between vision encoder and language model:
    "lora" adapts their linear layers ("Linear layers of connector and LLMs"), "full" trains all of their weights and
    "frozen" none (both not in the paper).
    """

    rank: int = 64
    alpha: int = 128
    dropout: float = 0.05
    connector: Connector = "lora"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training.

    batch: records per step (128). steps: 5 epochs in the paper; see `steps_of`. lr (2e-4), warmup (.03, a share of the
    steps), weight_decay (0), betas (.9, .95), clip (1.0): of AdamW, with a linear decay to 0. max_length: most tokens
    of a record, and of a row of packed records (not in the paper). rows: rows per forward pass; the gradients of a
    batch are accumulated. pack: put several records into one row, which attend to themselves only ("auto": if the model
    can; not in the paper). Neither `rows` nor `pack` changes the loss of a step, which is the mean over all tokens of
    its answers. precision: bf16 keeps the base model in bfloat16, and adapters and moments in float32 (the paper uses
    FP16). optimizer: "adamw8bit" is that of bitsandbytes (not in the paper). checkpointing: compute activations twice,
    to save memory. log_every, checkpoint_every: steps. Two runs with one seed take the same records in the same order.
    """

    steps: int
    lora: LoraSettings = field(default_factory=LoraSettings)
    batch: int = 128
    lr: float = 2e-4
    warmup: float = 0.03
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    max_length: int = 4096
    rows: int = 1
    pack: Pack = "auto"
    precision: Precision = "bf16"
    optimizer: Optimizer = "adamw"
    checkpointing: bool = False
    log_every: int = 10
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values. Raises UsageError for an invalid one."""
        for name, chosen, allowed in (
            ("connector", self.lora.connector, Connector),
            ("pack", self.pack, Pack),
            ("precision", self.precision, Precision),
            ("optimizer", self.optimizer, Optimizer),
        ):
            if chosen not in get_args(allowed):
                raise UsageError(f"`{name}` is one of {', '.join(get_args(allowed))}; got {chosen!r}")
        for name, count in (
            ("rank", self.lora.rank),
            ("steps", self.steps),
            ("batch", self.batch),
            ("rows", self.rows),
            ("log_every", self.log_every),
            ("checkpoint_every", self.checkpoint_every),
        ):
            if count < 1:
                raise UsageError(f"`{name}` is at least 1; got {count}")
        if self.steps > MOST_STEPS:
            raise UsageError(f"`steps` is at most {MOST_STEPS:,}; give fewer")
        if self.max_length < 16:
            raise UsageError(f"`max_length` is at least 16 tokens; got {self.max_length}")
        for name, value in (("lr", self.lr), ("clip", self.clip), ("alpha", self.lora.alpha)):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"`{name}` is a number above 0; got {value}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UsageError(f"`weight_decay` is a number from 0; got {self.weight_decay}")
        for name, value in (
            ("dropout", self.lora.dropout),
            ("warmup", self.warmup),
            ("betas", self.betas[0]),
            ("betas", self.betas[1]),
        ):
            if not 0 <= value < 1:
                raise UsageError(f"`{name}` lies in [0, 1); got {value}")
        if self.checkpoint_every % self.log_every:
            raise UsageError(
                f"`checkpoint_every` ({self.checkpoint_every}) must be a multiple of `log_every` ({self.log_every})"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, ...: linear warm-up over `warmup` of the steps, then linear to 0."""
        ahead = math.ceil(self.warmup * self.steps)
        if step < ahead:
            return self.lr * (step + 1) / ahead
        return self.lr * max(0.0, (self.steps - step) / max(1, self.steps - ahead))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for checkpoints and logs."""
        return {**asdict(self), "betas": list(self.betas)}


def steps_of(records: int, epochs: float, batch: int) -> int:
    """Return the steps that `epochs` passes over the records take, at least 1.

    Raises UsageError for no epochs, no batch, or more than MOST_STEPS steps.
    """
    if batch < 1:
        raise UsageError(f"`batch` is at least 1; got {batch}")
    if not (math.isfinite(epochs) and epochs > 0):
        raise UsageError(f"`epochs` is a number above 0; got {epochs}")
    steps = epochs * records / batch
    if steps > MOST_STEPS:
        raise UsageError(f"`epochs` of {epochs:g} are more than {MOST_STEPS:,} steps; give fewer")
    return max(1, math.ceil(steps))
