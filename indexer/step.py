"""One step for every kind of source: regions of frames go in, checkpoints come out.

Videos, logs and cameras use `FrameStep`, which follows regions from frame to frame. Single pictures use `PictureStep`
(picture_step.py), in which each region is a track of its own. Where frames come from, and when a checkpoint is due, is
up to the caller.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..config import IndexConfig, TrackConfig
from ..encoders.base import Encoder, ViewEncoder
from ..errors import StoreError
from ..geometry import binarised
from ..records import Float32, Frame, FrameRegions, Mark, RegionTokens
from ..store import Checkpoint, SourceRow, SourceState
from .camera_motion import SIZE, Grey, grey, shift
from .crops import Crops
from .gating import FrameGate
from .merge import merge
from .shot_boundaries import BINS, colours, is_cut
from .track import Tracker
from .views import Views


class Step(ABC):
    """What the frames of one source give, collected for its next checkpoint.

    Attributes:
        frames_done: Frames of the source so far, in all runs.
        next_t_ns: Where an interrupted run resumes, in ns.
        damaged: Packets, frames or files skipped so far, in all runs.
    """

    def __init__(self, encoder: Encoder, config: IndexConfig, row: SourceRow, *, keep_views: bool) -> None:
        self._config, self._keep_views = config, keep_views
        self._view_encoder = encoder.views
        self._frames: list[FrameRegions] = []
        self.frames_done, self.next_t_ns, self.damaged = row.frames, row.next_t_ns or 0, row.damaged

    @property
    @abstractmethod
    def pending(self) -> int:
        """Frames, or files of images, that the next checkpoint writes."""

    @property
    def due(self) -> bool:
        """True when as much is pending as `IndexConfig.checkpoint_frames` says."""
        return self.pending >= self._config.checkpoint_frames

    def checkpoint(self, *, last: bool = False) -> Checkpoint:
        """Hand out everything since the last checkpoint.

        last: the source is over, so its state is "done", or "partial" where something was damaged.
        """
        state: SourceState = "open" if not last else "partial" if self.damaged else "done"
        made = self._checkpoint(state)
        self._frames = []
        return made

    @abstractmethod
    def _checkpoint(self, state: SourceState) -> Checkpoint: ...

    def _merged(self, regions: RegionTokens, size: tuple[int, int]) -> tuple[RegionTokens, NDArray[np.bool_]]:
        """The regions of a frame of `size`, each once, and the patches `(M, h, w)` that each holds."""
        merged = merge(regions, self._config.merge, frame_width=size[0], frame_height=size[1])
        m, h, w = merged.masks.shape
        # As the boxes have them: a mean of masks can stay below `binarise` everywhere.
        return merged, binarised(merged.masks.reshape(m, h * w), self._config.merge.binarise).reshape(m, h, w)


class FrameStep(Step):
    """Regions -> merge -> track -> views, for the frames of one source in order of time.

    An interrupted run that continues from the `tracker_state` of its last checkpoint writes exactly what an
    uninterrupted run writes.

    Args:
        row: The source, with the state that an earlier run left.
        keep_views: Keep the pictures of the views too.
        open_ended: The source does not know its length: checkpoints say how far it was watched.
        resumable: A later run may continue after the last checkpoint, which therefore ends no track and keeps the
            state.
        crops: Collects a picture of each track at its best.

    Attributes:
        gate: Says which frames need encoding: those go to `take`, the others to `repeat`.
        encoded, gated: How many frames came to `take` and to `repeat` in this run.

    Raises:
        StoreError: the saved state is damaged, of another version, or of an encoder of another kind.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: IndexConfig,
        row: SourceRow,
        *,
        keep_views: bool = False,
        open_ended: bool = False,
        resumable: bool = False,
        crops: Crops | None = None,
    ) -> None:
        super().__init__(encoder, config, row, keep_views=keep_views)
        self._size = row.width, row.height
        self._open_ended, self._resumable = open_ended, resumable
        self.gate = FrameGate(config.still)
        self.encoded = self.gated = 0
        on_view = None if crops is None else crops.add_view
        self._views = None if self._view_encoder is None else Views(self._view_encoder, keep_views, on_view)
        self._crops = crops
        self._shown: Frame | None = None
        """The last frame that was encoded, as long as pictures are cut from it."""
        self._tracker = Tracker(config.track, self._size)
        self._last: tuple[RegionTokens, NDArray[np.bool_]] | None = None
        self._colours: Float32 | None = None
        self._grey: Grey | None = None
        self._cuts: list[int] = []
        self._marks: list[tuple[int, Mark]] = []
        if row.tracker_state:
            tracker, views, self._colours, self._grey = _unpacked(row.tracker_state)
            if (views is None) != (self._views is None):
                raise StoreError("the source was begun by an encoder of another kind; `vidmem rm` it and index again")
            self._tracker = Tracker.restore(tracker, config.track, self._size)
            if self._views is not None and views is not None:
                self._views.restore(views)

    @property
    def born(self) -> int:
        """Tracks ever started."""
        return self._tracker.born

    @property
    def pending(self) -> int:
        """Frames that the next checkpoint writes."""
        return len(self._frames)

    def take(self, frame: Frame, regions: RegionTokens) -> None:
        """Add a frame that was encoded. At a cut all tracks end."""
        shown = colours(frame.image)
        before, self._grey = self._grey, grey(frame.image)
        moved = None if before is None else shift(before, self._grey, *self._size)
        if self._colours is not None and is_cut(self._colours, shown, moved):
            self._tracker.close()
            self._cuts.append(frame.t_ns)
        self._colours = shown
        self._last = merged, _ = self._merged(regions, self._size)
        ordinals = self._follow(frame.t_ns, moved, frame.mark)
        if self._views is not None:
            self._views.offer(frame, ordinals, merged, self._size)
        elif self._crops is not None:
            self._shown = frame
            self._crop(frame, ordinals)
        self.encoded += 1

    def repeat(self, t_ns: int, mark: Mark | None = None) -> None:
        """Add a frame that was not encoded: it shows what the frame before it did."""
        ordinals = self._follow(t_ns, (0.0, 0.0), mark)
        if self._shown is not None:
            self._crop(replace(self._shown, t_ns=t_ns), ordinals)
        self.gated += 1

    def _crop(self, frame: Frame, ordinals: NDArray[np.int64]) -> None:
        """Cut out the tracks that look best in this frame, for an encoder that does not look at views."""
        assert self._crops is not None
        assert self._last is not None
        self._crops.cut(frame, ordinals, self._last[0].boxes, self._size, self._tracker.best_at(frame.t_ns))

    def _follow(self, t_ns: int, moved: tuple[float, float] | None, mark: Mark | None) -> NDArray[np.int64]:
        assert self._last is not None  # the first frame, and the first after an interruption, is always encoded
        merged, masks = self._last
        ordinals = self._tracker.update(t_ns, merged, moved)
        followed = ordinals >= 0
        if followed.all():
            self._frames.append(FrameRegions(t_ns, ordinals, merged.boxes, masks))
        else:
            self._frames.append(FrameRegions(t_ns, ordinals[followed], merged.boxes[followed], masks[followed]))
        if mark is not None:
            self._marks.append((t_ns, mark))
        self.frames_done, self.next_t_ns = self.frames_done + 1, t_ns + 1
        return ordinals

    def _checkpoint(self, state: SourceState) -> Checkpoint:
        over = state != "open" and not self._resumable
        if over:
            self._tracker.close()
        tracks = self._tracker.drain()
        if self._views is not None:
            tracks = self._views.settle(tracks)
            self._views.forget(self._tracker.open_ordinals())
        made = Checkpoint(
            self.next_t_ns,
            self.frames_done,
            state,
            self.damaged,
            b"" if over else self._state(),
            tracks,
            self._frames,
            self._cuts,
            self._marks,
            duration_ns=max(self.next_t_ns - 1, 0) if self._open_ended else None,
        )
        self._cuts, self._marks = [], []
        return made

    def _state(self) -> bytes:
        views = None if self._views is None else self._views.state()
        return _packed(self._tracker.state(), views, self._colours, self._grey)


