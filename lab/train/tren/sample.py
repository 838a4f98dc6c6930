"""Training data: samples (see vidmem/export/coco.py) by number, and the concatenation of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from vidmem.export.coco import Sample

Kind = Literal["both", "regions", "texts"]
"""What a data set, or a batch, serves where names are learned from batches of their own: the contrast of regions, that
with names, or both."""


class Data(Protocol):
    """Samples by number, and all names, sorted. Reading is deterministic."""

    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Raises MediaError for a picture or mask that cannot be read."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A data set among the joined samples: numbers `first` to `first + size - 1`. weight: its share of a training that
    takes data sets by weight, None where no weight was given."""

    first: int
    size: int
    weight: float | None = None
    kind: Kind = "both"


class Joined:
    """The concatenation of data sets.

    weights: of the data sets, None for none. kinds: what each serves; a data set without names serves "regions" only.
    """

    def __init__(
        self,
        parts: Sequence[Data],
        weights: Sequence[float | None] | None = None,
        kinds: Sequence[Kind] | None = None,
    ) -> None:
        self.parts = tuple(parts)
        self.names = tuple(sorted({name for part in parts for name in part.names}))
        self.ends = np.cumsum([len(part) for part in parts]).tolist()
        self.weights = tuple(weights) if weights else (None,) * len(self.parts)
        self.kinds: tuple[Kind, ...] = tuple(kinds or ["both" for _ in self.parts])

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.ends else 0

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[which][index - (self.ends[which - 1] if which else 0)]


def pools_of(data: Data) -> tuple[Pool, ...]:
    """Return the data sets of `data`; data without names serves regions only."""
    if not isinstance(data, Joined):
        return (Pool(0, len(data), None, "both" if data.names else "regions"),)
    first = [0, *data.ends]
    return tuple(
        Pool(first[i], len(part), data.weights[i], data.kinds[i] if part.names else "regions")
        for i, part in enumerate(data.parts)
    )
