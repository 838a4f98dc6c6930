"""Where a thing is over time: its boxes from the memory, between them by interpolation, and drawn into a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..records import Box, Frame, Sighting
from ..store import Store
from ..timecode import NS
from .drawing import outline

Trajectory = Sequence[tuple[int, Box]]
"""t_ns and box, in order of time."""
MAX_GAP_NS = 2 * NS
"""Over longer gaps, in ns, the thing counts as out of view and no box is drawn."""


def trajectory(store: Store, sighting: Sighting) -> Trajectory:
    """The boxes of one thing, for each sampled frame of a sighting in which it was found.

    Where several tracks of the sighting are in a frame, it is the box of the track that the evidence shows, or else the
    largest box.
    """
    tracks = store.tracks(sighting.tracks)
    if not tracks:
        return []
    shown = next((t.ordinal for t in tracks if (t.best_ns, t.best_box) == (sighting.frame_ns, sighting.box)), -1)
    times, ordinals, boxes = store.boxes(tracks[0].source_id, sighting.start_ns, sighting.end_ns)
    of_thing = np.isin(ordinals, np.array([t.ordinal for t in tracks], np.int64))
    times, ordinals, boxes = times[of_thing], ordinals[of_thing], boxes[of_thing].astype(float)
    rank = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rank[ordinals == shown] = np.inf
    order = np.lexsort((-rank, times))
    best = order[np.unique(times[order], return_index=True)[1]]
    return [(int(times[i]), (x0, y0, x1, y1)) for i, (x0, y0, x1, y1) in zip(best, boxes[best].tolist(), strict=True)]


def box_at(boxes: Trajectory, t_ns: int) -> Box | None:
    """The box at a time, interpolated linearly.

    None before the first box, after the last, and in gaps longer than MAX_GAP_NS.
    """
    times = [t for t, _ in boxes]
    after = int(np.searchsorted(np.array(times, np.int64), t_ns))
    if after < len(times) and times[after] == t_ns:
        return boxes[after][1]
    if not 0 < after < len(times):
        return None
    (t0, a), (t1, b) = boxes[after - 1], boxes[after]
    if t1 - t0 > MAX_GAP_NS:
        return None
    share = (t_ns - t0) / (t1 - t0)
    x0, y0, x1, y1 = (v + share * (w - v) for v, w in zip(a, b, strict=True))
    return x0, y0, x1, y1


def box_drawer(boxes: Trajectory, size: tuple[int, int]) -> Callable[[Frame], Frame]:
    """A function that draws the box into a frame. size: width and height in whose pixels the boxes are."""

    def draw(frame: Frame) -> Frame:
        box = box_at(boxes, frame.t_ns)
        if box is None:
            return frame
        h, w = frame.image.shape[:2]
        x, y = w / max(size[0], 1), h / max(size[1], 1)
        picture = Image.fromarray(frame.image)
        stroke = max(2, round(min(w, h) / 240))
        outline(ImageDraw.Draw(picture), (box[0] * x, box[1] * y, box[2] * x, box[3] * y), stroke=stroke)
        return Frame(np.asarray(picture), frame.t_ns, frame.index, frame.mark)

    return draw
