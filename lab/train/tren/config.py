"""The settings of a training, with the source of every value.

The defaults are the paper's. "paper" marks what it states explicitly; options beyond it say "not in the paper". The
authors' public code trains in another form than the paper describes; forms.py holds both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from vidmem.errors import UsageError

TextForm = Literal["paper", "all", "infonce"]
Negatives = Literal["batch", "vocabulary"]
TextTarget = Literal["head_of_mean", "summed", "mean_of_head"]
MaskLoss = Literal["bce", "focal"]
Scope = Literal["batch", "image"]
Batches = Literal["joint", "apart"]
Balance = Literal["plain", "balanced"]
Spare = Literal["ignore", "repeat"]
Sampling = Literal["overlap", "even"]
Start = Literal["random", "near_identity"]
TextStart = Literal["random", "head"]
Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Eq. 5, the sum of the other losses. A weight of 0 leaves out its term.

    tau: temperature of both contrasts (appendix A.3: .1). visual, text, distil_visual, distil_text, mask: weights of
    Eqs. 1, 2, the halves of 3, and 4 (paper: 1 each). similarity: weight, beside that of each half of Eq. 3, of the
    difference between the similarities of the tokens of both views and those of their targets (paper: none; code: .5).
    contrast_scope: Eq. 1 sets a token against those of the whole "batch", or of its own "image" (code).
    text_form: "paper" is Eq. 2 to the letter, whose denominators run over other names only, so that it can fall below
    0; "all" has all pairs in the denominators and all pairs of one synonym group as positives (code); "infonce" has
    other names and the token's own pair in them (the usual form, as in CLIP). negatives: the names that a token is
    contrasted with: those of the "batch" (Eq. 2), or each name of the data once ("vocabulary"; not in the paper; for
    small batches). text_target: the target of the text half of Eq. 3 is the backbone's text-alignment head on the
    mask-pooled features, each region alone ("head_of_mean", section 3.2), or on the sums over the masks, all regions of
    a picture together ("summed", code), or the pooled output of the head on all patches ("mean_of_head", as a head with
    attention was trained; not in the paper). mask_loss: Eq. 4 with binary cross-entropy ("bce") or with focal loss
    ("focal", code, which also halves `mask`). bce: "plain" is the mean over patches (Eq. 4), "balanced" weighs mask and
    rest alike (not in the paper). spare: predictions for which no target is left are left out ("ignore", section 3.2),
    or are given the nearest target of their point ("repeat"; ours: where masks seldom overlap, spare tokens then merge
    instead of straying).
    """

    tau: float = 0.1
    visual: float = 1.0
    text: float = 1.0
    distil_visual: float = 1.0
    distil_text: float = 1.0
    mask: float = 1.0
    similarity: float = 0.0
    contrast_scope: Scope = "batch"
    text_form: TextForm = "paper"
    negatives: Negatives = "batch"
    text_target: TextTarget = "head_of_mean"
    mask_loss: MaskLoss = "bce"
    bce: Balance = "plain"
    spare: Spare = "ignore"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The region encoder (appendix A.3). mlp_dim: None for twice the width, as in the paper.

    dropout: in the text projector, after GELU (paper .1). seed_queries, coarse: see RegionEncoder; not in the paper.
    start: "near_identity" begins with masks that are feature similarity (not in the paper; saves thousands of steps).
    text_start: "head" copies the text projector from a backbone whose head has its form (not in the paper).
    """

    heads: int = 8
    layers: int = 2
    k: int = 3
    mlp_dim: int | None = None
    dropout: float = 0.1
    seed_queries: bool = False
    coarse: int = 1
    start: Start = "random"
    text_start: TextStart = "random"


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """The views of a picture in one step. The paper has one, the picture itself; the code has two augmented ones.

    count: 1 or 2. crop: least area of the crop as a share of the picture's, 1 for none (code: .7). flip: mirror half of
    the views (code: yes). jitter: brightness and contrast are multiplied by 1 - jitter to 1 + jitter (code: .4).
    """

    count: int = 1
    crop: float = 1.0
    flip: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Check the values. Raises UsageError for an invalid one."""
        if self.count not in (1, 2):
            raise UsageError(f"views is 1 or 2; got {self.count}")
        if not 0 < self.crop <= 1 or not 0 <= self.jitter < 1:
            raise UsageError(f"crop lies above 0 and up to 1, jitter in [0, 1); got {self.crop} and {self.jitter}")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training. Values are from appendix A.3 unless noted.

    views: see ViewConfig. batches: a step takes one batch for all losses ("joint"), or one without names and one with
    them ("apart", code): Eq. 1 is of the first alone, Eq. 2 of the second alone, all other losses are of both. points:
    prompts per view (128; code: 64). points_text: the same for the second of two batches (code: 16). point_grid: points
    lie in the middles of that many cells a side, 0 for any pixel (code: 128; our reading of it). sampling: a point's
    chance grows with the squared number of masks over it ("overlap"), or every mask has the same share of the points,
    however small it is ("even"; not in the paper). least_patches: masks that cover fewer patches are left out, since
    they give few features to pool; of a picture without a larger one, the largest is kept (not in the paper). synonyms:
    names whose text vectors have a higher cosine are one class (.725, on all-mpnet-base-v2 in the paper). batch:
    pictures per step. accumulate: number of parts of a batch that are processed in turn; the contrasts then see one
    part at a time. lr, weight_decay, warmup (steps, linear), steps, clip (norm of the gradient): of AdamW. final: the
    share of `lr` that the cosine ends at ("cosine decay to 0.5 x"; code: 0). precision: of the forward pass; losses and
    weights are float32. log_every, checkpoint_every: steps. Two runs with one seed take the same pictures, views and
    points in the same order.
    """

    losses: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    batches: Batches = "joint"
    points: int = 128
    points_text: int = 16
    point_grid: int = 0
    sampling: Sampling = "overlap"
    least_patches: float = 0.5
    synonyms: float = 0.725
    batch: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 1500
    steps: int = 60_000
    final: float = 0.5
    clip: float = 5.0
    precision: Precision = "bf16"
    log_every: int = 50
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values. Raises UsageError for an invalid one."""
        loss, model = self.losses, self.model
        for name, chosen, allowed in (
            ("text_form", loss.text_form, TextForm),
            ("negatives", loss.negatives, Negatives),
            ("text_target", loss.text_target, TextTarget),
            ("mask_loss", loss.mask_loss, MaskLoss),
            ("contrast_scope", loss.contrast_scope, Scope),
            ("batches", self.batches, Batches),
            ("bce", loss.bce, Balance),
            ("spare", loss.spare, Spare),
            ("sampling", self.sampling, Sampling),
            ("start", model.start, Start),
            ("text_start", model.text_start, TextStart),
            ("precision", self.precision, Precision),
        ):
            if chosen not in get_args(allowed):
                raise UsageError(f"`{name}` is one of {', '.join(get_args(allowed))}; got {chosen!r}")
        weights = {n: getattr(loss, n) for n in ("visual", "text", "distil_visual", "distil_text", "mask")}
        for name, weight in {**weights, "similarity": loss.similarity}.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise UsageError(f"the weight {name} is a number from 0; got {weight}")
        if not any(weights.values()):
            raise UsageError("all loss weights are 0, so there is nothing to learn; give one of them a weight")
        if loss.similarity and self.views.count < 2:
            raise UsageError("`similarity` compares two views; set `views` to 2, or `similarity` to 0")
        if self.batches == "apart" and not loss.text:
            raise UsageError("the batch with names is for `text`, whose weight is 0; set `batches` to joint")
        if self.point_grid < 0:
            raise UsageError(f"point_grid is a number of cells, 0 for none; got {self.point_grid}")
        for name, count in (
            ("points", self.points),
            ("points_text", self.points_text),
            ("batch", self.batch),
            ("accumulate", self.accumulate),
            ("steps", self.steps),
            ("log_every", self.log_every),
            ("checkpoint_every", self.checkpoint_every),
            ("heads", model.heads),
            ("layers", model.layers),
            ("k", model.k),
            ("coarse", model.coarse),
        ):
            if count < 1:
                raise UsageError(f"{name} is at least 1; got {count}")
        for name, value in (("lr", self.lr), ("clip", self.clip), ("tau", loss.tau)):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is a number above 0; got {value}")
        if not 0 <= self.final <= 1 or not 0 <= model.dropout < 1 or self.warmup < 0 or self.weight_decay < 0:
            raise UsageError("final lies in [0, 1], dropout in [0, 1), warmup and weight_decay are at least 0")
        if self.batch % self.accumulate:
            raise UsageError(f"a batch of {self.batch} has no {self.accumulate} equal parts; choose a divisor of it")
        if self.checkpoint_every % self.log_every:
            raise UsageError(
                f"checkpoint_every ({self.checkpoint_every}) must be a multiple of log_every ({self.log_every})"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, ...: linear warm-up, then a half cosine down to `final` * `lr`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.lr * (self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for checkpoints and logs."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Build the settings from the result of `as_dict`. Raises UsageError for a field that this version does not
        know."""
        parts = dict(data)
        try:
            parts["losses"] = LossConfig(**parts.get("losses", {}))
            parts["model"] = ModelConfig(**parts.get("model", {}))
            parts["views"] = ViewConfig(**parts.get("views", {}))
            return cls(**parts)
        except TypeError as error:
            known = ", ".join(f.name for f in fields(cls))
            raise UsageError(f"a setting of this training is unknown here ({error}); known: {known}") from None
