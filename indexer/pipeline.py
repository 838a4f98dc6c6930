"""From a source to the store: decode ahead, encode in batches, merge, follow, write one transaction per checkpoint.

Frames that show nothing new are not encoded (see still.py): the regions of the last one that was stand for them. The
first frame after a checkpoint always is, so that nothing but the tracker has to be remembered to go on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import MediaError, StoreError
from ..media import Source, decode_ahead
from ..records import Frame, FrameRegions, Mark, RegionTokens, SourceInfo
from ..store import SourceRow, SourceState, Store
from .gating import Still
from .step import Step, encode_each, working_in_parallel

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the media time done and the frames done after each batch."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What indexing one source came to. frames: sampled in all; new_frames: of these, in this run. media_s: seconds
    of video from its start to the last sampled frame. damaged: packets or frames skipped, with the first few causes
    in notes. skipped: it was done before (tracks is 0 then). still: of new_frames, those that showed nothing new and
    were not encoded. calls: of the encoder, each with a batch of frames."""

    info: SourceInfo
    frames: int
    new_frames: int
    media_s: float
    seconds: float
    tracks: int
    damaged: int
    notes: tuple[str, ...] = ()
    skipped: bool = False
    still: int = 0
    calls: int = 0

    @property
    def encoded(self) -> int:
        """Frames that the encoder looked at in this run."""
        return self.new_frames - self.still


@dataclass(slots=True)
class _Batch:
    """Frames in a row. pictures: those to be encoded. shown: of all, time, place in the log, and whether it is one of
    `pictures`; else it shows what the one before does. damage: met until the last of them."""

    pictures: list[Frame] = field(default_factory=list)
    shown: list[tuple[int, Mark | None, bool]] = field(default_factory=list)
    damage: int = 0


def done_before(source: Source, store: Store, pose: str | None = None) -> SourceReport | None:
    """The report of a source that an earlier run finished; None when there is something to do. pose: as `index_source`;
    the poses are taken from there in place of those before."""
    trail = None if pose is None else source.trail(pose)  # one that is not there fails before anything is written
    row = store.begin_source(source.info)
    if row.state == "open":
        return None
    if trail is not None:
        store.set_trail(row.id, trail)
    return _report(row, source.info, 0, time.perf_counter(), (), 0, skipped=True)


def index_source(
    source: Source,
    encoder: Encoder,
    store: Store,
    config: IndexConfig,
    progress: Progress | None = None,
    pose: str | None = None,
    *,
    keep_views: bool = False,
) -> SourceReport:
    """Index `source` into `store`, from where an earlier run stopped.

    pose: topic of the poses to keep with it, see `Source.trail`. keep_views: keep the pictures of the views too.

    Interrupted and resumed, it writes exactly what an uninterrupted run writes: batches start at the same frames,
    and the state of tracks and views is part of every checkpoint. Raises MediaError when no frame at all can be read.
    """
    began = time.perf_counter()
    if known := done_before(source, store, pose):
        return known
    info = source.info
    row = store.begin_source(info)
    _log.info("watching from %.1f s of %.1f s: %s", (row.next_t_ns or 0) / 1e9, info.duration_ns / 1e9, info.uri)
    step = Step(encoder, config, (info.width, info.height), row.tracker_state, keep_views=keep_views)
    start_ns, done, damaged_before = row.next_t_ns or 0, row.frames, row.damaged
    first = done
    met = still = calls = 0
    pending: list[FrameRegions] = []
    marks: list[tuple[int, Mark]] = []
    first_time = row.next_t_ns is None
    if (first_time or pose is not None) and (trail := source.trail(pose)) is not None:
        store.set_trail(row.id, trail)

    def checkpoint(state: SourceState) -> None:
        tracks, resume = step.checkpoint(over=state != "open")
        store.checkpoint(
            row.id,
            tracks,
            pending,
            next_t_ns=start_ns,
            frames_done=done,
            damaged=damaged_before + met,
            tracker_state=resume,
            state=state,
            marks=marks,
            cuts=step.cuts,
            duration_ns=None if info.duration_ns else start_ns - 1,
        )
        pending.clear()
        step.cuts.clear()
        marks.clear()

    # One thread decodes ahead and others encode, while this one merges and follows, so that no core waits.
    frames = decode_ahead(_frames(source, encoder, config, start_ns, done), 2 * config.batch)
    with (
        closing(frames),
        working_in_parallel(encoder) as workers,
        closing(_encoded(frames, encoder, config, info, workers)) as encoded,
    ):
        for batch, regions in encoded:
            found = iter(zip(batch.pictures, regions, strict=True))
            for t_ns, mark, new in batch.shown:
                pending.append(step.take(*next(found)) if new else step.again(t_ns))
                if mark is not None:
                    marks.append((t_ns, mark))
            done, met = done + len(batch.shown), batch.damage
            still += len(batch.shown) - len(batch.pictures)
            calls += bool(batch.pictures)
            start_ns = batch.shown[-1][0] + 1
            if len(pending) >= config.checkpoint_frames:
                checkpoint("open")
            if progress:
                progress(start_ns - 1, done)
    if not done:
        with suppress(StoreError):  # a reader in the way of the scrub: there is nothing to scrub
            store.remove_source(row.id)
        raise MediaError(f"no frame can be read; is it damaged or empty?: {info.uri}")
    met = source.damage.packets + source.damage.frames
    checkpoint("partial" if damaged_before + met else "done")
    notes = tuple(source.damage.notes)
    took_s = time.perf_counter() - began
    _log.info("%d frames in %d calls of the encoder, %.1f s: %s", done - first, calls, took_s, info.uri)
    return _report(store.source_by_id(row.id), info, done - first, began, notes, step.born, still=still, calls=calls)


