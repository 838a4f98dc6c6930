"""The one contract of training data: a picture, the masks of its regions, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import MediaError

Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """image `(H, W, 3)` uint8 RGB; masks `(R, H, W)` bool, which may overlap; names `(R,)`, None for a region that
    nobody named (it has no part in Eq. 2). R may be 0. source: where it comes from, for messages."""

    image: NDArray[np.uint8]
    masks: Masks
    names: tuple[str | None, ...]
    source: str

    def __post_init__(self) -> None:
        """Raises ValueError when shapes or types are not as promised."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"image is {self.image.shape} {self.image.dtype}, want (H, W, 3) uint8: {self.source}")
        if self.masks.dtype != np.bool_ or self.masks.shape != (len(self.names), *self.image.shape[:2]):
            raise ValueError(
                f"masks are {self.masks.shape} {self.masks.dtype}, want {(len(self.names), *self.image.shape[:2])} "
                f"bool: {self.source}"
            )


class Data(Protocol):
    """Samples by number, and all names that occur, sorted. Reading one again gives the same."""

    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Raises MediaError for a picture or mask that cannot be read."""


class Joined:
    """Several data sets, one after the other."""

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


def open_picture(path: Path) -> Image.Image:
    """The picture in `path`, loaded, in its own mode. Raises MediaError."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.copy()
    except FileNotFoundError:
        raise MediaError(f"the picture is missing; put it there or take it out of the annotations: {path}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"the picture cannot be read ({error}); replace it: {path}") from None


def rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """`(H, W, 3)` uint8."""
    array: NDArray[Any] = np.array(picture.convert("RGB"), np.uint8)
    return array
