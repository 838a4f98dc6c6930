"""Remove part of a source: what was seen before a time, or single tracks. `writer.remove_rows` removes whole sources.

Regions lie in blobs of many frames. Blobs are read, filtered and written again, in one transaction with the rows of the
tracks. A track that continues after the time keeps its vectors (running means cannot be taken apart again); its span,
its count of frames and its best box become those of the frames that stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..records import Box, FrameRegions
from . import log_data, picture_files, reader
from .checkpoint import insert_blob
from .database import transaction
from .files import CACHE_LOCK_NAME
from .lock import holding
from .region_blobs import encode, same_grid
from .validate import typed
from .writer import mark_removed

BLOB_FRAMES = 48
"""Frames that `join_blobs` puts into one blob: as many as a checkpoint of the default settings has."""


@dataclass(frozen=True, slots=True)
class Part:
    """What to remove of a source.

    Attributes:
        source_id: The source.
        before_ns: Remove all that was seen before this media time, in ns; None for no such limit.
        tracks: Ids of tracks to remove at all times.
        pictures: Times of single pictures to remove with their file names; what they show is in `tracks`.
        files: Names of files of single pictures to remove, with the pictures that no other file holds and their tracks.
    """

    source_id: int
    before_ns: int | None = None
    tracks: tuple[int, ...] = ()
    pictures: tuple[int, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """What removing a Part takes away.

    Attributes:
        tracks: Tracks that are gone.
        shortened: Tracks that lose their beginning.
        frames: Frames that are gone with all that was in them.
        regions: Regions that are gone, in those frames and in others.
    """

    tracks: int
    shortened: int
    frames: int
    regions: int

    def __bool__(self) -> bool:
        return bool(self.tracks or self.shortened or self.frames)


@dataclass(slots=True)
class _Seen:
    """What is left of a track in the frames that stay."""

    start_ns: int
    end_ns: int
    frames: int
    area: float
    best_ns: int
    best_box: Box


def preview(conn: sqlite3.Connection, part: Part) -> Loss:
    """Return what removing `part` would take away; change nothing."""
    gone, cut = _tracks(conn, part)
    frames = regions = 0
    ordinals = np.array(sorted(gone), np.int64)
    for _, old in _blobs(conn, part):
        kept = [_thinned(frame, ordinals) for frame in old if not _early(frame, part)]
        frames += len(old) - len(kept)
        regions += sum(map(len, old)) - sum(map(len, kept))
    return Loss(len(gone), len(cut), frames, regions)


def remove_parts(conn: sqlite3.Connection, folder: Path, parts: Sequence[Part]) -> list[Loss]:
    """Delete parts of sources, all or none, and mark the memory as in need of `writer.scrub`.

    Raises:
        StoreError: there is no such source, one is not indexed to its end, or a blob is damaged.
    """
    with holding(folder / CACHE_LOCK_NAME), transaction(conn):
        generation = mark_removed(conn)
        return [_remove(conn, part, generation) for part in parts]


def _remove(conn: sqlite3.Connection, part: Part, generation: int) -> Loss:
    row = reader.source_where(conn, "id = ?", part.source_id)
    if row is None:
        raise StoreError(f"source {part.source_id} is not in this memory (any more)")
    if row.state == "open":  # the tracker's state holds its open tracks, and would bring them back
        raise StoreError(f"a part cannot be forgotten before a source is indexed to its end; index it first: {row.uri}")
    if part.files:
        part = _with_orphans(conn, part)
    gone, cut = _tracks(conn, part)
    ordinals = np.array(sorted(gone), np.int64)
    frames = regions = 0
    for seq, old in _blobs(conn, part):
        kept = [_thinned(frame, ordinals) for frame in old if not _early(frame, part)]
        frames += len(old) - len(kept)
        regions += sum(map(len, old)) - sum(map(len, kept))
        _rewrite(conn, part.source_id, seq, old, kept)
    left: dict[int, _Seen] = {}
    for frame in _later(conn, part) if cut else ():
        _look(frame, cut, left)
    gone |= cut - left.keys()  # spans that no region bears out
    conn.executemany(
        "DELETE FROM tracks WHERE source_id = ? AND ordinal = ?", [(part.source_id, ordinal) for ordinal in gone]
    )
    for ordinal, seen in left.items():
        conn.execute(
            "UPDATE tracks SET start_ns = ?, end_ns = ?, frames = ?, best_ns = ?, x0 = ?, y0 = ?, x1 = ?, y1 = ?,"
            " generation = ? WHERE source_id = ? AND ordinal = ?",
            (
                seen.start_ns,
                seen.end_ns,
                seen.frames,
                seen.best_ns,
                *seen.best_box,
                generation,
                part.source_id,
                ordinal,
            ),
        )
    if part.before_ns is not None:
        conn.execute("DELETE FROM cuts WHERE source_id = ? AND t_ns < ?", (part.source_id, part.before_ns))
        conn.execute(
            "DELETE FROM views WHERE t_ns < ? AND track_id IN (SELECT id FROM tracks WHERE source_id = ?)",
            (part.before_ns, part.source_id),
        )
    # An event that waits to be delivered says when a thing was seen, which may be what is forgotten.
    of_source = "SELECT id FROM tracks WHERE source_id = ?"
    conn.execute(f"UPDATE told SET event = NULL WHERE track_id IN ({of_source})", (part.source_id,))
    lost = frames + len(part.pictures)
    conn.execute("UPDATE sources SET frames = max(0, frames - ?) WHERE id = ?", (lost, part.source_id))
    if part.before_ns is not None:
        log_data.forget(conn, part.source_id, part.before_ns)
        picture_files.forget(conn, part.source_id, before_ns=part.before_ns)
    picture_files.forget(conn, part.source_id, part.pictures)
    return Loss(len(gone), len(left), frames, regions)


def _with_orphans(conn: sqlite3.Connection, part: Part) -> Part:
    """Delete the file names of a part; return it with the pictures that no file holds now, and what they show."""
    orphans = picture_files.drop_files(conn, part.source_id, part.files)
    times = set(orphans)
    rows = conn.execute("SELECT id, start_ns FROM tracks WHERE source_id = ?", (part.source_id,))
    shown = tuple(row[0] for row in rows if typed(row, (int, int), "tracks")[1] in times)
    return replace(part, tracks=(*part.tracks, *shown), pictures=(*part.pictures, *orphans))


def join_blobs(conn: sqlite3.Connection, source_id: int) -> int:
    """Join blobs of few frames, as removals and short checkpoints leave them; return how many blobs went."""
    rows = conn.execute("SELECT seq, frames FROM regions WHERE source_id = ? ORDER BY seq", (source_id,)).fetchall()
    groups: list[list[int]] = []
    held = BLOB_FRAMES
    for row in rows:
        seq, frames = typed(row, (int, int), "regions")
        if not groups or held + frames > BLOB_FRAMES:
            groups.append([])
            held = 0
        groups[-1].append(seq)
        held += frames
    saved = 0
    with transaction(conn):
        for group in groups:
            if len(group) < 2:
                continue
            frames_of = [frame for seq in group for frame in reader.regions(conn, source_id, seq)]
            runs = list(same_grid(frames_of))
            if len(runs) >= len(group):
                continue
            conn.executemany("DELETE FROM regions WHERE source_id = ? AND seq = ?", [(source_id, s) for s in group])
            for seq, run in zip(group, runs, strict=False):
                insert_blob(conn, source_id, seq, run, encode(run))
            saved += len(group) - len(runs)
    return saved


def _tracks(conn: sqlite3.Connection, part: Part) -> tuple[set[int], set[int]]:
    """Return the ordinals of the tracks that go, and of those that lose their beginning."""
    rows = conn.execute("SELECT id, ordinal, start_ns, end_ns FROM tracks WHERE source_id = ?", (part.source_id,))
    gone, cut, named = set(), set(), set(part.tracks)
    for row in rows:
        id_, ordinal, start_ns, end_ns = typed(row, (int,) * 4, "tracks")
        if id_ in named or (part.before_ns is not None and end_ns < part.before_ns):
            gone.add(ordinal)
        elif part.before_ns is not None and start_ns < part.before_ns:
            cut.add(ordinal)
    return gone, cut


def _blobs(conn: sqlite3.Connection, part: Part) -> Iterator[tuple[int, list[FrameRegions]]]:
    """Yield the blobs that may change: all when single tracks go, else those before the time."""
    if not part.tracks and part.before_ns is None:
        return
    end = (1 << 63) - 1 if part.tracks or part.before_ns is None else part.before_ns - 1
    for seq in reader.blob_numbers(conn, part.source_id, -(1 << 63), end):
        yield seq, reader.regions(conn, part.source_id, seq)


def _later(conn: sqlite3.Connection, part: Part) -> Iterator[FrameRegions]:
    """Yield the frames that stay when all before a time goes."""
    assert part.before_ns is not None
    for seq in reader.blob_numbers(conn, part.source_id, part.before_ns, (1 << 63) - 1):
        yield from reader.regions(conn, part.source_id, seq)


def _early(frame: FrameRegions, part: Part) -> bool:
    return part.before_ns is not None and frame.t_ns < part.before_ns


def _thinned(frame: FrameRegions, ordinals: NDArray[np.int64]) -> FrameRegions:
    keep = ~np.isin(frame.tracks, ordinals)
    if keep.all():
        return frame
    return FrameRegions(frame.t_ns, frame.tracks[keep], frame.boxes[keep], frame.masks[keep])


def _rewrite(
    conn: sqlite3.Connection, source_id: int, seq: int, old: Sequence[FrameRegions], kept: Sequence[FrameRegions]
) -> None:
    if len(kept) == len(old) and all(a is b for a, b in zip(old, kept, strict=True)):
        return
    conn.execute("DELETE FROM regions WHERE source_id = ? AND seq = ?", (source_id, seq))
    if kept:
        insert_blob(conn, source_id, seq, kept, encode(kept))


def _look(frame: FrameRegions, cut: set[int], left: dict[int, _Seen]) -> None:
    for ordinal, (x0, y0, x1, y1) in zip(frame.tracks.tolist(), frame.boxes.tolist(), strict=True):
        if ordinal not in cut:
            continue
        area = (x1 - x0) * (y1 - y0)
        seen = left.get(ordinal)
        if seen is None:
            left[ordinal] = _Seen(frame.t_ns, frame.t_ns, 1, area, frame.t_ns, (x0, y0, x1, y1))
            continue
        seen.end_ns, seen.frames = frame.t_ns, seen.frames + 1
        if area > seen.area:
            seen.area, seen.best_ns, seen.best_box = area, frame.t_ns, (x0, y0, x1, y1)
