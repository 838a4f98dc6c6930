"""Names for true boxes and masks by an encoder that looks at cut-outs (`tiny`, `clip`), for lack of patches.

The cut-out of a box is the one that the encoder gets of a region it found itself, without the detector's hint. Of a
mask, it is the same with everything outside of the mask painted over, since the encoder has no other way to be shown
a mask.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Encoder, ViewEncoder
from ..errors import UsageError
from ..indexer.views import cut, sharpness
from ..records import Box, View
from .dense import GUESSES, Guesses, guesses, read_segments
from .panoptic import Picture
from .readable import Classes

PAINT = (124, 116, 104)
"""The mean colour of ImageNet, which says nothing."""
NO_GUESS = -1
"""Fills up the guesses when the encoder knows fewer than five names."""


def crop_namer(encoder: Encoder, classes: Classes) -> Callable[[Picture], Guesses]:
    """A function that names the segments of a picture by cut-outs; it raises MediaError for one that cannot be read.

    Raises UsageError when the encoder looks at no cut-outs.
    """
    looker = encoder.views
    if looker is None:
        raise UsageError(
            f"{encoder.info.name!r} has neither patches in the space of texts nor cut-outs; use `gem`, `densevlm`, "
            "`clip` or `tiny`"
        )
    rows = np.append(classes.rows, NO_GUESS)
    width = min(GUESSES, len(classes))

    def named(views: list[View]) -> list[list[int]]:
        found = guesses(looker.look(views).text, classes.vectors)
        padded = np.full((len(views), width), -1, np.int64)
        padded[:, : found.shape[1]] = found
        numbers: list[list[int]] = rows[padded].tolist()
        return numbers

    def name(picture: Picture) -> Guesses:
        image, masks, truth = read_segments(picture)
        boxes = [_view(looker, image, mask, painted=False) for mask in masks]
        shapes = [_view(looker, image, mask, painted=True) for mask in masks]
        return {"boxes": named(boxes), "masks": named(shapes), "truth": truth.tolist()}

    return name


def _view(looker: ViewEncoder, image: NDArray[np.uint8], mask: NDArray[np.bool_], *, painted: bool) -> View:
    across, down = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    box: Box = float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1)
    size = image.shape[1], image.shape[0]
    if painted:
        image = np.where(mask[..., None], image, np.array(PAINT, np.uint8))
    crop = cut(image, box, size, looker.view_pixels)
    return View(crop, box, size, 0, np.zeros(0, np.float32), sharpness(crop), 1.0)
