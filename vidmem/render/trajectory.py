"""A box that follows a thing through every frame of a video, between the frames in which it was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..records import Box, Frame
from ..timecode import NS
from .drawing import outline

MOST_APART_NS = 2 * NS
"""Over longer gaps the thing counts as out of view, and no box is drawn."""


def box_at(moments: Sequence[tuple[int, Box]], t_ns: int) -> Box | None:
    """The box at a time, straight between the moments around it, which are in order of time. None before the first,
    after the last, and in gaps of more than MOST_APART_NS."""
    times = [t for t, _ in moments]
    after = int(np.searchsorted(np.array(times, np.int64), t_ns))
    if after < len(times) and times[after] == t_ns:
        return moments[after][1]
    if not 0 < after < len(times):
        return None
    (t0, a), (t1, b) = moments[after - 1], moments[after]
    if t1 - t0 > MOST_APART_NS:
        return None
    share = (t_ns - t0) / (t1 - t0)
    x0, y0, x1, y1 = (v + share * (w - v) for v, w in zip(a, b, strict=True))
    return x0, y0, x1, y1


def follower(moments: Sequence[tuple[int, Box]], size: tuple[int, int]) -> Callable[[Frame], Frame]:
    """What draws the box into frames. size: width and height in whose pixels the boxes are."""

    def drawn(frame: Frame) -> Frame:
        box = box_at(moments, frame.t_ns)
        if box is None:
            return frame
        h, w = frame.image.shape[:2]
        x, y = w / max(size[0], 1), h / max(size[1], 1)
        picture = Image.fromarray(frame.image)
        stroke = max(2, round(min(w, h) / 240))
        outline(ImageDraw.Draw(picture), (box[0] * x, box[1] * y, box[2] * x, box[3] * y), stroke=stroke)
        return Frame(np.asarray(picture), frame.t_ns, frame.index, frame.mark)

    return drawn
