"""Give a memory the tokens of another encoder, from the views of its tracks: nothing is indexed again.

Only frames that a view was cut from are decoded. New tokens are collected beside the old ones, so an interrupted run
continues, and questions are answered with the old tokens until all are replaced at once.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..config import IndexConfig
from ..encoders.base import Encoder, ViewEncoder
from ..errors import MediaError, StoreError, UsageError
from ..geometry import box_iou
from ..media import known_photo, open_known
from ..media.images import load
from ..picture_reading import opened, rgb_array
from ..records import Box, Float32, RegionTokens, View, ViewMark
from ..store import ModelRecord, NewTokens, SourceRow, Store, TrackRow
from ..timecode import NS
from .step import closed_state
from .views import combined, cut, sharpness, shrink

BATCH = 32
"""Views that are encoded together."""
READ_ON_NS = 10 * NS
"""A view within this time (in ns) is reached by reading on, a later one by a jump to the key frame before it."""
SAME_IOU = 0.5
"""A region that the encoder finds now is the thing of the view when its box has at least this IoU with it."""

Progress = Callable[[str, int, int], None]
"""Called with the source, the number of tracks that are done, and of all tracks."""


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """Result of a re-embedding.

    Attributes:
        tracks: Tracks with the new tokens.
        before: Those of them that had the tokens before this run.
        views: Views that were encoded in this run.
        left: Source, cause and number of tracks whose views could not be had. No question finds these tracks until
            `reembed` is run with the source in its place.
        seconds: Time of this run.
    """

    tracks: int
    before: int
    views: int
    left: tuple[tuple[str, str, int], ...]
    seconds: float


@dataclass(slots=True)
class _Pending:
    """Tokens of one track so far. waiting: views that are still to come."""

    waiting: int
    visual: list[Float32] = field(default_factory=list)
    text: list[Float32] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)


def reembed(store: Store, encoder: Encoder, target: ModelRecord, progress: Progress | None = None) -> ReembedReport:
    """Give all tracks of a memory the tokens of `encoder`, whose record is `target`.

    Raises:
        UsageError: the encoder uses no views, or a source is not indexed to its end.
        StoreError: the memory cannot be written.
    """
    began = time.perf_counter()
    view_encoder = encoder.views
    if view_encoder is None:
        raise UsageError(f"`{target.encoder}` looks at whole frames, not at views; index again into another memory")
    rows = store.sources(states=True)
    if unfinished := next((row.uri for row in rows if row.state == "open"), None):
        raise UsageError(f"a source is not indexed to its end; run `vidmem index` on it first: {unfinished}")
    done = store.begin_tokens(target)
    fps = IndexConfig.from_dict(target.config).fps
    tracks = {row.id: store.source_tracks(row.id) for row in rows}
    total, before, views = sum(map(len, tracks.values())), len(done), 0
    left: list[tuple[str, str, int]] = []
    for row in rows:
        wanted = [track for track in tracks[row.id] if track.id not in done]
        run = _Run(store, encoder, view_encoder, row, wanted, store.views(row.id), fps)
        for finished in run:
            done |= finished
            if progress:
                progress(row.uri, len(done), total)
        views += run.encoded
        if missing := len(wanted) - run.finished:
            left.append((row.uri, run.cause or "a frame cannot be decoded again", missing))
    # The state of a live source holds tokens of the old encoder.
    track = IndexConfig.from_dict(target.config).track
    states = {row.id: closed_state(row.tracker_state, view_encoder, track) for row in rows if row.tracker_state}
    store.adopt_tokens(target, states)
    return ReembedReport(len(done), before, views, tuple(left), time.perf_counter() - began)


class _Run:
    """One source: an iterator over sets of tracks that are done. cause: why it did not get to its end."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        view_encoder: ViewEncoder,
        row: SourceRow,
        tracks: Sequence[TrackRow],
        views: Mapping[int, list[ViewMark]],
        fps: float,
    ) -> None:
        self._fps = fps
        self._store, self._encoder, self._view_encoder, self._row = store, encoder, view_encoder, row
        self._size = row.width, row.height
        self._marks = [
            (mark, track.id)
            for track in tracks
            for mark in views.get(track.id, ()) or (ViewMark(track.best_ns, track.best_box, 1.0),)
        ]
        self._pending: dict[int, _Pending] = {}
        for _, track_id in self._marks:
            self._pending.setdefault(track_id, _Pending(0)).waiting += 1
        self.encoded = self.finished = 0
        self.cause = ""

    def __iter__(self) -> Iterator[set[int]]:
        batch: list[tuple[View, ViewMark, int]] = []
        for made in self._views():
            batch.append(made)
            if len(batch) == BATCH:
                yield self._look(batch)
                batch = []
        if batch:
            yield self._look(batch)
        # Of what is left some views were seen: better than none.
        rest = {track_id for track_id, seen in self._pending.items() if seen.visual}
        if rest:
            yield self._put(rest)

    def _look(self, batch: list[tuple[View, ViewMark, int]]) -> set[int]:
        seen = self._view_encoder.look([view for view, _, _ in batch])
        self.encoded += len(batch)
        for (_, mark, track_id), visual, text in zip(batch, seen.visual, seen.text, strict=True):
            pending = self._pending[track_id]
            pending.waiting -= 1
            pending.visual.append(visual)
            pending.text.append(text)
            pending.quality.append(mark.quality)
        return self._put({track_id for _, _, track_id in batch if not self._pending[track_id].waiting})

    def _put(self, ids: set[int]) -> set[int]:
        rows = []
        for track_id in sorted(ids):
            pending = self._pending.pop(track_id)
            visual, text, sure = combined(
                np.array(pending.visual, np.float32),
                np.array(pending.text, np.float32),
                np.array(pending.quality, np.float32),
            )
            rows.append(NewTokens(track_id, visual, text, sure))
        self._store.put_tokens(rows)
        self.finished += len(rows)
        return ids

    def _views(self) -> Iterator[tuple[View, ViewMark, int]]:
        """Yield every view that can be had, in order of time: from the source, or from the picture that was kept."""
        by_time: dict[int, list[tuple[ViewMark, int]]] = {}
        for mark, track_id in sorted(self._marks, key=lambda pair: (pair[0].t_ns, pair[1])):
            by_time.setdefault(mark.t_ns, []).append((mark, track_id))
        frames = self._single_pictures if self._row.kind.single_pictures else self._frames
        seen: set[int] = set()
        try:
            for t_ns, image, size in frames(sorted(by_time)):
                seen.add(t_ns)
                found = self._found(image, size)
                for mark, track_id in by_time[t_ns]:
                    yield self._view(image, mark, size, _hint(found, mark.box)), mark, track_id
        except (MediaError, UsageError) as error:
            self.cause = str(error)
        for t_ns, pairs in by_time.items():
            for mark, track_id in pairs:
                if t_ns not in seen and mark.image is not None:
                    yield self._kept(mark), mark, track_id

    def _found(self, image: NDArray[np.uint8], size: tuple[int, int]) -> RegionTokens | None:
        if not self._view_encoder.wants_hint:
            return None
        return self._encoder.encode([image], *size)[0]

    def _view(
        self, image: NDArray[np.uint8], mark: ViewMark, size: tuple[int, int], hint: tuple[Float32, float]
    ) -> View:
        picture = cut(image, mark.box, size, self._view_encoder.view_pixels)
        return View(picture, mark.box, size, mark.t_ns, hint[0], sharpness(picture), hint[1])

    def _kept(self, mark: ViewMark) -> View:
        """Make the view from its picture in the memory, which holds the box with its margin, and its hint."""
        try:
            with opened(io.BytesIO(mark.image or b""), self._row.uri, what="a kept view") as kept:
                picture = rgb_array(kept.load(more=7))
        except MediaError as error:
            raise StoreError(f"{str(error).partition(';')[0]}; restore the memory from a backup") from None
        hint = np.array(mark.hint if self._view_encoder.wants_hint else (), np.float32)
        small = shrink(picture, self._view_encoder.view_pixels)
        size = self._size
        if self._row.kind.single_pictures and (held := self._store.picture(self._row.id, mark.t_ns)) is not None:
            size = held.width, held.height
        return View(small, mark.box, size, mark.t_ns, hint, sharpness(small), mark.confidence)

    def _frames(self, times: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8], tuple[int, int]]]:
        if not times:
            return
        with open_known(self._row) as source:
            # Both are rising, so a time that was passed is not in the source any more.
            wanted = iter(times)
            t_ns: int | None = next(wanted)
            while t_ns is not None:
                start = t_ns
                for frame in source.frames(self._fps, t_ns, shape=self._encoder.working_size):
                    while t_ns is not None and t_ns < frame.t_ns:
                        t_ns = next(wanted, None)
                    if t_ns == frame.t_ns:
                        yield t_ns, frame.image, self._size
                        t_ns = next(wanted, None)
                    if t_ns is None or t_ns - frame.t_ns > READ_ON_NS:
                        break
                else:
                    return
                if t_ns == start:  # nothing was read; a damaged end
                    t_ns = next(wanted, None)

    def _single_pictures(self, times: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8], tuple[int, int]]]:
        paths = self._store.picture_paths(self._row.id, times)
        for t_ns in times:
            picture = self._store.picture(self._row.id, t_ns)
            path = None if picture is None else known_photo(paths.get(t_ns, ()), picture.digest)
            if picture is None or path is None:
                self.cause = "a picture is no longer there, or is another one"
                continue
            try:
                yield t_ns, load(path, self._encoder.working_size, path), (picture.width, picture.height)
            except MediaError as error:
                self.cause = str(error)


def _hint(found: RegionTokens | None, box: Box) -> tuple[Float32, float]:
    """Return the text token that the encoder now finds for the thing in the box, and the confidence of its region."""
    if found is None or not len(found):
        return np.zeros(0, np.float32), 1.0
    fits = box_iou(found.boxes, box)
    best = int(fits.argmax())
    if fits[best] < SAME_IOU:
        return np.zeros(0, np.float32), 1.0
    return found.text[best].copy(), float(found.confidence[best])
