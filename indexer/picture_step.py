"""The step of single pictures: nothing is followed, and each content is taken once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..geometry import unit
from ..media.photos import Read
from ..records import FrameRegions, RegionTokens, Track, ViewMark
from ..store import PICTURE_NS, Checkpoint, Picture, PictureFile, SourceRow, SourceState
from .step import Step
from .views import encode_views, view_marks


class PictureStep(Step):
    """Regions -> merge -> views, for the single pictures of one source: each region is a track that lasts one picture.

    Args:
        row: The source, with what an earlier run left.
        ordinal: Of the next track.
        places: The time of each picture in the memory, by its digest; new pictures are added to it.
        unreadable: Paths of the files that an earlier run could not read; kept up to date.
        keep_views: Keep the pictures of the things too.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: IndexConfig,
        row: SourceRow,
        *,
        ordinal: int,
        places: dict[bytes, int],
        unreadable: set[str],
        keep_views: bool = False,
    ) -> None:
        super().__init__(encoder, config, row, keep_views=keep_views)
        self._ordinal, self._places, self._unreadable = ordinal, places, unreadable
        self._tracks: list[Track] = []
        self._files: list[PictureFile] = []
        self._pictures: list[Picture] = []
        self.born = 0

    @property
    def pending(self) -> int:
        """Files that the next checkpoint writes."""
        return len(self._files)

    def take(self, read: Read, regions: RegionTokens | None) -> None:
        """Add a file, with the regions of its picture when that is a new one."""
        if regions is not None and read.image is not None:
            self._add(read, read.image, regions)
        (self._unreadable.add if read.cause else self._unreadable.discard)(read.file.path)
        t_ns = None if read.cause else self._places[read.digest]
        self._files.append(
            PictureFile(read.file.path, read.file.size, read.file.mtime_ns, t_ns, read.cause, read.sample)
        )
        self.frames_done, self.damaged = len(self._places), len(self._unreadable)

    def _add(self, read: Read, image: NDArray[np.uint8], regions: RegionTokens) -> None:
        size, t_ns = (read.width, read.height), self.next_t_ns
        merged, masks = self._merged(regions, size)
        text_confidence = np.ones(len(merged), np.float32)
        views: list[ViewMark] = []
        if self._view_encoder is not None:
            merged, seen = encode_views(self._view_encoder, image, merged, size, t_ns)
            views = view_marks(seen) if self._keep_views else []
            text_confidence = np.minimum(np.linalg.norm(merged.text, axis=1), 1).astype(np.float32)
            merged = replace(merged, text=unit(merged.text))
        for i, (x0, y0, x1, y1) in enumerate(merged.boxes.tolist()):
            self._tracks.append(
                Track(
                    self._ordinal + i,
                    t_ns,
                    t_ns,
                    1,
                    merged.visual[i],
                    merged.text[i],
                    t_ns,
                    (x0, y0, x1, y1),
                    float(merged.confidence[i]),
                    float(text_confidence[i]),
                    tuple(views[i : i + 1]),
                )
            )
        ordinals = np.arange(self._ordinal, self._ordinal + len(merged))
        self._frames.append(FrameRegions(t_ns, ordinals, merged.boxes, masks))
        self._pictures.append(Picture(t_ns, read.digest, *size, read.recorded.ns, read.recorded.by))
        self._places[read.digest] = t_ns
        self._ordinal, self.born = self._ordinal + len(merged), self.born + len(merged)
        self.next_t_ns += PICTURE_NS

    def _checkpoint(self, state: SourceState) -> Checkpoint:
        made = Checkpoint(
            self.next_t_ns,
            self.frames_done,
            state,
            self.damaged,
            tracks=self._tracks,
            frames=self._frames,
            files=self._files,
            pictures=self._pictures,
        )
        self._tracks, self._files, self._pictures = [], [], []
        return made
