"""The two forms of the training: as the paper describes it, and as the authors' public code (May 2026) does it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args

from vidmem.errors import UsageError

from .config import LossConfig, ModelConfig, TrainConfig, ViewConfig

Form = Literal["paper", "code"]

FORMS: dict[Form, dict[str, Any]] = {
    "paper": {},
    "code": {
        "views": 2,
        "crop": 0.7,
        "flip": True,
        "jitter": 0.4,
        "batches": "apart",
        "points": 64,
        "points_text": 16,
        "point_grid": 128,
        "final": 0.0,
        "mask": 0.5,
        "mask_loss": "focal",
        "similarity": 0.5,
        "contrast_scope": "image",
        "text_form": "all",
        "text_target": "summed",
    },
}
"""Settings that differ from the defaults of config.py, under the names of its fields; `views` is ViewConfig.count."""

_PARTS = {"losses": LossConfig, "model": ModelConfig, "views": ViewConfig}


def configure(form: str = "paper", **chosen: Any) -> TrainConfig:
    """Return the settings of a form, changed by `chosen`.

    Args:
        form: "paper" or "code".
        chosen: Fields of TrainConfig, LossConfig, ModelConfig and ViewConfig by their own names; `views` is the number
            of views. None stands for the value of the form.

    Returns:
        The settings. Raises UsageError for a form, field or value that does not exist.
    """
    if form not in get_args(Form):
        raise UsageError(f"`form` is one of {', '.join(get_args(Form))}; got {form!r}")
    values = FORMS[form] | {name: value for name, value in chosen.items() if value is not None}  # type: ignore[index]
    if "views" in values:
        values["count"] = values.pop("views")
    parts = {
        part: kind(**{f.name: values.pop(f.name) for f in fields(kind) if f.name in values})
        for part, kind in _PARTS.items()
    }
    known = {f.name for f in fields(TrainConfig)} - _PARTS.keys()
    if unknown := values.keys() - known:
        raise UsageError(f"there is no setting {', '.join(sorted(unknown))} of a training; check the name")
    return TrainConfig(**parts, **values)
