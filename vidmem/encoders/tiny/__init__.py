"""`tiny`, the encoder that ships with vidmem: a COCO detector finds things, an ImageNet network looks at their views.

Numpy and ONNX Runtime alone. Where its weights come from and what it knows, weights/tiny.md tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ModelError
from ..shipped import card, shipped

if TYPE_CHECKING:
    from .encoder import Tiny
    from .text import TinyText

PRESET = "boxes"
"""The preset of a new memory, see config.py."""


def load(backbone: str = "", device: str | None = None) -> Tiny:
    """Raises ModelError for a backbone (`tiny` has but one) and for weights that are missing or damaged, UsageError for
    a device that cannot be used."""
    from .encoder import Tiny

    _only_one(backbone)
    return Tiny(device)


def load_text(backbone: str = "") -> TinyText:
    """The text side alone, quick to load. Raises ModelError as `load`."""
    from .text import TinyText

    _only_one(backbone)
    return TinyText()


def _only_one(backbone: str) -> None:
    if backbone:
        raise ModelError(f"`tiny` has no backbone {backbone!r} to choose; the encoder is called tiny")


def shipped_bytes() -> int:
    """Bytes of the weights that came with the package."""
    return sum(len(shipped(name)) for name in card()["sha256"])
