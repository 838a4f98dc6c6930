"""The videos of Ego4D's visual queries: clips cut out beforehand, or their part of the whole video.

Ego4D's own script writes the clips as CLIP_UID.mp4, at 5 frames per second and 700 pixels high. The whole videos are
VIDEO_UID.mp4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ..address import Address
from ..errors import MediaError, UsageError
from ..media import Source, open_source
from ..media.base import Shape
from ..media.sampling import Sampler
from ..query.picture import NEAR_NS
from ..records import Frame
from .vq2d import check_crop, crop_ns
from .vq2d_files import Clip, VisualQuery

JUST_AFTER_NS = 1_000_000
"""Added to the time of a frame that is looked up, in ns, so that rounding does not give the frame before."""


class Part(Source):
    """A part of a video as a source of its own: times count from the start of the part."""

    def __init__(self, whole: Source, start_ns: int, end_ns: int) -> None:
        """Take the part of `whole` from `start_ns` to `end_ns`, in ns; the frame at `end_ns` is not in it.

        Raises:
            MediaError: The video ends before the part begins, or the part is empty.
        """
        super().__init__(whole.path)
        self._whole, self._start_ns, self._end_ns = whole, start_ns, end_ns
        info = whole.info
        if end_ns <= start_ns or (info.duration_ns and start_ns >= info.duration_ns):
            raise MediaError(
                f"the part from {start_ns / 1e9:g} to {end_ns / 1e9:g} s is not in the video; fetch the video again: "
                f"{whole.path}"
            )
        digest = hashlib.sha256(f"{info.fingerprint}\n{start_ns}\n{end_ns}".encode()).hexdigest()
        self.damage = whole.damage
        self.info = replace(
            info,
            uri=f"{info.uri}#t={start_ns / 1e9:g},{end_ns / 1e9:g}",
            duration_ns=min(end_ns, info.duration_ns or end_ns) - start_ns,
            fingerprint=digest,
            start_ns=None,
            recorded_by="",
        )

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """As `Source.frames`. Every frame of the part is decoded, so that the sampling begins at its start."""
        sampler = Sampler(fps, 0)
        if start_ns:
            sampler.take(start_ns - 1)  # where an earlier pass stopped
        index = start_index
        for frame in self._whole.frames(0, self._start_ns + start_ns, shape=shape):
            if frame.t_ns >= self._end_ns:
                return
            here = frame.t_ns - self._start_ns
            if sampler.take(here):
                yield Frame(frame.image, here, index)
                index += 1

    def frame_at(self, t_ns: int) -> Frame:
        """As `Source.frame_at`."""
        found = self._whole.frame_at(min(self._start_ns + t_ns, self._end_ns - 1))
        return Frame(found.image, found.t_ns - self._start_ns, -1)

    def close(self) -> None:
        """End all reading."""
        super().close()
        self._whole.close()


def open_clip(folder: str | Path, clip: Clip) -> Source:
    """Open FOLDER/CLIP_UID.mp4, or else the clip's part of FOLDER/VIDEO_UID.mp4.

    Raises:
        MediaError: Neither is there, or the file cannot be read.
    """
    own = None if clip.uid is None else Path(folder, f"{clip.uid}.mp4")
    if own is not None and own.is_file():
        return open_source(Address(str(own)))
    whole = None if clip.video is None else Path(folder, f"{clip.video}.mp4")
    if whole is not None and whole.is_file() and clip.start_s is not None and clip.end_s is not None:
        source = open_source(Address(str(whole)))
        try:
            return Part(source, round(clip.start_s * 1e9), round(clip.end_s * 1e9))
        except BaseException:
            source.close()
            raise
    wanted = " or ".join(path.name for path in (own, whole) if path is not None) or "a file without a name"
    raise MediaError(f"the clip is missing; put {wanted} there: {folder}")


def crop_picture(source: Source, query: VisualQuery) -> Image.Image:
    """The picture that a query shows: the crop, in pixels of the clip's own size.

    Raises:
        MediaError: The frame cannot be read.
        UsageError: The crop lies outside of it, is smaller than a pixel of the clip, or is of a frame after its end.
    """
    check_crop(query)
    if source.info.duration_ns and crop_ns(query) > source.info.duration_ns + NEAR_NS:  # `frame_at` gives the last one
        raise UsageError(
            f"the crop is of {crop_ns(query) / 1e9:g} s, after the end of the clip; correct `visual_crop` in the "
            "annotations"
        )
    image = source.frame_at(crop_ns(query) + JUST_AFTER_NS).image
    height, width = image.shape[:2]
    x0, y0, x1, y1 = query.crop.scaled(width, height)
    left, top = max(0, min(round(x0), width)), max(0, min(round(y0), height))
    right, bottom = max(0, min(round(x1), width)), max(0, min(round(y1), height))
    if right <= left or bottom <= top:
        raise UsageError("the crop is smaller than a pixel of the clip; take a clip with more pixels")
    return Image.fromarray(image[top:bottom, left:right])
