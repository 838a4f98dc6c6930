"""The table `meta`: single values of a memory, by name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from . import validate
from .validate import damaged


def value(conn: sqlite3.Connection, key: str) -> str:
    """Return the value of `key`. Raises StoreError when it is missing."""
    found = _optional(conn, key)
    if found is None:
        raise damaged(f"no {key!r} in its table meta")
    return str(found)


def counter(conn: sqlite3.Connection, key: str) -> int:
    """Return the value of `key` as a count. Raises StoreError when it is missing or not a count."""
    text = value(conn, key)
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise damaged(f"{key!r} in its table meta is not a number")
    return int(text)


def bump_generation(conn: sqlite3.Connection) -> int:
    """Count one more change of the tracks, inside the caller's transaction."""
    generation = counter(conn, "generation") + 1
    conn.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (str(generation),))
    return generation


def scrub_due(conn: sqlite3.Connection) -> bool:
    """Return True if something was deleted whose bytes may still be in the files; see `writer.scrub`."""
    return _optional(conn, "scrub") == "1"


def mark_scrub(conn: sqlite3.Connection, due: bool = True) -> None:
    """Note whether a scrub is due, inside the transaction that deletes something."""
    conn.execute("UPDATE meta SET value = ? WHERE key = 'scrub'", (str(int(due)),))


def memory_id(conn: sqlite3.Connection) -> str:
    """Return the random name that this memory got when it was made; a copy of the folder keeps it."""
    return value(conn, "memory")


def fitted(conn: sqlite3.Connection, weights: str) -> Mapping[str, Any] | None:
    """Return what `set_fitted` stored for an encoder with these weights, or None.

    The contents are not checked here, but in `probability.Probabilities`.
    """
    text = _optional(conn, "fitted")
    values = None if text is None else validate.parsed(text, "the calibration").get(weights)
    if values is not None:
        validate.typed((values,), (dict,), "the calibration")
    return values


def set_fitted(conn: sqlite3.Connection, weights: str, values: Mapping[str, Any] | None) -> None:
    """Store what was fitted to this memory for an encoder with these weights; None deletes it."""
    _set(conn, "fitted", "{}" if values is None else json.dumps({weights: values}, sort_keys=True))


def introduced(conn: sqlite3.Connection) -> str | None:
    """Return the encoder that was last introduced to the user, or None."""
    name = _optional(conn, "introduced")
    return None if name is None else str(name)


def set_introduced(conn: sqlite3.Connection, encoder: str) -> None:
    """Store which encoder was introduced to the user."""
    _set(conn, "introduced", encoder)


def _optional(conn: sqlite3.Connection, key: str) -> object:
    row = conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _set(conn: sqlite3.Connection, key: str, text: str) -> None:
    conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, text))
