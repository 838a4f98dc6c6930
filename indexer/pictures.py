"""Index an album of single pictures: each content once, nothing followed from picture to picture.

Unlike a video a folder may grow: a later run reads what is new or changed and leaves the rest. A checkpoint holds
pictures and the files that were read in one transaction, so that a run that was killed continues behind it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..errors import MediaError, UsageError
from ..media import decode_ahead
from ..media.exif import from_exif
from ..media.photos import Listed, Read, read_pictures
from ..media.recorded import recorded_at
from ..records import Frame, RegionTokens, SourceInfo, SourceKind
from ..store import Checkpoint, Part, SourceRow, SourceState, Store
from .encoding import encoded_ahead
from .looking_again import same_photo
from .picture_step import PictureStep
from .pipeline import SourceReport
from .plan import Album
from .progress import Progress

_NOTES = 3
"""Causes of damage that a report has for all kinds of sources."""


@dataclass(frozen=True, slots=True)
class PicturesReport(SourceReport):
    """Result of indexing the single pictures of a folder.

    Attributes:
        frames: Different pictures in the memory.
        new_frames: Pictures that this run added.
        tracks: Regions of the new pictures.
        files: Files that were named or are in the folder.
        looked: Files read in this run; the others were known.
        copies: Files in the memory with the same content as another one.
        gone: Pictures that no file holds any more, and that were forgotten.
        unreadable: Path from the folder and cause, for files and folders that cannot be read; `damaged` counts them.
        skipped: True when nothing had changed.
    """

    files: int = 0
    looked: int = 0
    copies: int = 0
    gone: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()


def to_index(album: Album, store: Store) -> list[Listed]:
    """Return the files that are not in the memory as they are now; see `looking_again.same_photo`."""
    row = next((row for row in store.sources() if row.uri == album.folder), None)
    known = {} if row is None else {f.path: f for f in store.picture_files(row.id)}
    files = [f for f in album.files.values() if is_text(f.path)]
    return [f for f in files if not same_photo(album.folder, f, known.get(f.path))]


def index_pictures(
    album: Album,
    encoder: Callable[[], Encoder],
    store: Store,
    config: IndexConfig,
    progress: Progress | None = None,
    *,
    keep_views: bool = False,
) -> PicturesReport:
    """Index the pictures of an album; continue where an earlier run stopped.

    Args:
        album: The album.
        encoder: Called when there is something to encode.
        store: The memory, open for writing.
        config: The settings.
        progress: Called with 0 and the number of files that were read.
        keep_views: Keep pictures of the things too.

    Raises:
        MediaError: no picture can be read, and the memory has none of the album.
        UsageError: the memory has its folder as something else.
        StoreError: the memory cannot be written.
    """
    began = time.perf_counter()
    todo = to_index(album, store)
    fingerprint = hashlib.sha256(f"pictures\0{album.folder}".encode()).hexdigest()  # of the place: it may grow
    info = SourceInfo(album.folder, SourceKind.PICTURES, 0, 0, 0, fingerprint)
    other = next((row for row in store.sources() if row.uri == album.folder and not row.kind.single_pictures), None)
    if other is not None:
        raise UsageError(f"the memory has another source of this name ({other.kind}); `vidmem rm` it: {other.uri}")
    row = store.begin_source(info)
    before = len(store.pictures(row.id))
    deleted = [f.path for f in store.picture_files(row.id) if album.gone(f.path)]
    store.drop_picture_files(row.id, deleted)
    tracks = 0
    if todo or deleted or row.state == "open":
        tracks = _add(album.folder, todo, encoder, store, row, config, progress, keep_views)
    store.drop_picture_files(row.id, _moved(album, store, row))
    gone = _forget_gone(store, row)
    _date(store, row)
    after = len(store.pictures(row.id))
    files = store.picture_files(row.id)
    unnameable = [path for path in album.files if not is_text(path)]
    unreadable = [
        *((f, f"the folder cannot be read ({cause})") for f, cause in album.refused.items()),
        *((f.path, f.cause or "damaged") for f in files if f.t_ns is None and f.path in album.files),
        *((path, "the file name is not valid UTF-8, rename the file") for path in unnameable),
    ]
    if not after:
        store.remove_source(row.id)
        if unreadable and not before:
            raise _no_picture(album, unreadable)
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
        skipped=not (todo or deleted),
        files=len(album.files),
        looked=len(todo) + len(unnameable),
        copies=readable - after,
        gone=gone,
        unreadable=tuple(unreadable),
    )


def forget_photo(store: Store, row: SourceRow, path: str) -> None:
    """Forget one photo of a source, with what it shows unless another file has the same; the source with its last."""
    if any(f.t_ns is not None and f.path != path for f in store.picture_files(row.id)):
        store.remove_parts([Part(row.id, files=(path,))])  # at once: a killed process leaves all of it or nothing
    else:
        store.remove_source(row.id)


def _no_picture(album: Album, unreadable: Sequence[tuple[str, str]]) -> MediaError:
    path, cause = unreadable[0]
    if len(unreadable) == 1:
        return MediaError(f"{cause}: {os.path.join(album.folder, path)}")
    return MediaError(f"none of the {len(unreadable)} pictures can be read ({cause}); check the files: {album.folder}")


def is_text(path: str) -> bool:
    """Return True for a path that can be written down: names of files may be any bytes."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _moved(album: Album, store: Store, row: SourceRow) -> list[str]:
    """Return files that are no longer there, and whose picture is now in another file of the album."""
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
    places = {p.digest: p.t_ns for p in store.pictures(row.id)}
    unreadable = {f.path for f in store.picture_files(row.id) if f.t_ns is None}
    if not todo:
        state: SourceState = "partial" if unreadable else "done"
        store.checkpoint(row.id, Checkpoint(row.next_t_ns or 0, len(places), state, len(unreadable)))
        return 0
    encoder = load()
    ordinal = store.next_ordinal(row.id)
    step = PictureStep(
        encoder, config, row, ordinal=ordinal, places=places, unreadable=unreadable, keep_views=keep_views
    )
    reads = decode_ahead(read_pictures(folder, todo, encoder.working_size, places), 2 * config.batch)
    done = 0
    with (
        closing(reads),
        encoder.parallel() as workers,
        closing(
            encoded_ahead(_groups(reads, config.batch), lambda group: _encode(folder, encoder, group), workers)
        ) as encoded,
    ):
        for group, regions in encoded:
            found = iter(regions)
            for read in group:
                step.take(read, next(found) if read.image is not None else None)
            done += len(group)
            if step.due:
                store.checkpoint(row.id, step.checkpoint())
            if progress:
                progress(0, done)
    store.checkpoint(row.id, step.checkpoint(last=True))
    return step.born


