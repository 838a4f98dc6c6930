"""The encoder `tiny`: regions, views and text."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..base import Encoder
from ..spec import LoadOptions
from .regions import DetectedRegions
from .text import TinyText, check_backbone

if TYPE_CHECKING:
    from .views import TinyViews


class Tiny(DetectedRegions, TinyText, Encoder):
    """Both sides of `tiny`. device: a device of ONNX Runtime; None for the best one."""

    def __init__(self, device: str | None = None) -> None:
        TinyText.__init__(self)
        DetectedRegions.__init__(self, device)

    @cached_property
    def views(self) -> TinyViews:
        """The second step, loaded on first use."""
        from .views import load

        return load(self.device)


def load(options: LoadOptions) -> Tiny:
    """Load both sides.

    Raises:
        ModelError: A backbone was named, or the weights are missing or damaged.
        UsageError: The device does not work.
    """
    check_backbone(options)
    return Tiny(options.device)
