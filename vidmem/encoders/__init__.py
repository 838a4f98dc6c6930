"""Encoders: a picture in, region tokens out; a phrase in, a vector out.

A new encoder is one module with `load(backbone, device)`, `load_text(backbone)` and a line in ENCODERS. One whose
weights come with the package also has `shipped_bytes()`.
"""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType
from typing import cast

from ..errors import ModelError
from .base import Calibration, Encoder, EncoderInfo, TextEncoder

ENCODERS = {"tiny": "vidmem.encoders.tiny"}
"""Name on the command line -> module. Spelled `name` or `name:backbone`."""

DEFAULT = "tiny"

__all__ = ["DEFAULT", "ENCODERS", "Calibration", "Encoder", "EncoderInfo", "TextEncoder", "check", "load", "load_text"]


def _module(spec: str) -> tuple[ModuleType, str]:
    name, _, backbone = spec.partition(":")
    if name not in ENCODERS:
        near = difflib.get_close_matches(name, ENCODERS, 1, 0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ModelError(f"no encoder {name!r}; {hint}There are: {', '.join(ENCODERS)} (see `vidmem models`)")
    return importlib.import_module(ENCODERS[name]), backbone


def check(spec: str) -> None:
    """Raises ModelError when there is no such encoder."""
    _module(spec)


def load(spec: str = DEFAULT, device: str | None = None) -> Encoder:
    """The encoder spelled `spec`, on `device` (cuda, mps or cpu; by default the best there is). Raises ModelError."""
    module, backbone = _module(spec)
    return cast(Encoder, module.load(backbone, device))


def load_text(spec: str = DEFAULT) -> TextEncoder:
    """Only the text side of it, quick to load. Raises ModelError."""
    module, backbone = _module(spec)
    return cast(TextEncoder, module.load_text(backbone))