def _date(store: Store, row: SourceRow) -> None:
    """Look up when pictures were taken, for those that were indexed before vidmem did so."""
    missing = [p.t_ns for p in store.pictures(row.id) if not p.recorded_by]
    found = {}
    for t_ns, paths in store.picture_paths(row.id, missing).items():
        known = recorded_at(paths[0], 0, from_exif(paths[0]))
        found[t_ns] = (known.ns, known.by)
    if found:
        store.set_pictures_recorded(row.id, found)


def _forget_gone(store: Store, row: SourceRow) -> int:
    """Forget the pictures that no file holds any more; return how many there were."""
    orphans = store.drop_picture_files(row.id, ())
    if orphans:
        times = set(orphans)
        ids = tuple(t.id for t in store.source_tracks(row.id) if t.start_ns in times)
        store.remove_parts([Part(row.id, None, ids, tuple(orphans))])
    return len(orphans)


def _groups(reads: Iterator[Read], size: int) -> Iterator[list[Read]]:
    """Yield groups of at most `size` new pictures and 16 times as many files.

    The limit of files gives progress where all are known too.
    """
    group: list[Read] = []
    new = 0
    for read in reads:
        group.append(read)
        new += read.image is not None
        if new == size or len(group) == 16 * size:
            yield group
            group, new = [], 0
    if group:
        yield group


def _encode(folder: str, encoder: Encoder, group: Sequence[Read]) -> list[RegionTokens]:
    """The regions of the new pictures of a group."""
    new = [(read, read.image) for read in group if read.image is not None]
    if encoder.masks is None:
        return encoder.encode_each([image for _, image in new], [(read.width, read.height) for read, _ in new])
    out = []
    for read, image in new:  # their regions are found by the name of the file
        info = SourceInfo(os.path.join(folder, read.file.path), SourceKind.PICTURE, read.width, read.height, 0, "")
        out += encoder.encode_frames([Frame(image, 0, 0)], info)
    return out