def closed_state(state: bytes, looker: ViewEncoder, config: TrackConfig) -> bytes:
    """The state of a source with all its tracks ended, for another encoder.

    Ordinals continue, and no token of the encoder before is joined with one of this encoder.
    """
    saved, _, shown, small = _unpacked(state)
    tracker = Tracker.restore(saved, config)
    tracker.close()
    tracker.drain()
    return _packed(tracker.state(), Views(looker).state(), shown, small)


def _packed(tracker: bytes, views: bytes | None, shown: Float32 | None, small: Grey | None) -> bytes:
    parts: dict[str, NDArray[Any]] = {"tracker": np.frombuffer(tracker, np.uint8)}
    if views is not None:
        parts["views"] = np.frombuffer(views, np.uint8)
    parts |= {name: part for name, part in (("colours", shown), ("grey", small)) if part is not None}
    return save(parts)


def _unpacked(state: bytes) -> tuple[bytes, bytes | None, Float32 | None, Grey | None]:
    try:
        parts = load(state)
        views, shown, small = parts.get("views"), parts.get("colours"), parts.get("grey")
        if shown is not None and (shown.shape != (BINS**3,) or shown.dtype != np.float32):
            raise ValueError(f"colours of shape {shown.shape}")
        if small is not None and (small.shape != SIZE[::-1] or small.dtype != np.uint8):
            raise ValueError(f"a grey picture of shape {small.shape}")
        return parts["tracker"].tobytes(), None if views is None else views.tobytes(), shown, small
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"the saved tracker is damaged or of another version ({error}); index again") from error
