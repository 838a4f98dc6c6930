"""Tokens of another encoder for the tracks of a memory: collected beside the old ones, then taken over at once.

Until `adopt`, questions are answered with the old tokens. An interrupted run continues with what was collected.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..errors import StoreError
from ..records import Float32
from . import reader
from .database import transaction
from .fp16 import pack_vector
from .rows import ModelRecord, checked_share
from .validate import typed
from .writer import mark_removed

_KEY = "new_tokens"


@dataclass(frozen=True, slots=True, eq=False)
class NewTokens:
    """Tokens of one track: visual `(Dv,)` and text `(Dt,)` float32, text_confidence in [0, 1]."""

    track_id: int
    visual: Float32
    text: Float32
    text_confidence: float


def begun(conn: sqlite3.Connection) -> bool:
    """Return True if tokens of another encoder were collected and not taken over yet."""
    return conn.execute("SELECT 1 FROM new_tokens LIMIT 1").fetchone() is not None


def begin(conn: sqlite3.Connection, target: ModelRecord) -> set[int]:
    """Begin to collect tokens of `target`; return the ids of the tracks that have such tokens already.

    These are tokens that were collected before, and those in use if the memory was made by `target`. What was collected
    of another encoder is deleted.
    """
    name = json.dumps(asdict(target), sort_keys=True)
    with transaction(conn):
        row = conn.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
        if row is None or row[0] != name:
            conn.execute("DELETE FROM new_tokens")
            conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, name))
        query = "SELECT track_id FROM new_tokens"
        if _in_use(conn, target):
            query += " UNION SELECT t.id FROM tracks t JOIN sources s ON s.id = source_id WHERE NOT stale"
        return {typed(row, (int,), "new_tokens")[0] for row in conn.execute(query)}


def _in_use(conn: sqlite3.Connection, target: ModelRecord) -> bool:
    """Return True if the memory's tokens are those of `target`; settings do not change them."""
    made = reader.model(conn)
    return made is not None and not made.differences(replace(target, config=made.config))


def put(conn: sqlite3.Connection, tokens: Sequence[NewTokens]) -> None:
    """Collect tokens. Raises StoreError for values that are not finite."""
    rows = [(t.track_id, pack_vector(t.visual), pack_vector(t.text), checked_share(t.text_confidence)) for t in tokens]
    with transaction(conn):
        conn.executemany("INSERT OR REPLACE INTO new_tokens VALUES (?, ?, ?, ?)", rows)


def adopt(conn: sqlite3.Connection, target: ModelRecord, states: Mapping[int, bytes]) -> list[int]:
    """Replace the old tokens by those collected, in one transaction: from now on `target` is the memory's encoder.

    Tracks without new tokens get zeros, which no question finds, and their sources are marked as stale. Tokens in use
    that are the target's stay.

    Args:
        target: The encoder whose tokens were collected.
        states: New states of trackers, by source: the old ones hold old tokens.

    Returns:
        Ids of the sources that are stale now.

    Raises:
        StoreError: a source is not indexed to its end.
    """
    zeros = [pack_vector(np.zeros(dim, np.float32)) for dim in (target.visual_dim, target.text_dim)]
    with transaction(conn):
        if row := conn.execute("SELECT uri FROM sources WHERE state = 'open' LIMIT 1").fetchone():
            raise StoreError(f"a source is not indexed to its end; index it first: {row[0]}")
        generation = mark_removed(conn)  # of every vector: caches are rebuilt
        without = (
            "SELECT t.id FROM tracks t JOIN sources s ON s.id = source_id WHERE {} AND t.id NOT IN"
            " (SELECT track_id FROM new_tokens)".format("stale" if _in_use(conn, target) else "TRUE")
        )
        missing = json.dumps([typed(row, (int,), "tracks")[0] for row in conn.execute(without)])
        conn.execute(
            "UPDATE tracks SET generation = ?, visual = ?, text = ? WHERE id IN (SELECT value FROM json_each(?))",
            (generation, *zeros, missing),
        )
        conn.execute(
            "UPDATE tracks SET generation = ?, (visual, text, text_confidence) ="
            " (SELECT visual, text, text_confidence FROM new_tokens WHERE track_id = tracks.id)"
            " WHERE id IN (SELECT track_id FROM new_tokens)",
            (generation,),
        )
        conn.execute("UPDATE tracks SET crc = vectors_crc(visual, text) WHERE generation = ?", (generation,))
        query = "SELECT DISTINCT source_id FROM tracks WHERE id IN (SELECT value FROM json_each(?))"
        stale = [typed(row, (int,), "tracks")[0] for row in conn.execute(query, (missing,))]
        conn.execute("UPDATE sources SET stale = id IN (SELECT value FROM json_each(?))", (json.dumps(stale),))
        conn.executemany("UPDATE sources SET tracker_state = ? WHERE id = ?", [(s, id_) for id_, s in states.items()])
        conn.execute("DELETE FROM new_tokens")
        conn.execute("DELETE FROM meta WHERE key = ?", (_KEY,))
        config = json.dumps(target.config, sort_keys=True)
        row = (1, target.encoder, target.weights, target.visual_dim, target.text_dim, config, target.regions)
        conn.execute("INSERT OR REPLACE INTO model VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return stale
