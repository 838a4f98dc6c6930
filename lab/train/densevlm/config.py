"""The settings of a DenseVLM training, with the source of every value.

The defaults are those of the paper (arXiv 2412.06244, section 4.1 and Table 9) or of its public code.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vidmem.errors import UsageError

from .labels import TAU, THRESHOLD
from .losses import Alignment, Columns, Reduction

TextVectors = Literal["unit", "mean"]
"""What a name's vector is. "unit": The mean of the unit vectors of its sentences, scaled to length 1 (the cosines of
Eqs. 1 to 4). "mean": That mean as it is, as in the public code; it is a little shorter, so probabilities are softer."""
Precision = Literal["bf16", "fp32"]
Optimizer = Literal["adamw", "adamw8bit"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training.

    Attributes:
        alignment: Which names a region is compared with; see `losses`.
        reduction: How regions are summed up; see `losses`. The published results are of the form "code".
        thing_columns: Which names count as things; see `losses`. "code" leaves out the last thing.
        text_vectors: See `TextVectors`.
        tau: Temperature (.01).
        threshold: Probability that the teacher's label of a region must exceed (.3).
        size: Side in pixels of the square pictures (512).
        teacher_size: The same for the teacher; 0 for the nearest whole number of its patches.
        batch: Pictures per step. The paper has 4 x 48.
        accumulate: Number of parts of a batch that are processed in turn. The means are then over one part at a time.
        epochs: Times that each picture is seen (6).
        steps: Steps of the optimiser; 0 for as many as the epochs have.
        lr: Learning rate after the warm-up. Section 4.1 has 1e-5, Table 9 has 1e-4; the public code uses 1e-5.
        warmup: Steps of linear warm-up (1000, from the public code). A half cosine down to 0 follows.
        beta1: Of AdamW (.9).
        beta2: Of AdamW (.98).
        eps: Of AdamW (1e-6).
        weight_decay: Of AdamW (.1), without biases, norms and the class token.
        clip: Maximum norm of the gradient; 0 for no limit, as in the paper.
        optimizer: "adamw8bit" keeps the moments in 8 bits (bitsandbytes).
        blend: Share of the trained weights in those that are saved; the rest are the original ones (.9, from the public
            code).
        precision: Of the towers; losses and weights are float32.
        log_every: Steps between log lines.
        checkpoint_every: Steps between checkpoints.
        seed: Two trainings with one seed take the same pictures and grids in the same order.
    """

    alignment: Alignment = "decoupled"
    reduction: Reduction = "code"
    thing_columns: Columns = "paper"
    text_vectors: TextVectors = "unit"
    tau: float = TAU
    threshold: float = THRESHOLD
    size: int = 512
    teacher_size: int = 0
    batch: int = 48
    accumulate: int = 1
    epochs: int = 6
    steps: int = 0
    lr: float = 1e-5
    warmup: int = 1000
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    weight_decay: float = 0.1
    clip: float = 0.0
    optimizer: Optimizer = "adamw"
    blend: float = 0.9
    precision: Precision = "bf16"
    log_every: int = 50
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values. Raises UsageError for an invalid one."""
        for name, allowed in (
            ("alignment", Alignment),
            ("reduction", Reduction),
            ("thing_columns", Columns),
            ("text_vectors", TextVectors),
            ("precision", Precision),
            ("optimizer", Optimizer),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise UsageError(f"`{name}` is one of {', '.join(get_args(allowed))}; got {getattr(self, name)!r}")
        for name, least in (
            ("size", 1),
            ("teacher_size", 0),
            ("batch", 1),
            ("accumulate", 1),
            ("epochs", 1),
            ("steps", 0),
            ("warmup", 0),
            ("log_every", 1),
            ("checkpoint_every", 1),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"`{name}` is at least {least}; got {getattr(self, name)}")
        for name in ("lr", "tau", "eps"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"`{name}` is a number above 0; got {getattr(self, name)}")
        for name in ("weight_decay", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"`{name}` is a number from 0; got {getattr(self, name)}")
        for name in ("threshold", "blend", "beta1", "beta2"):
            if not 0 <= getattr(self, name) <= 1 or (name.startswith("beta") and getattr(self, name) == 1):
                raise UsageError(f"`{name}` lies between 0 and 1; got {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise UsageError(f"`batch` {self.batch} has no {self.accumulate} equal parts; choose a divisor of it")
        if self.checkpoint_every % self.log_every:
            raise UsageError(
                f"`checkpoint_every` is a multiple of `log_every`, {self.log_every}; got {self.checkpoint_every}"
            )

    def steps_for(self, pictures: int) -> int:
        """Steps of a training on that many pictures."""
        return self.steps or math.ceil(self.epochs * pictures / self.batch)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, ... of `steps`: linear warm-up, then a half cosine down to 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, steps - self.warmup))
        return self.lr * (1 + math.cos(math.pi * done)) / 2

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for checkpoints and logs."""
        return asdict(self)
