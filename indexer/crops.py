"""Pictures of tracks, kept for a moment: what a standing question shows of a thing whose frame is gone.

A camera's frames are not kept. So the picture of a track at its best is cut while the frame is there, and handed out
with the next checkpoint. An encoder that looks at views has cut it already; for others it is cut here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Box, Float32, Frame, View
from .views import cut

PIXELS = 320
"""Longest side in pixels of a picture that is cut here."""
MOST = 128
"""Pictures that wait for the next checkpoint. More tracks than this change in two seconds only where all is noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A picture of a track.

    ordinal: of the track in its source. t_ns: time of the frame on the source's clock. box: of the thing, in pixels of
    the frame. image: `(h, w, 3)` uint8 RGB, the box with a margin.
    """

    ordinal: int
    t_ns: int
    box: Box
    image: NDArray[np.uint8]


class Crops:
    """The newest pictures since the last `take`, at most MOST; the oldest give way."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], Crop] = OrderedDict()

    def add_view(self, ordinal: int, view: View) -> None:
        """Add a view of a track."""
        self._add(Crop(ordinal, view.t_ns, view.box, view.image))

    def cut(
        self, frame: Frame, ordinals: NDArray[np.int64], boxes: Float32, size: tuple[int, int], wanted: Set[int]
    ) -> None:
        """Cut the tracks in `wanted` out of a frame, each in place of the picture that it had.

        Args:
            frame: The frame.
            ordinals: `(M,)`, the track of each region, -1 for none.
            boxes: `(M, 4)`, in pixels of a frame of `size`.
            size: Width and height of the frame as it was taken.
            wanted: Ordinals of the tracks that look best in this frame.
        """
        for row, ordinal in enumerate(ordinals.tolist()):
            if ordinal in wanted:
                x0, y0, x1, y1 = boxes[row].tolist()
                box = (x0, y0, x1, y1)
                for key in [key for key in self._held if key[0] == ordinal]:
                    del self._held[key]
                self._add(Crop(ordinal, frame.t_ns, box, cut(frame.image, box, size, PIXELS).copy()))

    def _add(self, crop: Crop) -> None:
        self._held[crop.ordinal, crop.t_ns] = crop
        while len(self._held) > MOST:
            self._held.popitem(last=False)

    def take(self) -> list[Crop]:
        """The pictures, which are then no longer held here."""
        out, self._held = list(self._held.values()), OrderedDict()
        return out
