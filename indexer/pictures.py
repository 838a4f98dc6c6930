"""Single pictures into the store: each content once, nothing followed from picture to picture.

Unlike a video a folder may grow: a later run reads what is new or changed and leaves the rest. A checkpoint holds
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
from ..media.pictures import Listed, Read, read_pictures
from ..media.recorded import of_file
from ..records import Frame, FrameRegions, RegionTokens, SourceInfo, SourceKind, Track
from ..store import PICTURE_NS, Part, Picture, PictureFile, SourceRow, Store
from .pipeline import Progress, SourceReport
from .plan import Album
from .step import encode_each, single, working_in_parallel

_NOTES = 3
"""Causes of damage that a report names for all kinds of sources."""


@dataclass(frozen=True, slots=True)
class PicturesReport(SourceReport):
    """What indexing single pictures of a folder came to. frames: different pictures in the memory; new_frames: of these
    from this run. tracks: regions of the new ones. files: that were named or are in the folder; looked: of these read
    in this run, the others were known. copies: files in the memory that hold what another one holds. unreadable: (path
    from the folder on, cause) of files that cannot be read and of folders; damaged counts them. gone: pictures that no
    file holds any more, forgotten. skipped: nothing had changed."""

    files: int = 0
    looked: int = 0
    copies: int = 0
    gone: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Pending:
    """What the next checkpoint writes."""

    frames: list[FrameRegions] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    files: list[PictureFile] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def to_look_at(album: Album, store: Store) -> list[Listed]:
    """The files that are not in the memory as they are now: a file counts as it was when its size and time are."""
    row = next((row for row in store.sources() if row.uri == album.folder), None)
    known = set() if row is None else {(f.path, f.size, f.mtime_ns) for f in store.picture_files(row.id)}
    return [f for f in album.files.values() if (f.path, f.size, f.mtime_ns) not in known and _is_text(f.path)]


def index_pictures(
    album: Album,
    encoder: Callable[[], Encoder],
    store: Store,
    config: IndexConfig,
    progress: Progress | None = None,
    *,
    keep_views: bool = False,
) -> PicturesReport:
    """Index the pictures of an album; go on where an earlier run stopped.

    encoder: called when there is something to encode. progress: called with 0 and the files looked at. keep_views: keep
    pictures of the things too.

    Raises:
        MediaError: none can be read, and the memory has none of the album. UsageError: its folder is in the memory as
        something else. StoreError: the memory cannot be written.
    """
    began = time.perf_counter()
    todo = to_look_at(album, store)
    fingerprint = hashlib.sha256(f"pictures\0{album.folder}".encode()).hexdigest()  # of the place: it may grow
    info = SourceInfo(album.folder, SourceKind.PICTURES, 0, 0, 0, fingerprint)
    other = next((row for row in store.sources() if row.uri == album.folder and not row.kind.single_pictures), None)
    if other is not None:
        raise UsageError(f"the memory has another source of this name ({other.kind}); `vidmem rm` it: {other.uri}")
    row = store.begin_source(info)
    before = len(store.pictures(row.id))
    left = [f.path for f in store.picture_files(row.id) if album.gone(f.path)]
    store.drop_picture_files(row.id, left)
    tracks = 0
    if todo or left or row.state == "open":
        tracks = _add(album.folder, todo, encoder, store, row, config, progress, keep_views)
    store.drop_picture_files(row.id, _moved(album, store, row))
    gone = _forget_gone(store, row)
    _date(store, row)
    after = len(store.pictures(row.id))
    files = store.picture_files(row.id)
    nameless = [path for path in album.files if not _is_text(path)]
    unreadable = [
        *((f, f"the folder cannot be read ({cause})") for f, cause in album.refused.items()),
        *((f.path, f.cause or "damaged") for f in files if f.t_ns is None and f.path in album.files),
        *((path, "the file name is not valid UTF-8, rename the file") for path in nameless),
    ]
    if not after:
        store.remove_source(row.id)
        if unreadable and not before:
            raise _none(album, unreadable)
    readable = sum(f.t_ns is not None for f in files)
    return PicturesReport(
        info,
        frames=after,
        new_frames=after + gone - before,
        media_s=0.0,
        seconds=time.perf_counter() - began,
        tracks=tracks,
        damaged=len(unreadable),
        notes=tuple(cause for _, cause in unreadable[:_NOTES]),
        skipped=not (todo or left),
        files=len(album.files),
        looked=len(todo) + len(nameless),
        copies=readable - after,
        gone=gone,
        unreadable=tuple(unreadable),
    )


def forget_photo(store: Store, row: SourceRow, path: str) -> None:
    """Forget one photo of a source, and what was in it unless another file holds the same; the source with its last."""
    store.drop_picture_files(row.id, [path])
    if any(f.t_ns is not None for f in store.picture_files(row.id)):
        _forget_gone(store, row)
    else:
        store.remove_source(row.id)


def _none(album: Album, unreadable: Sequence[tuple[str, str]]) -> MediaError:
    path, cause = unreadable[0]
    if len(unreadable) == 1:
        return MediaError(f"{cause}: {os.path.join(album.folder, path)}")
    return MediaError(f"none of the {len(unreadable)} pictures can be read ({cause}); check the files: {album.folder}")


def _is_text(path: str) -> bool:
    """Whether a path can be written down: names of files are bytes, of any kind."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _moved(album: Album, store: Store, row: SourceRow) -> list[str]:
    """Files that are no longer there, where one of the album has their picture now."""
    files = store.picture_files(row.id)
    here = {f.t_ns for f in files if f.path in album.files and f.t_ns is not None}
    return [
        f.path
        for f in files
        if f.t_ns in here and f.path not in album.files and not os.path.lexists(os.path.join(album.folder, f.path))
    ]


