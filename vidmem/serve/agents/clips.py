"""A clip of a source for agents: short, small, with no sound."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...errors import MediaError, UsageError
from ...media.clip import clip_data
from ...media.known import open_known
from ...records import Frame, SourceKind
from ...store import SourceRow
from ...timecode import NS
from ..pools import check_open

MAX_NS = 60 * NS
"""The longest clip."""
MAX_SIDE = 640
"""The longest side of its pictures, in pixels."""
MAX_BYTES = 16_000_000
"""The largest file."""


def clip(row: SourceRow, start_ns: int, end_ns: int) -> bytes:
    """The MP4 of a span of a source, both ends inclusive.

    Raises:
        UsageError: The span is empty, outside the source, or longer than MAX_NS, or the source has single pictures.
        MediaError: The source is gone, damaged, not what was indexed, or a camera, which keeps no pictures; or the clip
            is larger than MAX_BYTES.
    """
    if row.kind.single_pictures:
        raise UsageError("photos have no clips; take a frame")
    end = row.duration_ns
    if not 0 <= start_ns <= end_ns or (end and start_ns > end):
        raise UsageError(f"a clip goes from an earlier to a later time within 0 and {end} ns; got {start_ns}-{end_ns}")
    if end_ns - start_ns > MAX_NS:
        raise UsageError(f"a clip is at most {MAX_NS // NS} s long; ask for a part of it")
    if row.kind is SourceKind.LIVE or not row.address.exists():
        raise MediaError(f"the video of source {row.id} is not there; put it back to take clips from it")
    with open_known(row) as source:
        data = clip_data(source, start_ns, end_ns, _smaller)
    if len(data) > MAX_BYTES:
        raise MediaError("the clip is too large to be sent; ask for a shorter one")
    return data


def _smaller(frame: Frame) -> Frame:
    check_open()
    height, width = frame.image.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return frame
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = Image.fromarray(frame.image).resize(size, Image.Resampling.BILINEAR)
    return Frame(np.asarray(small), frame.t_ns, frame.index, frame.mark)
