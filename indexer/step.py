"""One step for every kind of source: the regions of a frame are merged, followed, and cut out as views.

Videos, logs and live cameras share it (`Step`); single pictures, in which nothing is followed, use `single`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..config import IndexConfig, TrackConfig
from ..encoders.base import Encoder, ViewEncoder
from ..errors import StoreError
from ..geometry import binarised, unit
from ..records import Float32, Frame, FrameRegions, RegionTokens, Track, ViewMark
from .merge import merge
from .motion import SIZE, Grey, grey, shift
from .shot_cuts import BINS, colours, is_cut
from .track import Tracker
from .views import Views, kept, looked_at


def view_encoder(encoder: Encoder) -> ViewEncoder | None:
    """The encoder's second step; None where regions carry their tokens themselves."""
    if not hasattr(type(encoder), "views"):  # of the class: an error while it is loaded must not pass for absence
        return None
    views: ViewEncoder | None = encoder.views  # type: ignore[attr-defined]
    return views


def working_in_parallel(encoder: Encoder) -> AbstractContextManager[int]:
    """Entered, it gives the number of calls of `encode` that may run at a time (see `Encoder`)."""
    parallel: Callable[[], AbstractContextManager[int]] = getattr(encoder, "parallel", lambda: nullcontext(1))
    return parallel()


def encode_each(
    encoder: Encoder, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]
) -> list[RegionTokens]:
    """Regions of pictures that may differ in size: a batch is one array, so it is cut where the size changes.

    sizes: width and height of each original, in whose pixels boxes are given.
    """
    out: list[RegionTokens] = []
    pairs = zip(images, sizes, strict=True)
    for (_, (width, height)), same in itertools.groupby(pairs, lambda pair: (pair[0].shape, pair[1])):
        out += encoder.encode([image for image, _ in same], width, height)
    return out


class Step:
    """Regions -> merge -> track -> views, for the frames of one source in order of time.

    size: width and height of the source. cuts: times of new shots since they were last cleared. state: what
    `checkpoint` gave, to go on from there. keep_views: hand out the pictures of the views too.

    Raises StoreError when the state is damaged, of another version, or of an encoder of another kind.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: IndexConfig,
        size: tuple[int, int],
        state: bytes = b"",
        *,
        keep_views: bool = False,
    ) -> None:
        self._config, self._size = config, size
        looker = view_encoder(encoder)
        self._views = None if looker is None else Views(looker, keep_views)
        self._tracker = Tracker(config.track, size)
        self._last: tuple[RegionTokens, NDArray[np.bool_]] | None = None
        self._colours: Float32 | None = None
        self._grey: Grey | None = None
        self.cuts: list[int] = []
        if state:
            tracker, views, self._colours, self._grey = _unpacked(state)
            if (views is None) != (self._views is None):
                raise StoreError("the source was begun by an encoder of another kind; `vidmem rm` it and index again")
            self._tracker = Tracker.restore(tracker, config.track, size)
            if self._views is not None and views is not None:
                self._views.restore(views)

    @property
    def born(self) -> int:
        """Tracks ever started."""
        return self._tracker.born

    def take(self, frame: Frame, found: RegionTokens) -> FrameRegions:
        """What is kept of a frame that was encoded. At a cut all tracks end, and `cuts` has its time."""
        shown = colours(frame.image)
        before, self._grey = self._grey, grey(frame.image)
        moved = None if before is None else shift(before, self._grey, *self._size)
        if self._colours is not None and is_cut(self._colours, shown, moved):
            self._tracker.close()
            self.cuts.append(frame.t_ns)
        self._colours = shown
        merged = merge(found, self._config.merge, frame_width=self._size[0], frame_height=self._size[1])
        self._last = merged, held(merged, self._config.merge.binarise)
        kept, ordinals = self._follow(frame.t_ns, moved)
        if self._views is not None:
            self._views.offer(frame, ordinals, merged, self._size)
        return kept

    def again(self, t_ns: int) -> FrameRegions:
        """The same for a frame that shows what the last one did, and was not encoded."""
        return self._follow(t_ns, (0.0, 0.0))[0]

    def _follow(self, t_ns: int, moved: tuple[float, float] | None) -> tuple[FrameRegions, NDArray[np.int64]]:
        assert self._last is not None  # the first frame, and the first after an interruption, is always encoded
        merged, masks = self._last
        ordinals = self._tracker.update(t_ns, merged, moved)
        followed = ordinals >= 0
        if followed.all():
            return FrameRegions(t_ns, ordinals, merged.boxes, masks), ordinals
        return FrameRegions(t_ns, ordinals[followed], merged.boxes[followed], masks[followed]), ordinals

    def checkpoint(self, *, over: bool = False) -> tuple[list[Track], bytes]:
        """The tracks that changed since the last one, and the state to go on from. over: the source is, nothing goes
        on, and the state is empty."""
        if over:
            self._tracker.close()
            tracks = self._tracker.drain()
            return tracks if self._views is None else self._views.settle(tracks), b""
        tracks = self._tracker.drain()
        if self._views is None:
            return tracks, _packed(self._tracker.state(), None, self._colours, self._grey)
        tracks = self._views.settle(tracks)
        self._views.forget(self._tracker.open_ordinals())
        return tracks, _packed(self._tracker.state(), self._views.state(), self._colours, self._grey)


def ended(state: bytes, looker: ViewEncoder, config: TrackConfig) -> bytes:
    """The state of a source whose tracks have all ended, for an encoder with this look: numbers of tracks go on, and no
    token of the encoder before joins one of this."""
    saved, _, shown, small = _unpacked(state)
    tracker = Tracker.restore(saved, config)
    tracker.close()
    tracker.drain()
    return _packed(tracker.state(), Views(looker).state(), shown, small)


def single(
    encoder: Encoder,
    image: NDArray[np.uint8],
    found: RegionTokens,
    size: tuple[int, int],
    config: IndexConfig,
    t_ns: int,
    first: int,
    *,
    keep_views: bool = False,
) -> tuple[FrameRegions, list[Track]]:
    """The regions of a single picture, each a track of its own that lasts for the one picture. first: its ordinal.
    keep_views: hand out the pictures of the views, if the encoder looks at any."""
    merged = merge(found, config.merge, frame_width=size[0], frame_height=size[1])
    sure = np.ones(len(merged), np.float32)
    marks: list[ViewMark] = []
    looker = view_encoder(encoder)
    if looker is not None:
        merged, views = looked_at(looker, image, merged, size, t_ns)
        marks = kept(views) if keep_views else []
        sure = np.minimum(np.linalg.norm(merged.text, axis=1), 1).astype(np.float32)
        merged = replace(merged, text=unit(merged.text))
    boxes = [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in merged.boxes]
    tracks = [
        Track(
            first + i,
            t_ns,
            t_ns,
            1,
            merged.visual[i],
            merged.text[i],
            t_ns,
            box,
            float(merged.confidence[i]),
            float(sure[i]),
            views=tuple(marks[i : i + 1]),
        )
        for i, box in enumerate(boxes)
    ]
    masks = held(merged, config.merge.binarise)
    return FrameRegions(t_ns, np.arange(first, first + len(merged)), merged.boxes, masks), tracks


def held(regions: RegionTokens, binarise: float) -> NDArray[np.bool_]:
    """The patches `(M, h, w)` that each mask holds, as its box has them: a mean of masks can stay below `binarise`
    everywhere."""
    m, h, w = regions.masks.shape
    return binarised(regions.masks.reshape(m, h * w), binarise).reshape(m, h, w)


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
