"""A folder of single pictures into the store: each content once, nothing followed from picture to picture.

Unlike a video the folder may grow: a later run reads what is new or changed and leaves the rest. A checkpoint holds
pictures and the files that were looked at in one transaction, so that a run that was killed goes on behind it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import MediaError, UsageError
from ..media import decode_ahead
from ..media.exif import taken
from ..media.pictures import Listed, Read, list_pictures, read_pictures
from ..media.recorded import of_file
from ..records import FrameRegions, RegionTokens, SourceInfo, Track
from ..store import PICTURE_NS, PICTURES, Part, Picture, PictureFile, SourceRow, Store
from .step import encode_each, single, working_in_parallel

Looked = Callable[[str, int], None]
"""Called with the file that was looked at last and how many were in all."""


@dataclass(frozen=True, slots=True)
class PicturesReport:
    """What indexing a folder came to. files: in the folder; looked: of these read in this run, the others were known.
    pictures: different ones in the memory; new: of these from this run. damaged: (path, cause) of every file in the
    folder that cannot be read. gone: pictures that no file holds any more, forgotten. tokens: regions of the new ones.
    """

    uri: str
    files: int
    looked: int
    pictures: int
    new: int
    damaged: tuple[tuple[str, str], ...]
    gone: int
    tokens: int
    seconds: float


@dataclass(slots=True)
class _Pending:
    """What the next checkpoint writes."""

    frames: list[FrameRegions] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    files: list[PictureFile] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def to_look_at(folder: str, store: Store) -> tuple[list[Listed], list[Listed]]:
    """All pictures of the folder, and those that are not in the memory as they are now.

    Raises:
        MediaError: as `list_pictures`. UsageError: the folder is in the memory as a video.
    """
    listed = list_pictures(folder)
    row = next((row for row in store.sources() if row.uri == folder), None)
    if row is None:
        return listed, listed
    if row.kind != PICTURES:
        raise UsageError(
            f"this folder was indexed as one film of pictures; `vidmem rm` it first, or choose "
            f"another memory: {folder}"
        )
    known = {(f.path, f.size, f.mtime_ns) for f in store.picture_files(row.id)}
    return listed, [f for f in listed if (f.path, f.size, f.mtime_ns) not in known]


def index_pictures(
    folder: str, encoder: Callable[[], Encoder], store: Store, config: IndexConfig, looked: Looked | None = None
) -> PicturesReport:
    """Index the pictures in `folder` and below it; go on where an earlier run stopped.

    encoder: called when there is something to encode. A file counts as it was when its size and time are the same.

    Raises:
        MediaError, UsageError: as `to_look_at`. StoreError: the memory cannot be written.
    """
    began = time.perf_counter()
    folder = os.path.abspath(folder)
    listed, todo = to_look_at(folder, store)
    fingerprint = hashlib.sha256(f"pictures\0{folder}".encode()).hexdigest()  # of the place: its content may grow
    row = store.begin_source(SourceInfo(folder, PICTURES, 0, 0, 0, fingerprint))
    before = len(store.pictures(row.id))
    there = {f.path for f in listed}
    left = [f.path for f in store.picture_files(row.id) if f.path not in there]
    store.drop_picture_files(row.id, left)
    changed = bool(todo or left or row.state == "open")
    tokens = _add(folder, todo, encoder, store, row, config, looked) if changed else 0
    gone = _forget_gone(store, row)
    _date(store, row)
    files = store.picture_files(row.id)
    damaged = tuple((f.path, f.cause or "damaged") for f in files if f.t_ns is None)
    if len(damaged) == len(listed):
        store.remove_source(row.id)
        cause = damaged[0][1]
        raise MediaError(f"none of the {len(listed)} pictures can be read ({cause}); are they images?: {folder}")
    after = len(store.pictures(row.id))
    return PicturesReport(folder, len(listed), len(todo), after, after + gone - before, damaged, gone, tokens,
                          time.perf_counter() - began)  # fmt: skip


def _add(
    folder: str, todo: Sequence[Listed], load: Callable[[], Encoder], store: Store, row: SourceRow,
    config: IndexConfig, looked: Looked | None,
) -> int:  # fmt: skip
    place = {p.digest: p.t_ns for p in store.pictures(row.id)}
    next_ns = row.next_t_ns or 0
    bad = {f.path for f in store.picture_files(row.id) if f.t_ns is None}
    first = ordinal = store.next_ordinal(row.id)
    done, pending = 0, _Pending()

    def checkpoint(state: str) -> None:
        store.checkpoint(
            row.id, pending.tracks, pending.frames, next_t_ns=next_ns, frames_done=len(place), damaged=len(bad),
            tracker_state=b"", state="partial" if bad and state == "done" else state,  # type: ignore[arg-type]
            files=pending.files, pictures=pending.pictures,
        )  # fmt: skip
        for kept in (pending.frames, pending.tracks, pending.files, pending.pictures):
            kept.clear()

    if not todo:
        checkpoint("done")
        return 0
    encoder = load()
    reads = decode_ahead(read_pictures(folder, todo, encoder.working_size, place), 2 * config.batch)
    with closing(reads), working_in_parallel(encoder) as workers, \
            closing(_encoded(reads, encoder, config.batch, workers)) as encoded:  # fmt: skip
        for group, regions in encoded:
            found = iter(regions)
            for read in group:
                if read.image is not None:
                    size = read.width, read.height
                    frame, tracks = single(encoder, read.image, next(found), size, config, next_ns, ordinal)
                    place[read.digest] = next_ns
                    known = read.recorded
                    pending.pictures.append(Picture(next_ns, read.digest, *size, known.ns, known.by))
                    pending.frames.append(frame)
                    pending.tracks += tracks
                    next_ns, ordinal = next_ns + PICTURE_NS, ordinal + len(tracks)
                at = None if read.cause else place[read.digest]
                (bad.add if read.cause else bad.discard)(read.file.path)
                pending.files.append(PictureFile(read.file.path, read.file.size, read.file.mtime_ns, at, read.cause))
            done += len(group)
            if len(pending.files) >= config.checkpoint_frames:
                checkpoint("open")
            if looked:
                looked(group[-1].file.path, done)
    checkpoint("done")
    return ordinal - first


def _date(store: Store, row: SourceRow) -> None:
    """Look up when pictures were taken that were indexed when that was not asked."""
    missing = [p.t_ns for p in store.pictures(row.id) if not p.recorded_by]
    found = {}
    for t_ns, paths in store.picture_paths(row.id, missing).items():
        known = of_file(paths[0], 0, taken(paths[0]))
        found[t_ns] = (known.ns, known.by)
    if found:
        store.set_pictures_recorded(row.id, found)


def _forget_gone(store: Store, row: SourceRow) -> int:
    """Forget the pictures that no file holds any more; how many there were."""
    orphans = store.drop_picture_files(row.id, ())
    if orphans:
        times = set(orphans)
        ids = tuple(t.id for t in store.source_tracks(row.id) if t.start_ns in times)
        store.remove_parts([Part(row.id, None, ids, tuple(orphans))])
    return len(orphans)


def _encoded(
    reads: Iterable[Read], encoder: Encoder, size: int, workers: int
) -> Generator[tuple[list[Read], list[RegionTokens]]]:
    """Runs of files in order, `size` pictures in each, with the regions of these; `workers` encoded at a time."""
    running: deque[tuple[list[Read], Future[list[RegionTokens]]]] = deque()
    pool = ThreadPoolExecutor(workers, "vidmem-encode")
    try:
        for group in _groups(iter(reads), size):
            pictures = [read for read in group if read.image is not None]
            running.append((group, pool.submit(_encode, encoder, pictures)))
            if len(running) > workers:
                done, result = running.popleft()
                yield done, result.result()
        while running:
            done, result = running.popleft()
            yield done, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _groups(reads: Iterator[Read], size: int) -> Iterator[list[Read]]:
    """At most `size` pictures and 16 times as many files together: where all are known there is progress too."""
    group: list[Read] = []
    held = 0
    for read in reads:
        group.append(read)
        held += read.image is not None
        if held == size or len(group) == 16 * size:
            yield group
            group, held = [], 0
    if group:
        yield group


def _encode(encoder: Encoder, pictures: list[Read]) -> list[RegionTokens]:
    images = [read.image for read in pictures if read.image is not None]
    return encode_each(encoder, images, [(read.width, read.height) for read in pictures])
