"""`vidmem ls`, `vidmem info`, `vidmem rm`: what a memory holds. They need no encoder, so they work on every memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..address import exists
from ..clock import NS, clock
from ..errors import UsageError
from ..output import Listing, Row, Show, listing, say, size
from ..when import dated, epochal, iso
from .options import MemoryOption

if TYPE_CHECKING:
    from ..store import SourceRow, Store

STATES = {"open": "interrupted", "done": "done", "partial": "done, damaged"}
"""States of a source for people."""
EACH = "each its own"
"""When single pictures were taken."""


def _open(memory: str | None, *, write: bool = False) -> Store:
    from ..memory import default_folder
    from ..store import Store

    return Store.open(memory or default_folder(), write=write)


@listing
def ls(memory: MemoryOption = None, *, show: Show) -> int:
    """List the videos in the memory.

    In the order in which they were added, with how far each was indexed.
    """
    with _open(memory) as store:
        rows = store.sources()
    table = [("source", "state", "length", "size", "frames", "damaged", "recorded", "added")]
    table += [
        (row.uri, STATES[row.state] + (", to reembed" if row.stale else ""),
         clock(row.duration_ns) if row.width else "-",
         f"{row.width}x{row.height}" if row.width else "-", str(row.frames),
         str(row.damaged), EACH if row.kind == "pictures" else dated(row.start_ns, row.recorded_by),
         _day(row.added_at)) for row in rows
    ]  # fmt: skip
    show(Listing([_row(row) for row in rows], table))
    if not rows:
        say("the memory holds no video yet; `vidmem index` adds some")
    return 0


@listing
def info(
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help="Path or file name of a video in the "
                                                 "memory. Without it, the memory itself.")] = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:  # fmt: skip
    """Tell what the memory or one video holds.

    With what it costs on disk and how it was made.
    """
    with _open(memory) as store:
        row = _memory(store) if source is None else _source(store, source)
    cells = {name: _cell(name, value) for name, value in row.items()}
    if source is not None:
        start = cells.pop("start_ns")
        known = None if row["start_ns"] is None else int(start)
        cells["recorded"] = EACH if row["kind"] == "pictures" else dated(known, row["recorded_by"] or "")
        del cells["recorded_by"]
    table = [("", ""), *((name.replace("_", " "), cell) for name, cell in cells.items())]
    show(Listing([row], table[1:] if len(table) < 2 else table, row))
    return 0


def rm(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Paths or names of videos in the memory.",
                                                 show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    memory: MemoryOption = None,
) -> None:  # fmt: skip
    """Forget videos.

    Nothing of them is left in the memory. The video files stay.
    """
    with _open(memory, write=True) as store:
        rows = {row.id: row for row in map(store.source, sources)}.values()  # all are known before one is removed
        if not yes:
            if not _can_ask():
                raise UsageError("rm cannot ask here, no terminal is attached; add --yes")
            names = ", ".join(row.uri for row in rows)
            if not typer.confirm(f"Forget {names}?", err=True):
                say("nothing was removed")
                raise typer.Exit(1)
        for row in rows:
            store.remove_source(row.id)
            say(f"forgot {row.uri}")


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _row(row: SourceRow) -> Row:
    return {
        "source": row.uri, "kind": row.kind, "state": row.state, "duration_s": row.duration_ns / NS,
        "duration_ns": str(row.duration_ns), "width": row.width, "height": row.height, "frames": row.frames,
        "damaged": row.damaged, "indexed_to_ns": None if row.next_t_ns is None else str(row.next_t_ns),
        "start_ns": None if row.start_ns is None else str(row.start_ns),
        "recorded": _iso(row.start_ns, row.recorded_by), "recorded_by": row.recorded_by or None,
        "added_ns": str(row.added_at), "stale": row.stale,
    }  # fmt: skip


def _source(store: Store, name: str) -> Row:
    row = store.source(name)
    tracks = len(store.source_tracks(row.id))
    return {**_row(row), "tracks": tracks, "fingerprint": row.fingerprint, "at_hand": exists(row.uri)}


def _memory(store: Store) -> Row:
    stats, model = store.stats(), store.model()
    row: Row = {
        "memory": str(store.folder), "sources": stats.sources, "duration_s": stats.duration_ns / NS,
        "duration_ns": str(stats.duration_ns), "frames": stats.frames, "damaged": stats.damaged,
        "tracks": stats.tracks, "regions": stats.regions, "database_bytes": stats.database_bytes,
        "cache_bytes": stats.cache_bytes, "bytes_per_hour": stats.bytes_per_hour,
        "encoder": model.encoder if model else None, "weights": model.weights if model else None,
        "regions_weights": (model.regions or None) if model else None,
        "settings": dict(model.config) if model else None,
    }  # fmt: skip
    return row


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if "bytes" in name:
        return size(value)
    if name in ("duration_ns", "indexed_to_ns"):
        return clock(int(value))
    if name == "added_ns":
        return _day(int(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_cell(k, v)}" if not isinstance(v, Mapping) else _cell(k, v) for k, v in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _iso(start_ns: int | None, by: str) -> str | None:
    return iso(start_ns) if start_ns is not None and epochal(start_ns, by) else None


def _day(ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(ns / NS))
