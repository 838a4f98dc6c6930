"""What is in a memory, at a glance: for the prompt, where every import counts. It never writes, and what is wrong with
the memory is for a command to say."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from .files import DATABASE_NAME, check_files

_MOST_STEPS = 20_000_000
"""Of SQLite, a second or so: whatever needs more is no list of sources."""


@dataclass(frozen=True, slots=True)
class Peeked:
    """sources: their paths, the newest first. encoder: that made the memory, None where nothing did."""

    sources: list[str]
    encoder: str | None


def peek(folder: Path, most: int = 20_000) -> Peeked:
    """The memory in `folder`, of any version. Raises sqlite3.Error or StoreError where there is none."""
    check_files(folder)
    conn = sqlite3.connect(f"{(folder / DATABASE_NAME).absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
    try:
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.set_progress_handler(lambda: True, _MOST_STEPS)  # then it stops
        uris = [str(uri) for (uri,) in conn.execute("SELECT uri FROM sources ORDER BY id DESC LIMIT ?", (most,))]
        made = conn.execute("SELECT encoder FROM model").fetchone()
    finally:
        conn.close()
    return Peeked(uris, None if made is None else str(made[0]))
