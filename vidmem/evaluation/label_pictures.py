"""Pictures with the number of a class in each pixel, as data sets for segmentation ship their truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..picture_reading import opened

IGNORED = -1
"""The class of a pixel that does not count."""

Table = Mapping[int, int]
"""Numbers in the file -> classes. Numbers that are missing do not count."""


def read_numbers(path: Path) -> NDArray[np.int64]:
    """The numbers in a PNG with one number per pixel (8 or 16 bits, or a palette), `(H, W)` int64.

    Raises MediaError when the file is missing, is not such a PNG, is damaged or is far too large.
    """
    with opened(path, what="the label picture", remedy="fetch it again") as held:
        if held.image.format != "PNG":
            raise MediaError(f"the label picture cannot be read (it is no PNG); fetch it again: {path}")
        if held.image.mode not in ("L", "P", "I;16", "I"):
            raise MediaError(
                f"the label picture has mode {held.image.mode}, not one number per pixel; fetch it again: {path}"
            )
        return np.asarray(held.load(more=8)).astype(np.int64)


def classes_of(numbers: NDArray[np.int64], table: Table, others: int = IGNORED) -> NDArray[np.int64]:
    """The classes of the numbers in a file, `(H, W)` int64. others: the class of numbers that are not in `table`."""
    values, where = np.unique(numbers, return_inverse=True)
    return np.array([table.get(int(value), others) for value in values], np.int64)[where].reshape(numbers.shape)


def check_same_size(labels: NDArray[np.int64], image: NDArray[np.uint8], path: Path) -> None:
    """Raise MediaError when a label picture differs in size from its picture. path: of the label picture."""
    if labels.shape != image.shape[:2]:
        raise MediaError(
            f"the label picture is {labels.shape[1]}x{labels.shape[0]}, its picture {image.shape[1]}x"
            f"{image.shape[0]}; fetch both again: {path}"
        )
