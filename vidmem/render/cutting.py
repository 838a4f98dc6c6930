"""Pictures of any moment of a source: whole frames and crops as JPEG, and clips, from what was indexed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import MediaError, UsageError
from ..media.clip import clip_data
from ..media.images import load
from ..media.known import known_photo, open_known
from ..records import Box, Frame, SourceKind
from ..store import SourceRow, Store
from .drawing import outline
from .trajectory import Trajectory, box_drawer

WIDTHS = (160, 320, 480, 640, 960, 1280, 1920)
"""Widths in pixels in which pictures are made, so that few sizes are kept."""
CROP_MARGIN = 0.15
"""Margin of a crop on each side, as a share of the longer side of its box."""
MAX_CLIP_NS = 60 * 1_000_000_000
CLIP_WIDTH, CLIP_FPS = 960, 30.0
"""A clip is scaled down to this longest side in pixels and has at most this many frames a second."""
_QUALITY = 85


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture. image: `(H, W, 3)` uint8 RGB. size: width and height of the picture in whose pixels boxes are."""

    image: NDArray[np.uint8]
    size: tuple[int, int]

    def scaled(self, box: Box) -> Box:
        """A box in pixels of the picture."""
        x, y = self.image.shape[1] / max(self.size[0], 1), self.image.shape[0] / max(self.size[1], 1)
        return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def shot_at(store: Store, row: SourceRow, t_ns: int) -> Shot:
    """The picture of a source that is on display at t_ns; of a folder of photos the photo at exactly that place.

    Raises:
        UsageError: there is no photo at that place.
        OtherFileError: there is another file now than the one that was indexed.
        MediaError: the file is gone or damaged, or the source keeps no pictures.
    """
    check_has_pictures(row)
    if row.kind.single_pictures:
        held = store.picture(row.id, t_ns)
        if held is None:
            raise UsageError(f"there is no photo at {t_ns} ns; take `frame_ns` of an answer: {row.uri}")
        file = known_photo(store.picture_paths(row.id, [t_ns]).get(t_ns, ()), held.digest)
        if file is None:
            raise MediaError(f"the photo that was indexed is gone; run `vidmem index` on its folder again: {row.uri}")
        return Shot(load(file, None, file), (held.width, held.height))
    with open_known(row) as source:
        return Shot(source.frame_at(t_ns).image, (source.info.width, source.info.height))


def check_has_pictures(row: SourceRow) -> None:
    """Raise MediaError if no picture of the source can be taken."""
    if row.kind is SourceKind.LIVE:
        raise MediaError(f"a live source keeps no pictures; record the camera to a file and index that: {row.uri}")
    if not row.address.exists():
        raise MediaError(f"the video is no longer there, put it back to take pictures from it: {row.uri}")


def clamped(width: int | None) -> int:
    """The smallest of WIDTHS that is at least `width`; the largest for None."""
    return WIDTHS[-1] if width is None else next((w for w in WIDTHS if w >= width), WIDTHS[-1])


def frame_jpeg(shot: Shot, width: int, box: Box | None = None) -> bytes:
    """The picture as JPEG, at most `width` pixels wide, with a box around a thing."""
    picture = _fit(Image.fromarray(shot.image), width)
    if box is not None:
        x, y = picture.width / max(shot.size[0], 1), picture.height / max(shot.size[1], 1)
        stroke = max(2, round(min(picture.size) / 240))
        placed = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
        outline(ImageDraw.Draw(picture), placed, stroke=stroke)
    return _jpeg(picture)


def crop_jpeg(shot: Shot, width: int, box: Box) -> bytes:
    """What is in the box with a margin, as JPEG. Raises UsageError if the box is not in the picture."""
    h, w = shot.image.shape[:2]
    x0, y0, x1, y1 = shot.scaled(box)
    if x1 <= 0 or y1 <= 0 or x0 >= w or y0 >= h:
        raise UsageError(f"the `box` is not in the picture, which has {shot.size[0]}x{shot.size[1]} pixels")
    margin = CROP_MARGIN * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(w, int(np.ceil(x1 + margin))), min(h, int(np.ceil(y1 + margin)))
    return _jpeg(_fit(Image.fromarray(shot.image[top:bottom, left:right]), width))


def _fit(picture: Image.Image, width: int) -> Image.Image:
    """The picture, scaled down if it is wider than `width`, or higher than twice that."""
    share = min(1.0, width / picture.width, 2 * width / picture.height)
    if share == 1:
        return picture
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def clip_bytes(
    store: Store,
    row: SourceRow,
    start_ns: int,
    end_ns: int,
    tracks: Sequence[int] = (),
    between: Callable[[], object] = lambda: None,
) -> bytes:
    """A clip of a source as MP4 with H.264, with the box of some tracks as one thing.

    Args:
        store: The memory.
        row: The source.
        start_ns: Its start.
        end_ns: Its end, inclusive, at most MAX_CLIP_NS later.
        tracks: Ids of tracks of the source.
        between: Called before each frame. It may raise an error to stop.

    Raises:
        UsageError: The span is empty or too long.
        MediaError: As `shot_at`, and for photos.
    """
    if not 0 <= end_ns - start_ns <= MAX_CLIP_NS:
        raise UsageError(f"a clip has up to {MAX_CLIP_NS // 1_000_000_000} seconds and ends after it starts")
    if row.kind.single_pictures:
        raise MediaError(f"a single picture gives no video; take the picture itself: {row.uri}")
    check_has_pictures(row)
    places = boxes_of(store, row, tracks, start_ns, end_ns)
    draw = box_drawer(places, (row.width, row.height)) if places else None

    def drawn(frame: Frame) -> Frame:
        between()
        return frame if draw is None else draw(frame)

    with open_known(row) as source:
        return clip_data(source, start_ns, end_ns, drawn, fps=CLIP_FPS, shape=_clip_shape)


def _clip_shape(width: int, height: int) -> tuple[int, int]:
    share = min(1.0, CLIP_WIDTH / max(width, height))
    return max(2, round(width * share)), max(2, round(height * share))


def boxes_of(store: Store, row: SourceRow, tracks: Sequence[int], start_ns: int, end_ns: int) -> Trajectory:
    """The boxes of some tracks as one thing: in each frame the largest."""
    ordinals = [track.ordinal for track in store.tracks(tracks) if track.source_id == row.id]
    if not ordinals:
        return []
    times, found, boxes = store.boxes(row.id, start_ns, end_ns)
    own = np.isin(found, np.array(ordinals, np.int64))
    times, boxes = times[own], boxes[own].astype(float)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.lexsort((-area, times))
    first = order[np.unique(times[order], return_index=True)[1]]
    return [(int(times[i]), (x0, y0, x1, y1)) for i, (x0, y0, x1, y1) in zip(first, boxes[first].tolist(), strict=True)]
