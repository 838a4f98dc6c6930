"""Make a shard: index its sources into a memory as `Memory.index` does, seal it, and send it to where shards lie.

The memory lies in a folder of the worker's machine that is named after the task. A worker that takes the task up again
on that machine continues after the last checkpoint.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ..encoders import Encoder
from ..errors import MediaError, StoreError, UsageError, VidmemError
from ..fleet import manifest as manifests
from ..fleet.sealing import seal
from ..fleet.storage import upload
from ..indexer.amounts import PHOTO_NS
from ..indexer.dating import parse_choice
from ..indexer.indexing import IndexOptions, index_all
from ..indexer.plan import Album, planned
from ..indexer.progress import IndexProgress, Progress
from ..media import Found, Photos, Source
from ..store import ModelRecord, Store
from ..store.files import sealed
from .inputs import Input
from .moving import fetch_piece, pieces_place
from .pieces import Piece
from .plan import ShardTask
from .relaying import LookingUp
from .settings import Settings

_log = logging.getLogger(__name__)

Watch = Callable[[str, int, int], None]
"""Called with the source, the media time in ns that is done of the task, and the frames of the source."""


@dataclass(frozen=True, slots=True)
class SourceMade:
    """What became of one source.

    Attributes:
        name: As `Input.name`.
        line: Its line in the list.
        frames: Sampled frames, or different photos.
        tracks: Tracks of it.
        media_s: Seconds of media.
        seconds: Time that this worker took.
        damaged: Packets, frames or files left out.
        notes: The first causes of damage.
        error: Why it is not in the shard; empty if it is.
    """

    name: str
    line: int = 0
    frames: int = 0
    tracks: int = 0
    media_s: float = 0.0
    seconds: float = 0.0
    damaged: int = 0
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class ShardMade:
    """What became of a task.

    Attributes:
        key: The task.
        manifest: The text of the shard's manifest; empty if no source could be indexed.
        uri: Where the shard lies.
        sources: What became of each source.
        seconds: Time of this worker.
        cpu_s: CPU seconds of its process meanwhile.
        sealing_s: How much of it went into sealing and sending.
        looked_up, encoded: Answers of the encoder that were in pieces, and those that were not, of a source that was
            encoded in stretches.
    """

    key: str
    manifest: bytes
    uri: str
    sources: tuple[SourceMade, ...]
    seconds: float
    cpu_s: float = 0.0
    sealing_s: float = 0.0
    looked_up: int = 0
    encoded: int = 0


def folder_of(work: Path, key: str) -> Path:
    """The folder of a task on this machine."""
    return work / key[:32]


def made_folder(folder: Path) -> None:
    """Make the folder of a task, if it is not there. Raises StoreError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise StoreError(
            f"the folder for unfinished memories cannot be made ({cause}); check the disk, or choose another one: "
            f"{folder}"
        ) from None


def make_shard(
    task: ShardTask,
    settings: Settings,
    encoder: Callable[[], Encoder],
    work: Path,
    to: str,
    pieces: Sequence[str] = (),
    watch: Watch | None = None,
) -> ShardMade:
    """Index the sources of a task, seal the memory, and send it to `to`.

    Args:
        task: The task.
        settings: The settings.
        encoder: Called when there is something to encode.
        work: Folder for unfinished memories.
        to: Where shards lie.
        pieces: Keys of the pieces of a source that was encoded in stretches.
        watch: Called after each batch.

    Raises:
        StoreError: The memory cannot be written, sealed or sent.
        LockedError: Another process works on this task.
        ModelError: The encoder cannot be used.
    """
    began, cpu = time.perf_counter(), time.process_time()
    folder = folder_of(work, task.key)
    memory = folder / "memory"
    made_folder(folder)
    with ExitStack() as stack:
        relay: LookingUp | None = None

        def looking_up() -> Encoder:
            nonlocal relay
            loaded = encoder()
            if not pieces:
                return loaded
            if relay is None:
                at = pieces_place(to, task.key)
                paths = [fetch_piece(at, key, folder / "pieces") for key in pieces]
                opened = [Piece.open(path, about_piece(task.key)) for path in paths if path is not None]
                relay = LookingUp(loaded, [stack.enter_context(piece) for piece in opened if piece is not None])
            return relay

        made = _reports_of(memory, task) if sealed(memory) else _index(memory, task, settings, looking_up, watch)
        seconds = time.perf_counter() - began
        if all(source.error for source in made):
            shutil.rmtree(folder, ignore_errors=True)
            return ShardMade(task.key, b"", "", tuple(made), seconds, time.process_time() - cpu)
        found = seal(memory)
        uri = upload(memory, to)
        shutil.rmtree(folder / "pieces", ignore_errors=True)
    whole, cpu = time.perf_counter() - began, time.process_time() - cpu
    counts = (0, 0) if relay is None else (relay.found, relay.encoded)
    return ShardMade(task.key, found.text(), uri, tuple(made), whole, cpu, whole - seconds, *counts)


