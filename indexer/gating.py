"""Frames that show nothing new: they need not be encoded, what was seen in the last encoded one is still there.

The test is made on the pictures as the encoder gets them, cut into cells of about a hundredth of the longer side, all
three colours. A cell has changed when its mean moved, or when its pixels did though the mean did not (a pattern in
place of another). Noise moves all cells alike: half of the cells tell how much of it there is, and a cell must stand
out from that. What moves the whole picture by the same amount, as a camera's exposure does, is taken off first.
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

LEAST = 10.0
"""Grey levels of 255 by which a cell must differ. What H.264 does to a picture that stands still stays below it."""

SPREADS = 7.0
"""Standard deviations of noise by which a cell must differ: of 20,000 cells hardly one does so by chance."""

MOST = 20.0
"""Grey levels by which a cell always differs enough. Where most cells move they pass for noise; this is beyond it."""

_SIGMA = 1.4826  # of a normal distribution, per median of distances from its median


class FrameGate:
    """Says which frames are to be encoded: the first, those that differ from the last one that was, and one after
    every `most` that do not. Differences are never added up, so nothing drifts away unseen.

    most: frames in a row that may be passed over; 0: every frame is encoded, and none is looked at here.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._passed = 0
        self._last: Image.Image | None = None

    def reset(self) -> None:
        """The next frame is encoded, whatever it shows."""
        self._last = None

    def needs_encoding(self, image: NDArray[np.uint8]) -> bool:
        """Whether the picture `(H, W, 3)` uint8 is to be encoded; if so, later ones are compared with it."""
        if not self._most:
            return True
        picture = Image.fromarray(image)
        if (step := max(picture.size) // LONGEST) > 1:
            picture = picture.reduce(step)
        if self._last is not None and self._passed < self._most and not _differ(picture, self._last):
            self._passed += 1
            return False
        self._last, self._passed = picture, 0
        return True


def _differ(one: Image.Image, other: Image.Image) -> bool:
    if one.size != other.size:
        return True
    cell = max(1, round(max(one.size) / CELLS))
    height = one.height // cell
    # When the camera moves, the quarter in the middle says so as well as the whole, and saves most of the work.
    middle = (0, 3 * height // 8 * cell, one.width, 5 * height // 8 * cell)
    if middle[3] > middle[1] and _moved(one.crop(middle), other.crop(middle), cell, MOST):
        return True
    return _moved(one, other, cell, LEAST)


def _moved(one: Image.Image, other: Image.Image, cell: int, least: float) -> bool:
    """Whether some cell moved otherwise than all of them do, in its mean or in its pixels, by `least` at least."""
    up, down = _mean_rise(one, other, cell), _mean_rise(other, one, cell)
    return _stands_out(up - down, least) or _stands_out(up + down, least)


def _mean_rise(one: Image.Image, other: Image.Image, cell: int) -> Float32:
    """By how many grey levels `one` is above `other`, as means `(h, w, 3)` of cells; 0 for pixels where it is below."""
    # PIL rounds means to whole numbers: in quarters of a level, what moved by little is told apart.
    cells = ImageChops.subtract(one, other, scale=0.25).reduce(cell)
    return np.asarray(np.asarray(cells) / 4, dtype=np.float32)


def _stands_out(moved: Float32, least: float) -> bool:
    """Whether some cell `(h, w, 3)` moved otherwise than all of them do, and by more than their noise."""
    apart = np.abs(moved - np.median(moved, axis=(0, 1)))
    furthest = apart.max()
    if furthest > MOST or furthest <= least:
        return bool(furthest > MOST)
    noise = _SIGMA * np.median(apart, axis=(0, 1))
    return bool((apart > np.clip(SPREADS * noise, least, MOST)).any())
