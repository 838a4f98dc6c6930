"""A checkpoint: what a source gave since the last one, written in one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import StoreError
from ..records import FrameRegions, Mark, Track
from . import log_data, meta, picture_files
from .database import transaction
from .fp16 import pack_vector, vectors_crc
from .picture_files import Picture, PictureFile
from .region_blobs import encode, same_grid
from .rows import STATES, SourceState, checked_share


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a source gave since its last checkpoint, and what an interrupted run needs to continue.

    Attributes:
        next_t_ns: Where to resume, in ns on the clock of the source.
        frames_done: Frames sampled so far, in all runs.
        damaged: Packets, frames or files skipped so far, in all runs.
        state: "open", or "done" or "partial" (finished, with damage) for the last checkpoint.
        tracker_state: The state from which the tracker continues; empty when nothing follows.
        tracks: New and changed tracks; a track with a known ordinal is overwritten.
        frames: The frames sampled since the last checkpoint, in order.
        cuts: Times in ns of the first frames of new shots.
        marks: Time in ns and place in the log, for frames of a log.
        files: New and changed files, of a folder of single pictures.
        pictures: New pictures, of a folder of single pictures.
        duration_ns: Length so far, of a source that did not know its length; None leaves the length as it is.
    """

    next_t_ns: int
    frames_done: int
    state: SourceState
    damaged: int = 0
    tracker_state: bytes = b""
    tracks: Sequence[Track] = ()
    frames: Sequence[FrameRegions] = ()
    cuts: Sequence[int] = ()
    marks: Sequence[tuple[int, Mark]] = ()
    files: Sequence[PictureFile] = ()
    pictures: Sequence[Picture] = ()
    duration_ns: int | None = None


def write(conn: sqlite3.Connection, source_id: int, made: Checkpoint) -> None:
    """Write everything since the last checkpoint, in one transaction that also survives a power cut.

    Raises:
        StoreError: the disk is full or read-only, or the source was removed; the memory is then as it was after the
            last checkpoint.
        ValueError: the data cannot be stored (see `region_blobs.encode`), or vectors have another length than the
            model's.
    """
    if made.state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}, not {made.state!r}")
    blobs = [(run, encode(run)) for run in same_grid(made.frames)]  # slow work first: the lock is held briefly
    finished = None if made.state == "open" else time.time_ns()
    progress = (made.next_t_ns, made.frames_done, made.damaged, made.tracker_state, made.state, finished)
    with transaction(conn):
        updated = conn.execute(
            "UPDATE sources SET next_t_ns = ?, frames = ?, damaged = ?, tracker_state = ?, state = ?, finished_at = ?,"
            " duration_ns = ifnull(?, duration_ns) WHERE id = ?",
            (*progress, made.duration_ns, source_id),
        )
        if not updated.rowcount:
            raise StoreError(f"source {source_id} is not in this memory (any more); begin it again")
        if made.tracks:
            _write_tracks(conn, source_id, made.tracks, meta.bump_generation(conn))
        (seq,) = conn.execute("SELECT ifnull(max(seq), -1) FROM regions WHERE source_id = ?", (source_id,)).fetchone()
        for number, (run, blob) in enumerate(blobs, seq + 1):
            insert_blob(conn, source_id, number, run, blob)
        log_data.write_marks(conn, source_id, made.marks)
        picture_files.write(conn, source_id, made.files, made.pictures)
        conn.executemany("INSERT OR IGNORE INTO cuts VALUES (?, ?)", [(source_id, t_ns) for t_ns in made.cuts])


def insert_blob(conn: sqlite3.Connection, source_id: int, seq: int, run: Sequence[FrameRegions], blob: bytes) -> None:
    """Insert the blob number `seq` of a source, which `encode` made of `run`, inside the caller's transaction."""
    times = [frame.t_ns for frame in run]
    row = (source_id, seq, min(times), max(times), len(run), sum(map(len, run)), blob)
    conn.execute("INSERT INTO regions VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _write_tracks(conn: sqlite3.Connection, source_id: int, tracks: Sequence[Track], generation: int) -> None:
    dims = conn.execute("SELECT visual_dim, text_dim FROM model").fetchone()
    # By ordinal, and without INSERT ... ON CONFLICT, which spends an id on every update: ids then depend only on
    # the order in which tracks were born, not on where checkpoints or interruptions fell.
    for track in sorted(tracks, key=lambda track: track.ordinal):
        if dims and (len(track.visual), len(track.text)) != dims:
            raise ValueError(f"track vectors have {len(track.visual)} and {len(track.text)} values, want {dims}")
        visual, text = pack_vector(track.visual), pack_vector(track.text)
        row = (
            track.start_ns,
            track.end_ns,
            track.frames,
            track.best_ns,
            *map(float, track.best_box),
            generation,
            visual,
            text,
            vectors_crc(visual, text),
            checked_share(track.confidence),
            checked_share(track.text_confidence),
            source_id,
            track.ordinal,
        )
        updated = conn.execute(
            "UPDATE tracks SET start_ns = ?, end_ns = ?, frames = ?, best_ns = ?, x0 = ?, y0 = ?, x1 = ?, y1 = ?,"
            " generation = ?, visual = ?, text = ?, crc = ?, confidence = ?, text_confidence = ?"
            " WHERE source_id = ? AND ordinal = ?",
            row,
        )
        if not updated.rowcount:
            conn.execute(
                "INSERT INTO tracks (start_ns, end_ns, frames, best_ns, x0, y0, x1, y1, generation, visual, text, crc,"
                " confidence, text_confidence, source_id, ordinal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                " ?, ?)",
                row,
            )
        if track.views:
            _write_views(conn, source_id, track)


def _write_views(conn: sqlite3.Connection, source_id: int, track: Track) -> None:
    """Replace the views of a track; a view that stays keeps its picture."""
    query = "SELECT id FROM tracks WHERE source_id = ? AND ordinal = ?"
    (track_id,) = conn.execute(query, (source_id, track.ordinal)).fetchone()
    times = json.dumps([view.t_ns for view in track.views])
    conn.execute(
        "DELETE FROM views WHERE track_id = ? AND t_ns NOT IN (SELECT value FROM json_each(?))", (track_id, times)
    )
    conn.executemany(
        "INSERT INTO views VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET x0 = excluded.x0,"
        " y0 = excluded.y0, x1 = excluded.x1, y1 = excluded.y1, quality = excluded.quality,"
        # a picture comes only once, with its hint and its confidence
        " image = ifnull(excluded.image, image), hint = iif(excluded.image IS NULL, hint, excluded.hint),"
        " confidence = iif(excluded.image IS NULL, confidence, excluded.confidence)",
        [
            (
                track_id,
                v.t_ns,
                *map(float, v.box),
                float(v.quality),
                v.image,
                np.array(v.hint, "<f4").tobytes(),
                float(v.confidence),
            )
            for v in track.views
        ],
    )
