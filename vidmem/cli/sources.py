"""What `vidmem ls`, `vidmem info` and `vidmem rm` share. They need no encoder, so they work on every memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import default_folder
from ..store import Store
from ..timecode import NS, is_wall_clock, iso
from .output import Row

if TYPE_CHECKING:
    from ..store import SourceRow

STATES = {"open": "interrupted", "done": "done", "partial": "done, damaged"}
"""States of a source, for people."""
OWN_DATES = "each its own"
"""When the photos of a folder were taken."""


def open_store(memory: str | None, *, write: bool = False) -> Store:
    """Open the memory without its encoder."""

    return Store.open(memory or default_folder(), write=write)


def source_row(row: SourceRow) -> Row:
    """A source as JSON has it."""
    dated = row.start_ns is not None and is_wall_clock(row.start_ns, row.recorded_by)
    return {
        "source": row.uri,
        "kind": row.kind,
        "state": row.state,
        "duration_s": row.duration_ns / NS,
        "duration_ns": str(row.duration_ns),
        "width": row.width,
        "height": row.height,
        "frames": row.frames,
        "damaged": row.damaged,
        "indexed_to_ns": None if row.next_t_ns is None else str(row.next_t_ns),
        "start_ns": None if row.start_ns is None else str(row.start_ns),
        "recorded": iso(row.start_ns) if dated else None,
        "recorded_by": row.recorded_by or None,
        "added_ns": str(row.added_at),
        "stale": row.stale,
    }
