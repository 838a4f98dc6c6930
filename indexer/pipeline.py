"""Index a video or log: decode ahead, encode in batches, take each frame into the step, write checkpoints.

Frames that show nothing new are not encoded (see gating.py); they repeat the regions of the last encoded frame. The
first frame after a checkpoint is always encoded, so that the tracker's state is all that a resumed run needs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import MediaError, StoreError
from ..media import Source, decode_ahead
from ..records import Frame, Mark, SourceInfo
from ..store import SourceRow, Store
from . import looking_again
from .encoding import encoded_ahead
from .gating import FrameGate
from .progress import Progress
from .step import FrameStep

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """Result of indexing one source.

    Attributes:
        info: The source.
        frames: Frames sampled in all runs.
        new_frames: Frames sampled in this run.
        media_s: Seconds of video from its start to the last sampled frame.
        seconds: Time of this run.
        tracks: Tracks of the source; 0 when it was skipped.
        damaged: Packets or frames skipped in all runs.
        notes: The first few causes of damage.
        skipped: True when an earlier run had finished it.
        still: New frames that showed nothing new and were not encoded.
        calls: Calls of the encoder, each with a batch of frames.
    """

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
        """Frames that were encoded in this run."""
        return self.new_frames - self.still


@dataclass(slots=True)
class _Batch:
    """Consecutive frames.

    to_encode: the frames that need encoding. shown: for each frame its time, its place in the log, and whether it is in
    `to_encode`; else it shows what the frame before it does. damage: packets and frames lost up to the last of them.
    """

    to_encode: list[Frame] = field(default_factory=list)
    shown: list[tuple[int, Mark | None, bool]] = field(default_factory=list)
    damage: int = 0


def done_before(source: Source, store: Store, pose: str | None = None) -> SourceReport | None:
    """Return the report of a source that an earlier run finished; None when there is something to do.

    pose: as in `index_source`; the poses of this topic replace those that the memory has.
    """
    trail = None if pose is None else source.trail(pose)  # one that is not there fails before anything is written
    row = looking_again.begin(store, source.info)
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

    Interrupted and resumed, it writes exactly what an uninterrupted run writes. Batches start at the same frames, and
    the state of tracks and views is part of every checkpoint.

    Args:
        source: The source, open.
        encoder: The encoder.
        store: The memory, open for writing.
        config: The settings.
        progress: Called after each batch.
        pose: Topic of the poses to keep with it; see `Source.trail`.
        keep_views: Keep the pictures of the views too.

    Raises:
        MediaError: no frame at all can be read.
        StoreError: the memory cannot be written.
    """
    began = time.perf_counter()
    if known := done_before(source, store, pose):
        return known
    info = source.info
    row = store.begin_source(info)
    _log.info("watching from %.1f s of %.1f s: %s", (row.next_t_ns or 0) / 1e9, info.duration_ns / 1e9, info.uri)
    step = FrameStep(encoder, config, row, keep_views=keep_views, open_ended=not info.duration_ns)
    if (row.next_t_ns is None or pose is not None) and (trail := source.trail(pose)) is not None:
        store.set_trail(row.id, trail)
    calls = 0
    # One thread decodes ahead and others encode, while this one merges and follows, so that no core waits.
    frames = decode_ahead(_frames(source, encoder, config, step.next_t_ns, row.frames), 2 * config.batch)
    with (
        closing(frames),
        encoder.parallel() as workers,
        closing(
            encoded_ahead(
                _batches(frames, step.gate, config),
                lambda batch: encoder.encode_frames(batch.to_encode, info),
                workers,
            )
        ) as encoded,
    ):
        for batch, regions in encoded:
            found = iter(zip(batch.to_encode, regions, strict=True))
            for t_ns, mark, is_new in batch.shown:
                if is_new:
                    step.take(*next(found))
                else:
                    step.repeat(t_ns, mark)
            step.damaged = row.damaged + batch.damage
            calls += bool(batch.to_encode)
            if step.due:
                store.checkpoint(row.id, step.checkpoint())
            if progress:
                progress(step.next_t_ns - 1, step.frames_done)
    if not step.frames_done:
        with suppress(StoreError):  # a reader in the way of the scrub: there is nothing to scrub
            store.remove_source(row.id)
        raise MediaError(f"no frame can be read; is it damaged or empty?: {info.uri}")
    step.damaged = row.damaged + source.damage.packets + source.damage.frames
    looking_again.finish(store, row.id, info)  # before the source counts as done: a kill in between is made good
    store.checkpoint(row.id, step.checkpoint(last=True))
    new, notes = step.encoded + step.gated, tuple(source.damage.notes)
    _log.info("%d frames in %d calls of the encoder, %.1f s: %s", new, calls, time.perf_counter() - began, info.uri)
    return _report(store.source_by_id(row.id), info, new, began, notes, step.born, still=step.gated, calls=calls)


def _frames(
    source: Source, encoder: Encoder, config: IndexConfig, start_ns: int, index: int
) -> Iterator[tuple[Frame, int]]:
    """Yield frames, each with the damage met so far.

    The thread that decodes ahead has met more than a checkpoint may count, since a resumed run meets it again.
    """
    for frame in source.frames(config.fps, start_ns, start_index=index, shape=encoder.working_size):
        yield frame, source.damage.packets + source.damage.frames


def _batches(frames: Iterator[tuple[Frame, int]], gate: FrameGate, config: IndexConfig) -> Generator[_Batch]:
    """Batches in order, each with at most `IndexConfig.batch` frames to encode.

    A batch ends at each checkpoint, and the gate is reset there: an interrupted run begins at that frame.
    """
    batch = _Batch()
    for number, (frame, batch.damage) in enumerate(frames, 1):
        is_new = gate.needs_encoding(frame.image)
        if is_new:
            batch.to_encode.append(frame)
        batch.shown.append((frame.t_ns, frame.mark, is_new))
        at_checkpoint = number % config.checkpoint_frames == 0
        if at_checkpoint:
            gate.reset()
        if at_checkpoint or len(batch.to_encode) == config.batch:
            yield batch
            batch = _Batch()
    if batch.shown:
        yield batch


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
