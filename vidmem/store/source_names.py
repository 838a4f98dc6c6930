"""The names of the sources in a memory, for shell completion, where every import counts.

Nothing is written. If the memory is damaged, commands say so, not this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .files import DATABASE_NAME, check_files
from .schema import check_known, read
from .sqlite_file import open_sqlite

_MAX_STEPS = 20_000_000
"""Steps of SQLite, about a second: whatever needs more is not a list of sources."""
_LONGEST = 1 << 16
"""Bytes of the longest name."""
_MOST = 1 << 24
"""Characters of all names together; older sources are left out."""


@dataclass(frozen=True, slots=True)
class SourceNames:
    """Names in a memory.

    Attributes:
        sources: Paths of the sources, the newest first.
        encoder: The encoder that made the memory; None for an empty one.
    """

    sources: list[str]
    encoder: str | None


def source_names(folder: Path, limit: int = 20_000) -> SourceNames:
    """Read the memory in `folder`, of any version. Raises sqlite3.Error or StoreError when it cannot be read."""
    check_files(folder)
    conn = open_sqlite(folder / DATABASE_NAME, "mode=ro", timeout=0.1, longest=_LONGEST)
    try:
        conn.set_progress_handler(lambda: True, _MAX_STEPS)  # then it stops
        check_known(*read(conn))
        uris: list[str] = []
        left = _MOST
        for (uri,) in conn.execute("SELECT uri FROM sources ORDER BY id DESC LIMIT ?", (limit,)):
            uris.append(str(uri))
            left -= len(uris[-1])
            if left < 0:
                break
        made = conn.execute("SELECT encoder FROM model").fetchone()
    finally:
        conn.close()
    return SourceNames(uris, None if made is None else str(made[0]))
