"""The source of masks that `masks` names."""

from __future__ import annotations

import os
from pathlib import Path

from ..base import MaskSource
from .folder import FolderMasks
from .sam2 import load


def mask_source(
    spelling: str | os.PathLike[str], device: str | None, weights: str | os.PathLike[str] | None = None
) -> MaskSource:
    """Open `sam2[:SIZE][,grid=N]` (see sam2.py), else a folder of masks.

    Raises:
        UsageError: There is no such folder, or the options are wrong.
        ModelError: The weights or libraries of SAM2 are missing or damaged.
    """
    text = os.fspath(spelling)
    if text == "sam2" or text.startswith(("sam2:", "sam2,")):
        return load(text[len("sam2") :].removeprefix(":"), device, weights)
    return FolderMasks(Path(text))
