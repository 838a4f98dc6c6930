"""Frame gating: a frame that shows nothing new is not encoded, since the regions of the last encoded one still hold.

The images are compared in the encoder's size, cut into cells of about a hundredth of the longer side, in all three
colours. A cell has changed when its mean moved, or when its pixels did though the mean did not (one pattern in place of
another). Noise moves all cells by a similar amount: half of the cells give its level, and a cell must stand out from
it. What moves the whole image by the same amount, as a camera's exposure does, is subtracted first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from ..records import Float32

CELLS = 112
"""Cells along the longer side: a thing of 16 pixels in a picture 1,280 wide fills most of one, wherever it lies."""

LONGEST = 448
"""Pixels of the longest side, or more, in which frames are compared."""

MIN_CHANGE = 10.0
"""Grey levels of 255 by which a cell must differ. H.264 changes a still picture by less."""

SPREADS = 7.0
"""Standard deviations of noise by which a cell must differ: hardly one of 20,000 cells does so by chance."""

CERTAIN_CHANGE = 20.0
"""Grey levels that always count as a change. Where most cells move they pass for noise; this is beyond it."""

_SIGMA = 1.4826  # of a normal distribution, per median of distances from its median


class FrameGate:
    """Decides which frames are encoded.

    These are the first, those that differ from the last encoded one, and one after every `max_gap` that do not.
    Differences are never added up, so no slow change goes unseen.

    Args:
        max_gap: Frames in a row that need not be encoded; 0 encodes every frame.
    """

    def __init__(self, max_gap: int) -> None:
        self._max_gap = max_gap
        self._passed = 0
        self._last: Image.Image | None = None

    def reset(self) -> None:
        """Encode the next frame, whatever it shows."""
        self._last = None

    def needs_encoding(self, image: NDArray[np.uint8]) -> bool:
        """Return True if the image `(H, W, 3)` uint8 is to be encoded; later ones are then compared with it."""
        if not self._max_gap:
            return True
        picture = Image.fromarray(image)
        if (step := max(picture.size) // LONGEST) > 1:
            picture = picture.reduce(step)
        if self._last is not None and self._passed < self._max_gap and not _differ(picture, self._last):
            self._passed += 1
            return False
        self._last, self._passed = picture, 0
        return True


def _differ(image: Image.Image, before: Image.Image) -> bool:
    if image.size != before.size:
        return True
    cell = max(1, round(max(image.size) / CELLS))
    height = image.height // cell
    # When the camera moves, the quarter in the middle shows it as well as the whole, with less work.
    middle = (0, 3 * height // 8 * cell, image.width, 5 * height // 8 * cell)
    if middle[3] > middle[1] and _moved(image.crop(middle), before.crop(middle), cell, CERTAIN_CHANGE):
        return True
    return _moved(image, before, cell, MIN_CHANGE)


def _moved(one: Image.Image, other: Image.Image, cell: int, min_change: float) -> bool:
    """Return True if some cell moved otherwise than most do, in its mean or in its pixels, by at least `min_change`."""
    up, down = _mean_rise(one, other, cell), _mean_rise(other, one, cell)
    return _stands_out(up - down, min_change) or _stands_out(up + down, min_change)


def _mean_rise(one: Image.Image, other: Image.Image, cell: int) -> Float32:
    """Return how many grey levels `one` is above `other`, as cell means `(h, w, 3)`; pixels below count as 0."""
    # PIL rounds means to whole numbers; quarters of a level keep small changes apart.
    cells = ImageChops.subtract(one, other, scale=0.25).reduce(cell)
    return np.asarray(np.asarray(cells) / 4, dtype=np.float32)


def _stands_out(moved: Float32, min_change: float) -> bool:
    """Return True if some cell `(h, w, 3)` moved otherwise than most do, and by more than the noise."""
    distance = np.abs(moved - np.median(moved, axis=(0, 1)))
    furthest = distance.max()
    if furthest > CERTAIN_CHANGE or furthest <= min_change:
        return bool(furthest > CERTAIN_CHANGE)
    noise = _SIGMA * np.median(distance, axis=(0, 1))
    return bool((distance > np.clip(SPREADS * noise, min_change, CERTAIN_CHANGE)).any())
