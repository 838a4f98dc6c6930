"""What the readers share: folders, JSON, and pictures of a size that can be held with all their masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.errors import MediaError
from vidmem.export.coco import Masks, decode_segmentation, rgb

LONGEST = 1024
"""Pictures with a longer side are reduced to it with their masks. A hundred masks of 12 megapixels would not fit into
memory, and a backbone sees 512 pixels."""


def first_there(paths: Iterable[Path], what: str) -> Path:
    """Return the first of the paths that exists. Raises MediaError if none does."""
    tried = list(paths)
    for path in tried:
        if path.exists():
            return path
    others = "" if len(tried) == 1 else f" (nor {', '.join(path.name for path in tried[1:])})"
    raise MediaError(f"{what} is missing{others}; add it, or correct the folder: {tried[0]}")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file. Raises MediaError if it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MediaError(f"{what} cannot be read ({error.strerror}); check the file: {path}") from None
    except ValueError as error:
        raise MediaError(f"{what} is not JSON ({error}); fetch it again: {path}") from None


def reduced(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size (width, height) at which a picture of this size is held."""
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduce_picture(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture as `(H, W, 3)` uint8 RGB at its reduced size."""
    size = reduced(picture.size)
    return rgb(picture if size == picture.size else picture.convert("RGB").resize(size, Image.Resampling.BOX))


def reduce_mask(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the values of `(H, W)` at the middles of the pixels of a picture of `size` (width, height)."""
    if mask.shape == size[::-1]:
        return mask
    rows, columns = ((np.arange(n) * 2 + 1) * have // (2 * n) for n, have in zip(size[::-1], mask.shape, strict=True))
    out: NDArray[Any] = mask[rows[:, None], columns]
    return out


def decoded(where: str, segmentation: Any, size: tuple[int, int], fail: Callable[[str, str], NoReturn]) -> Masks:
    """Return the mask of COCO polygons or run lengths without a fault, for a picture of `size` (width, height). Calls
    `fail` with `where` if it cannot be decoded."""
    try:
        return decode_segmentation(segmentation, *size)
    except ValueError as error:
        fail(where, f"cannot be decoded ({error})")


def stacked(masks: list[Masks], size: tuple[int, int]) -> Masks:
    """Return masks `(H, W)` as one array, which may be empty; size: width and height."""
    return np.stack(masks) if masks else np.zeros((0, *size[::-1]), np.bool_)
