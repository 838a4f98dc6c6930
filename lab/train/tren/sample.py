"""Training data: samples (see vidmem/export/coco.py) by number, and the concatenation of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vidmem.export.coco import Sample


class Data(Protocol):
    """Samples by number, and all names, sorted. Reading is deterministic."""

    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Raises MediaError for a picture or mask that cannot be read."""


class Joined:
    """The concatenation of data sets."""

    def __init__(self, parts: Sequence[Data]) -> None:
        self.parts = tuple(parts)
        self.names = tuple(sorted({name for part in parts for name in part.names}))
        self.ends = np.cumsum([len(part) for part in parts]).tolist()

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.ends else 0

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[which][index - (self.ends[which - 1] if which else 0)]