def about_piece(key: str) -> str:
    """What the pieces of a shard say that they are for."""
    return f"shard {key}"


def _index(
    memory: Path, task: ShardTask, settings: Settings, encoder: Callable[[], Encoder], watch: Watch | None
) -> list[SourceMade]:
    made = []
    record = ModelRecord(
        settings.name,
        settings.weights,
        settings.visual_dim,
        settings.text_dim,
        settings.config.as_dict(),
        settings.regions,
    )
    with Store.open(memory, write=True, create=True) as store:
        store.set_model(record)
        before = 0
        for given in task.inputs:
            made.append(_index_one(given, store, settings, encoder, _watching(watch, given, before)))
            before += given.cost_ns
    return made


def _watching(watch: Watch | None, given: Input, before: int) -> Callable[[IndexProgress], None] | None:
    if watch is None:
        return None

    def call(at: IndexProgress) -> None:
        done = at.frames * PHOTO_NS if given.is_album else at.done_ns
        watch(given.name, before + min(done, given.cost_ns or done), at.frames)

    return call


def _index_one(
    given: Input,
    store: Store,
    settings: Settings,
    encoder: Callable[[], Encoder],
    progress: Callable[[IndexProgress], None] | None,
) -> SourceMade:
    """Index one source. What cannot be read is told in the result; then the memory has nothing of it."""
    failure: list[VidmemError] = []

    def on_source(name: str, opened: Source | Album | MediaError) -> Progress | None:
        if isinstance(opened, MediaError):
            failure.append(opened)
        return None

    recorded = given.entry.recorded or settings.recorded
    options = IndexOptions(
        decoder=settings.decoder,
        pose=settings.pose if given.address.part else None,
        keep_views=settings.keep_views,
        recorded=None if recorded is None else parse_choice(recorded),
        progress=progress,
        on_source=on_source,
    )
    made = SourceMade(given.name, given.entry.line)
    try:
        found: list[Found] = [given.address] if not given.is_album else [Photos(path) for path in given.photos]
        reports = index_all(planned(found, store), store, encoder, settings.config, options)
    except (MediaError, UsageError) as error:  # the photos are gone, or a log has no such poses
        failure.append(error)
        reports = []
    if failure and not reports:
        for row in store.sources():  # what was begun before it broke
            if row.uri == given.name and row.state == "open":
                store.remove_source(row.id)
        return replace(made, error=str(failure[0]))
    report = reports[0]
    return replace(
        made,
        frames=report.frames,
        tracks=_tracks(store, given.name) if report.skipped or report.new_frames < report.frames else report.tracks,
        media_s=report.media_s,
        seconds=report.seconds,
        damaged=report.damaged,
        notes=report.notes,
    )


def _tracks(store: Store, name: str) -> int:
    return next((len(store.source_tracks(row.id)) for row in store.sources() if row.uri == name), 0)


def _reports_of(memory: Path, task: ShardTask) -> list[SourceMade]:
    """What the sources of a task became whose memory an earlier run sealed, but was stopped before it said so."""
    found = {source.row.uri: source for source in manifests.load(memory).sources}
    made = []
    for given in task.inputs:
        source = found.get(given.name)
        if source is None:
            made.append(SourceMade(given.name, given.entry.line, error="it could not be read in an earlier run"))
            continue
        row = source.row
        made.append(
            SourceMade(given.name, given.entry.line, row.frames, source.tracks, max(row.next_t_ns or 0, 0) / 1e9, 0.0)
        )
    return made
