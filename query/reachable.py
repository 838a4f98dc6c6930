"""Whether a thing that was out of view for a moment came back where it can be: what likeness alone cannot tell of two
cups of a kind.

How far the picture has moved meanwhile, the things that are in view before and after it tell. Where too few are, as
after a whip of the camera, place says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..timecode import NS
from .overlap import HasBoxes

GAP_NS = 2 * NS
"""Out of view for longer, a thing may be anywhere."""
REACH = 2.0
"""So many longest sides of the smaller box lie between the two places at the most, beside the way of the picture."""
FEW = 3
"""Of fewer things nobody can tell what moved, the picture or the things in it."""


class Places:
    """Where the tracks of sources were at given times; each frame is read once."""

    def __init__(self, store: HasBoxes) -> None:
        self._store = store
        self._frames: dict[tuple[int, int], tuple[NDArray[np.int64], Float32]] = {}

    def elsewhere(self, source: int, left: int, left_ns: int, came: int, came_ns: int) -> bool:
        """Whether the track with the ordinal `left`, last in view at left_ns, is by its place not `came`, in view from
        came_ns on."""
        (before, old), (after, new) = self._frame(source, left_ns), self._frame(source, came_ns)
        a, b = old[before == left], new[after == came]
        _, mine, theirs = np.intersect1d(before, after, return_indices=True)
        if not len(a) or not len(b) or len(mine) < FEW:
            return False
        shift = np.median(_centres(new[theirs]) - _centres(old[mine]), axis=0)
        way = _centres(b)[0] - _centres(a)[0] - shift
        side = min(float((box[2:] - box[:2]).max()) for box in (a[0], b[0]))
        return bool(np.hypot(*way) > REACH * side)

    def _frame(self, source: int, t_ns: int) -> tuple[NDArray[np.int64], Float32]:
        """The tracks of a frame and their boxes."""
        key = source, t_ns
        if key not in self._frames:
            _, tracks, boxes = self._store.boxes(source, t_ns, t_ns)
            self._frames[key] = tracks, boxes
        return self._frames[key]


def _centres(boxes: Float32) -> Float32:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)