def _frames(
    source: Source, encoder: Encoder, config: IndexConfig, start_ns: int, index: int
) -> Iterator[tuple[Frame, int]]:
    """Frames, each with the damage met until then: the thread that decodes ahead has met more than a checkpoint may
    count, since a resumed run meets it again."""
    for frame in source.frames(config.fps, start_ns, start_index=index, shape=encoder.working_size):
        yield frame, source.damage.packets + source.damage.frames


def _planned(frames: Iterator[tuple[Frame, int]], config: IndexConfig) -> Generator[_Batch]:
    """Batches in order, each with at most `batch` pictures. One ends at each checkpoint, and with it all memory of the
    pictures before: an interrupted run begins there."""
    still, batch = Still(config.still), _Batch()
    for number, (frame, batch.damage) in enumerate(frames, 1):
        new = still.needs_encoding(frame.image)
        if new:
            batch.pictures.append(frame)
        batch.shown.append((frame.t_ns, frame.mark, new))
        over = number % config.checkpoint_frames == 0
        if over:
            still.forget()
        if over or len(batch.pictures) == config.batch:
            yield batch
            batch = _Batch()
    if batch.shown:
        yield batch


def _encoded(
    frames: Iterator[tuple[Frame, int]], encoder: Encoder, config: IndexConfig, info: SourceInfo, workers: int
) -> Generator[tuple[_Batch, list[RegionTokens]]]:
    """Batches in order, with the regions of their pictures; `workers` encoded at a time, one waiting.

    A source that breaks off does so after the batches before.
    """
    running: deque[tuple[_Batch, Future[list[RegionTokens]]]] = deque()

    def oldest() -> tuple[_Batch, list[RegionTokens]]:
        batch, result = running.popleft()
        return batch, result.result()

    pool = ThreadPoolExecutor(workers, "vidmem-encode")
    batches = _planned(frames, config)
    failure: Exception | None = None
    try:
        while True:
            try:
                if (batch := next(batches, None)) is None:
                    break
            except Exception as error:
                failure = error
                break
            running.append((batch, pool.submit(_encode, encoder, batch.pictures, info)))
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
    return encode_each(encoder, [frame.image for frame in batch], [(info.width, info.height)] * len(batch))


def _report(
    row: SourceRow,
    info: SourceInfo,
    new: int,
    began: float,
    notes: tuple[str, ...],
    tracks: int,
    skipped: bool = False,
    still: int = 0,
    calls: int = 0,
) -> SourceReport:
    return SourceReport(
        info=info,
        frames=row.frames,
        new_frames=new,
        media_s=max(row.next_t_ns or 0, 0) / 1e9,
        seconds=time.perf_counter() - began,
        tracks=tracks,
        damaged=row.damaged,
        notes=notes,
        skipped=skipped,
        still=still,
        calls=calls,
    )
