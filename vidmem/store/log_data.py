"""What a memory keeps of logs: both times and the number of each sampled picture, and the poses of a source."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence

import numpy as np

from ..errors import StoreError
from ..limits import budget
from ..records import Mark, Trail
from . import validate
from .rows import sane_time

_COLUMNS = 8  # time, x, y, z, quaternion
_MAX_BYTES = 1 << 28
"""Unpacked bytes of the poses of a source: 4 million poses, 11 hours at 100 a second.

A few bytes could claim any number.
"""
_MARK_KINDS = (int, int, int | None, int | None)


def write_marks(conn: sqlite3.Connection, source_id: int, marks: Sequence[tuple[int, Mark]]) -> None:
    """Write the marks of frames, inside the caller's transaction."""
    if not marks:
        return
    zero = _zero(conn, source_id)
    rows = [
        (
            source_id,
            t_ns,
            mark.log_ns - zero - t_ns,
            None if mark.stamp_ns is None else mark.stamp_ns - mark.log_ns,
            mark.sequence,
        )
        for t_ns, mark in marks
    ]
    conn.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)", rows)


def marks(conn: sqlite3.Connection, source_id: int, start_ns: int, end_ns: int) -> list[tuple[int, Mark]]:
    """Return t_ns and the place in the log of the sampled frames with `start_ns <= t_ns <= end_ns`, in order."""
    zero = _zero(conn, source_id)
    query = (
        "SELECT t_ns, late_ns, stamp_late_ns, sequence FROM marks WHERE source_id = ? AND t_ns BETWEEN ? AND ?"
        " ORDER BY t_ns"
    )
    out = []
    for row in conn.execute(query, (source_id, start_ns, end_ns)):
        t_ns, late, stamp_late, sequence = validate.typed(row, _MARK_KINDS, "marks")
        log_ns = zero + t_ns + late
        mark = Mark(log_ns, None if stamp_late is None else log_ns + stamp_late, sequence)
        validate.times("marks", t_ns, mark.log_ns, mark.stamp_ns)
        out.append((t_ns, mark))
    return out


def _zero(conn: sqlite3.Connection, source_id: int) -> int:
    row = conn.execute("SELECT start_ns FROM sources WHERE id = ?", (source_id,)).fetchone()
    return (sane_time(row[0], "")[0] or 0) if row else 0


def set_trail(conn: sqlite3.Connection, source_id: int, trail: Trail) -> None:
    """Write the poses of a source, in place of earlier ones. Raises StoreError for poses that are not finite."""
    if not np.isfinite(trail.values).all():
        raise StoreError("a pose holds NaN or infinity")
    # Differences of neighbours pack well: poses change little in a tenth of a second.
    times = np.diff(trail.t_ns, prepend=0).astype("<i8").tobytes()
    blob = zlib.compress(times + trail.values.astype("<f8").T.tobytes())
    conn.execute("INSERT OR REPLACE INTO trails VALUES (?, ?, ?, ?)", (source_id, trail.topic, trail.frame, blob))


def forget(conn: sqlite3.Connection, source_id: int, before_ns: int) -> None:
    """Delete the marks and poses of a source before a time, inside the caller's transaction."""
    conn.execute("DELETE FROM marks WHERE source_id = ? AND t_ns < ?", (source_id, before_ns))
    whole = trail(conn, source_id)
    if whole is not None:
        kept = whole.t_ns >= before_ns
        conn.execute("DELETE FROM trails WHERE source_id = ?", (source_id,))
        if kept.any():
            set_trail(conn, source_id, Trail(whole.topic, whole.frame, whole.t_ns[kept], whole.values[kept]))


def trail(conn: sqlite3.Connection, source_id: int) -> Trail | None:
    """Return the poses of a source, or None. Raises StoreError when they are damaged."""
    row = conn.execute("SELECT topic, frame, blob FROM trails WHERE source_id = ?", (source_id,)).fetchone()
    if row is None:
        return None
    validate.typed(row, (str, str, bytes), "trails")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(row[2], min(_MAX_BYTES, budget() // 3))  # the poses are copied twice
    except zlib.error as error:
        raise StoreError(f"the poses of source {source_id} are damaged ({error}); remove it and index again") from None
    n, rest = divmod(len(data), 8 * _COLUMNS)
    times = np.cumsum(np.frombuffer(data, "<i8", n)).astype(np.int64)
    values = np.frombuffer(data, "<f8", offset=8 * n)[: n * (_COLUMNS - 1)].reshape(_COLUMNS - 1, n).T
    if rest or not unpacker.eof or not np.isfinite(values).all() or (np.diff(times) < 0).any():
        raise StoreError(f"the poses of source {source_id} are damaged; remove it and index again")
    return Trail(row[0], row[1], times, values.astype(np.float64))