def _add(
    folder: str,
    todo: Sequence[Listed],
    load: Callable[[], Encoder],
    store: Store,
    row: SourceRow,
    config: IndexConfig,
    progress: Progress | None,
    keep_views: bool,
) -> int:
    place = {p.digest: p.t_ns for p in store.pictures(row.id)}
    next_ns = row.next_t_ns or 0
    bad = {f.path for f in store.picture_files(row.id) if f.t_ns is None}
    first = ordinal = store.next_ordinal(row.id)
    done, pending = 0, _Pending()

    def checkpoint(state: str) -> None:
        store.checkpoint(
            row.id,
            pending.tracks,
            pending.frames,
            next_t_ns=next_ns,
            frames_done=len(place),
            damaged=len(bad),
            tracker_state=b"",
            state="partial" if bad and state == "done" else state,  # type: ignore[arg-type]
            files=pending.files,
            pictures=pending.pictures,
        )
        for kept in (pending.frames, pending.tracks, pending.files, pending.pictures):
            kept.clear()

    if not todo:
        checkpoint("done")
        return 0
    encoder = load()
    reads = decode_ahead(read_pictures(folder, todo, encoder.working_size, place), 2 * config.batch)
    with (
        closing(reads),
        working_in_parallel(encoder) as workers,
        closing(_encoded(folder, reads, encoder, config.batch, workers)) as encoded,
    ):
        for group, regions in encoded:
            found = iter(regions)
            for read in group:
                if read.image is not None:
                    size = read.width, read.height
                    frame, tracks = single(
                        encoder, read.image, next(found), size, config, next_ns, ordinal, keep_views=keep_views
                    )
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
            if progress:
                progress(0, done)
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
    folder: str, reads: Iterable[Read], encoder: Encoder, size: int, workers: int
) -> Generator[tuple[list[Read], list[RegionTokens]]]:
    """Runs of files in order, `size` pictures in each, with the regions of these; `workers` encoded at a time."""
    running: deque[tuple[list[Read], Future[list[RegionTokens]]]] = deque()
    pool = ThreadPoolExecutor(workers, "vidmem-encode")
    try:
        for group in _groups(iter(reads), size):
            pictures = [read for read in group if read.image is not None]
            running.append((group, pool.submit(_encode, folder, encoder, pictures)))
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


def _encode(folder: str, encoder: Encoder, pictures: list[Read]) -> list[RegionTokens]:
    seen = [(read, read.image) for read in pictures if read.image is not None]
    told: Callable[[list[Frame], SourceInfo], list[RegionTokens]] | None = getattr(encoder, "encode_frames", None)
    if told is None:
        return encode_each(encoder, [image for _, image in seen], [(read.width, read.height) for read, _ in seen])
    out = []
    for read, image in seen:  # regions that are given, by the name of the file
        uri = os.path.join(folder, read.file.path)
        out += told([Frame(image, 0, 0)], SourceInfo(uri, SourceKind.PICTURE, read.width, read.height, 0, ""))
    return out
