"""The settings of the proof at toy scale, and its stages, each kept in a file so that a run can be continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lab.train.densevlm.losses import Reduction

from .models import Recipe, Size, build
from .scenes import Rules

PRETRAIN, TEACH, ALIGN, DEVELOP, TEST = range(5)
"""Sets of scenes of a seed; the number is part of their random seed. Settings were chosen on DEVELOP of other seeds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All settings.

    Attributes:
        student, teacher: Sizes of the models.
        captions: How the student learns.
        regions: How the teacher learns.
        alignment: How each arm learns.
        pretrain, teach, align, measure: Number of scenes of each set.
        rules: Scenes with captions, of the student and of the alignment.
        even: Scenes of the teacher and of the measures, where every ground is as likely.
        margin: See `learn_regions`.
        reduction: See `Reduction`.
    """

    student: Size
    teacher: Size
    captions: Recipe
    regions: Recipe
    alignment: Recipe
    pretrain: int
    teach: int
    align: int
    measure: int
    rules: Rules
    even: Rules
    margin: float
    reduction: Reduction


FULL = Plan(
    student=Size(96, 4, 3, patch_dropout=0.5),
    teacher=Size(128, 4, 4),
    captions=Recipe(900, 32, 1.5e-3, warmup=50),
    regions=Recipe(250, 32, 1e-3),
    alignment=Recipe(100, 16, 1e-4, warmup=10),
    pretrain=4000,
    teach=1500,
    align=800,
    measure=300,
    rules=Rules(usual=0.6, extra=(0.6, 0.3, 0.1), thing_only=0.92, ground_only=0.0),
    even=Rules(usual=None),
    margin=1.0,
    reduction="code",
)
_SMALL, _SHORT = Size(48, 2, 2), Recipe(6, 8, 1e-3, warmup=2)
QUICK = replace(
    FULL,
    student=_SMALL,
    teacher=_SMALL,
    captions=_SHORT,
    regions=_SHORT,
    alignment=_SHORT,
    pretrain=24,
    teach=24,
    align=24,
    measure=24,
)
"""A minute's version, to see that everything runs."""


def staged(path: Path, size: Size, settings: dict[str, Any], make: Callable[[], Any]) -> Any:
    """Load the model of a stage from `path`, if it was made with the same settings; else make it and save it."""
    wanted = json.dumps(settings, sort_keys=True)
    if path.exists():
        with safe_open(path, "pt") as file:
            same = (file.metadata() or {}).get("settings") == wanted
        if same:
            model = build(size, 0)
            model.load_state_dict(load_file(path))
            return model.eval()
    model = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, part, {"settings": wanted})
    part.replace(path)
    return model


def as_settings(**parts: Any) -> dict[str, Any]:
    """Settings of a stage as plain values; dataclasses are expanded."""
    return {name: asdict(part) if hasattr(part, "__dataclass_fields__") else part for name, part in parts.items()}
