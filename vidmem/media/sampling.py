"""Which frames are sampled: a pure function of the frames' times.

Sample k is the first frame at or after k / fps seconds from the first frame of the video, and a frame is sampled at
most once. In other words: time is cut into cells [k / fps, (k + 1) / fps), and the first frame of a cell is sampled.
This is right for variable frame rates, and depends on nothing but the cell of the frame before.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ..timecode import NS

SLACK_NS = 500_000
"""A frame may be this much (in ns) early: Matroska rounds times to 1 ms (33, 67, 100 for 30 fps), and every third frame
would miss its cell. Half a millisecond is far below the time between frames."""


def exact_rate(fps: float) -> Fraction:
    """fps as the intended fraction: 0.3 is 3/10, 29.97002997 is 30000/1001."""
    return Fraction(fps).limit_denominator(1_000_000) or Fraction(fps)


def cell(since_first_ns: int, rate: Fraction) -> int:
    """Number of the cell of a frame that comes `since_first_ns` after the first frame."""
    return (since_first_ns + SLACK_NS) * rate.numerator // (NS * rate.denominator)


class Sampler:
    """Decides which frames are sampled, one frame after the other. fps 0 samples all of them."""

    __slots__ = ("_cell", "_first_ns", "_rate")

    def __init__(self, fps: float, first_ns: int) -> None:
        self._rate = exact_rate(fps) if fps else None
        self._first_ns = first_ns
        self._cell = -1

    def take(self, t_ns: int) -> bool:
        """Return True if the frame at t_ns is sampled. Times must not decrease."""
        if self._rate is None:
            return True
        here = cell(t_ns - self._first_ns, self._rate)
        is_first = here > self._cell
        self._cell = max(here, self._cell)
        return is_first


def sampled(times_ns: Iterable[int], fps: float) -> list[int]:
    """Those of `times_ns` (increasing) that are sampled at fps."""
    times = list(times_ns)
    if not times:
        return []
    sampler = Sampler(fps, times[0])
    return [t for t in times if sampler.take(t)]
