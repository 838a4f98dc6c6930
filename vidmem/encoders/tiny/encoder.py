"""Both sides of `tiny`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .regions import Detected
from .text import TinyText

if TYPE_CHECKING:
    from .views import TinyViews


class Tiny(Detected, TinyText):
    """Both sides, on a device of ONNX Runtime."""

    def __init__(self, device: str | None = None) -> None:
        TinyText.__init__(self)
        Detected.__init__(self, device)

    @cached_property
    def views(self) -> TinyViews:
        """The second step; loaded when it is first asked for."""
        from .views import load

        return load(self.device)
