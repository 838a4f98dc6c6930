"""Standing questions: their names, the tracks that they have told of, and events that are not delivered yet."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import validate
from .validate import ensure

MOST = 1000
"""The most standing questions of a memory."""
MAX_EVENT = 1 << 16
"""The longest event in characters. It has no picture."""
MOST_EVENTS = 1000
"""The most undelivered events of a source that are read."""


@dataclass(frozen=True, slots=True)
class StandingRow:
    """A standing question in words. min_probability: None for the default. added_at: ns since the epoch."""

    text: str
    min_probability: float | None
    added_at: int


def standing(conn: sqlite3.Connection) -> list[StandingRow]:
    """Return the standing questions, the oldest first."""
    rows = conn.execute("SELECT text, min_probability, added_at FROM standing ORDER BY added_at, text LIMIT ?", (MOST,))
    out = []
    for row in rows:
        text, share, added = validate.typed(row, (str, float | None, int), "standing")
        ensure(bool(text.strip()) and len(text) <= 1000, "a name that cannot be one in standing")
        validate.times("standing", added)
        if share is not None:
            validate.shares("standing", share)
        out.append(StandingRow(text, share, added))
    return out


def add_standing(conn: sqlite3.Connection, names: Sequence[str], min_probability: float | None) -> None:
    """Add questions; one that is there gets the new probability and keeps its place."""
    now = time.time_ns()
    conn.executemany(
        "INSERT INTO standing VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET min_probability = excluded.min_probability",
        [(name, min_probability, now + i) for i, name in enumerate(names)],
    )


def drop_standing(conn: sqlite3.Connection, names: Sequence[str]) -> None:
    """Delete questions."""
    conn.executemany("DELETE FROM standing WHERE text = ?", [(name,) for name in names])


def told(conn: sqlite3.Connection, question: str, tracks: Iterable[int]) -> set[int]:
    """Return which of these tracks a question has told of. question: its key."""
    query = "SELECT track_id FROM told WHERE question = ? AND track_id IN (SELECT value FROM json_each(?))"
    return {int(row[0]) for row in conn.execute(query, (question, json.dumps([int(i) for i in tracks])))}


def tell(conn: sqlite3.Connection, question: str, tracks: Sequence[int], events: Sequence[tuple[int, str]]) -> None:
    """Note that a question has told of tracks; those that were removed meanwhile are left out.

    Args:
        conn: In a transaction.
        question: The key of the question.
        tracks: Ids of the tracks.
        events: A track and the event, for each event that is to be delivered.
    """
    texts = dict(events)
    conn.executemany(
        "INSERT OR IGNORE INTO told SELECT id, ?, ? FROM tracks WHERE id = ?",
        [(question, texts.get(track), track) for track in tracks],
    )


def settle_event(conn: sqlite3.Connection, question: str, track: int) -> None:
    """Forget an event that is delivered or given up. The track stays told of."""
    conn.execute("UPDATE told SET event = NULL WHERE track_id = ? AND question = ?", (track, question))


def undelivered(conn: sqlite3.Connection, source_id: int) -> list[tuple[str, int, str]]:
    """Return question, track and event of what a source has to deliver, in the order of the tracks."""
    rows = conn.execute(
        "SELECT question, track_id, event FROM told WHERE event IS NOT NULL AND track_id IN"
        " (SELECT id FROM tracks WHERE source_id = ?) ORDER BY track_id, question LIMIT ?",
        (source_id, MOST_EVENTS),
    )
    out = []
    for row in rows:
        question, track, event = validate.typed(row, (str, int, str), "told")
        ensure(len(question) <= 100 and len(event) <= MAX_EVENT, "a text that is too long in told")
        out.append((question, track, event))
    return out
