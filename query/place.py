"""Whether a thing that was out of view for a moment came back where it can be: what likeness alone cannot tell of two
cups of a kind.

How far the picture has moved meanwhile, the things that are in view before and after it tell. Where too few are, as
after a whip of the camera, place says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import NS, FrameRegions

GAP_NS = 2 * NS
"""Out of view for longer, a thing may be anywhere."""
REACH = 2.0
"""So many longest sides of the larger box lie between the two places at the most, beside the way of the picture."""
FEW = 3
"""Of fewer things nobody can tell what moved, the picture or the things in it."""


class HasRegions(Protocol):
    """What is needed of a Store."""

    def regions(self, source_id: int, start_ns: int, end_ns: int) -> Iterable[FrameRegions]: ...


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A track at one of its ends: ordinal, and the time of a frame that holds it."""

    ordinal: int
    t_ns: int


class Places:
    """Where the tracks of sources were at given times; each frame is read once."""

    def __init__(self, store: HasRegions) -> None:
        self._store = store
        self._frames: dict[tuple[int, int], FrameRegions | None] = {}

    def elsewhere(self, source: int, left: Glimpse, came: Glimpse) -> bool:
        """Whether what left is, by its place, not what came at most GAP_NS later."""
        before, after = self._frame(source, left.t_ns), self._frame(source, came.t_ns)
        if before is None or after is None:
            return False
        a, b = (_box(frame, one.ordinal) for frame, one in ((before, left), (after, came)))
        if a is None or b is None:
            return False
        _, mine, theirs = np.intersect1d(before.tracks, after.tracks, return_indices=True)
        if len(mine) < FEW:
            return False
        shift = np.median(_centres(after.boxes[theirs]) - _centres(before.boxes[mine]), axis=0)
        way = _centres(b[None])[0] - _centres(a[None])[0] - shift
        longest = max(float((box[2:] - box[:2]).max()) for box in (a, b))
        return bool(np.hypot(*way) > REACH * longest)

    def _frame(self, source: int, t_ns: int) -> FrameRegions | None:
        key = source, t_ns
        if key not in self._frames:
            self._frames[key] = next(iter(self._store.regions(source, t_ns, t_ns)), None)
        return self._frames[key]


def _box(frame: FrameRegions, ordinal: int) -> NDArray[np.float32] | None:
    rows = np.flatnonzero(frame.tracks == ordinal)
    return frame.boxes[rows[0]] if len(rows) else None


def _centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
