"""From a source to the store: decode ahead, encode in batches, merge, follow, write one transaction per checkpoint."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import MediaError, StoreError
from ..geometry import binarised
from ..media import Source, decode_ahead
from ..records import Frame, FrameRegions, Mark, RegionTokens, SourceInfo, Trail
from ..store import SourceRow, Store
from .merge import merge
from .track import Tracker

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with the media time done and the frames done after each batch."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What indexing one source came to. frames: sampled in all; new_frames: of these, in this run. media_s: seconds
    of video from its start to the last sampled frame. damaged: packets or frames skipped, with the first few causes
    in notes. skipped: it was done before (tracks is 0 then)."""

    info: SourceInfo
    frames: int
    new_frames: int
    media_s: float
    seconds: float
    tracks: int
    damaged: int
    notes: tuple[str, ...] = ()
    skipped: bool = False


def done_before(source: Source, store: Store) -> SourceReport | None:
    """The report of a source that an earlier run finished; None when there is something to do."""
    row = store.begin_source(source.info)
    if row.state == "open":
        return None
    return _report(row, source.info, 0, time.perf_counter(), (), 0, skipped=True)


def index_source(
    source: Source, encoder: Encoder, store: Store, config: IndexConfig, progress: Progress | None = None
) -> SourceReport:
    """Index `source` into `store`, from where an earlier run stopped.

    Interrupted and resumed, it writes exactly what an uninterrupted run writes: batches start at the same frames,
    and the tracker's state is part of every checkpoint. Raises MediaError when no frame at all can be read.
    """
    began = time.perf_counter()
    if known := done_before(source, store):
        return known
    info = source.info
    row = store.begin_source(info)
    tracker = Tracker.restore(row.tracker_state, config.track) if row.tracker_state else Tracker(config.track)
    start_ns, done, damaged_before = row.next_t_ns or 0, row.frames, row.damaged
    first = done
    met = 0
    pending: list[FrameRegions] = []
    marks: list[tuple[int, Mark]] = []
    read_trail: Callable[[], Trail | None] = getattr(source, "trail", lambda: None)
    if row.next_t_ns is None and (trail := read_trail()) is not None:
        store.set_trail(row.id, trail)

    def checkpoint(state: str) -> None:
        store.checkpoint(
            row.id, tracker.drain(), pending, next_t_ns=start_ns, frames_done=done,
            damaged=damaged_before + met,
            tracker_state=tracker.state() if state == "open" else b"", state=state,  # type: ignore[arg-type]
            marks=marks,
        )  # fmt: skip
        pending.clear()
        marks.clear()

    # One thread decodes ahead and others encode, while this one merges and follows, so that no core waits.
    frames = decode_ahead(_frames(source, encoder, config, start_ns, done), 2 * config.batch)
    parallel: Callable[[], AbstractContextManager[int]] = getattr(encoder, "parallel", lambda: nullcontext(1))
    with closing(frames), parallel() as workers, closing(
        _encoded(frames, encoder, config.batch, info, workers)
    ) as encoded:
        for batch, regions, damage in encoded:
            for frame, tokens in zip(batch, regions, strict=True):
                merged = merge(tokens, config.merge, frame_width=info.width, frame_height=info.height)
                ordinals = tracker.update(frame.t_ns, merged)
                if frame.mark is not None:
                    marks.append((frame.t_ns, frame.mark))
                pending.append(FrameRegions(frame.t_ns, ordinals, merged.boxes, _held(merged, config.merge.binarise)))
            done, met = done + len(batch), damage
            start_ns = batch[-1].t_ns + 1
            if len(pending) >= config.checkpoint_frames:
                checkpoint("open")
            if progress:
                progress(batch[-1].t_ns, done)
    if not done:
        with suppress(StoreError):  # a reader in the way of the scrub: there is nothing to scrub
            store.remove_source(row.id)
        raise MediaError(f"no frame can be read; is it damaged or empty?: {info.uri}")
    tracker.close()
    met = source.damage.packets + source.damage.frames
    checkpoint("partial" if damaged_before + met else "done")
    notes = tuple(source.damage.notes)
    return _report(store.source_by_id(row.id), info, done - first, began, notes, tracker.born)


def _frames(
    source: Source, encoder: Encoder, config: IndexConfig, start_ns: int, index: int
) -> Iterator[tuple[Frame, int]]:
    """Frames, each with the damage met until then: the thread that decodes ahead has met more than a checkpoint may
    count, since a resumed run meets it again."""
    for frame in source.frames(config.fps, start_ns, start_index=index, shape=encoder.working_size):
        yield frame, source.damage.packets + source.damage.frames


def _encoded(
    frames: Iterator[tuple[Frame, int]], encoder: Encoder, size: int, info: SourceInfo, workers: int
) -> Generator[tuple[list[Frame], list[RegionTokens], int]]:
    """Batches in order, with their regions and the damage met until then; `workers` encoded at a time, one waiting.

    A source that breaks off does so after the batches before.
    """
    running: deque[tuple[list[Frame], Future[list[RegionTokens]], int]] = deque()

    def oldest() -> tuple[list[Frame], list[RegionTokens], int]:
        batch, result, damage = running.popleft()
        return batch, result.result(), damage

    pool = ThreadPoolExecutor(workers, "vidmem-encode")
    batches = _batches(frames, size)
    failure: Exception | None = None
    try:
        while True:
            try:
                if (pairs := next(batches, None)) is None:
                    break
            except Exception as error:
                failure = error
                break
            batch = [frame for frame, _ in pairs]
            running.append((batch, pool.submit(_encode, encoder, batch, info), pairs[-1][1]))
            if len(running) > workers:
                yield oldest()
        while running:
            yield oldest()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)


def _encode(encoder: Encoder, batch: list[Frame], info: SourceInfo) -> list[RegionTokens]:
    told: Callable[[list[Frame], SourceInfo], list[RegionTokens]] | None = getattr(encoder, "encode_frames", None)
    if told is not None:
        return told(batch, info)
    # Pictures of a folder may differ in size; a batch is one array, so it is cut where the size changes.
    out: list[RegionTokens] = []
    for _, same in itertools.groupby(batch, lambda frame: frame.image.shape):
        out += encoder.encode([frame.image for frame in same], info.width, info.height)
    return out


def _held(regions: RegionTokens, binarise: float) -> NDArray[np.bool_]:
    """The patches that each mask holds, as its box has them: a mean of masks can stay below `binarise` everywhere."""
    m, h, w = regions.masks.shape
    return binarised(regions.masks.reshape(m, h * w), binarise).reshape(m, h, w)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _report(row: SourceRow, info: SourceInfo, new: int, began: float, notes: tuple[str, ...], tracks: int,
            skipped: bool = False) -> SourceReport:  # fmt: skip
    return SourceReport(
        info=info, frames=row.frames, new_frames=new, media_s=max(row.next_t_ns or 0, 0) / 1e9,
        seconds=time.perf_counter() - began, tracks=tracks, damaged=row.damaged, notes=notes,
        skipped=skipped,
    )  # fmt: skip
