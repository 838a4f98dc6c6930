"""`vidmem ls`, `vidmem info`, `vidmem rm`: what a memory holds. They need no encoder, so they work on every memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..address import printable
from ..errors import ModelError, UsageError
from ..records import SourceKind
from ..timecode import NS, age, clock, is_wall_clock, iso, recording_date
from . import completing
from .options import MemoryOption
from .output import Listing, Row, Show, listing, say, size

if TYPE_CHECKING:
    from ..store import SourceRow, Store

KINDS = {
    SourceKind.PICTURES: "photos",
    SourceKind.IMAGES: "film of pictures",
    SourceKind.IMAGE: "film of one picture",
    SourceKind.LOG: "topic of a log",
    SourceKind.EPISODE: "episode of a dataset",
    SourceKind.LIVE: "camera, watched live",
}
"""Kinds of sources for people."""
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
    table = [("source", "state", "length", "size", "recorded")]
    table += [
        (
            row.uri,
            STATES[row.state] + (", to reembed" if row.stale else ""),
            clock(row.duration_ns) if row.duration_ns else "-",
            f"{row.width}x{row.height}" if row.width else "-",
            EACH if row.kind.single_pictures else recording_date(row.start_ns, row.recorded_by),
        )
        for row in rows
    ]
    show(Listing([_row(row) for row in rows], table))
    if not rows:
        say("the memory holds no video yet; `vidmem index` adds some")
    return 0


@listing
def info(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="Path or file name of a video in the memory. Without it, the memory itself.",
            autocompletion=completing.source,
        ),
    ] = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Tell what the memory or one video holds.

    With what it costs on disk and how it was made.
    """
    with _open(memory) as store:
        row = _memory(store) if source is None else _source(store, source)
    told = _memory_told(row) if source is None else _source_told(row)
    show(Listing([row], [("", ""), *((label, cell) for label, cell in told.items() if cell is not None)], row))
    return 0


def rm(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Paths or names of videos, photos or folders of photos in the memory.",
            show_default=False,
            autocompletion=completing.source,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    memory: MemoryOption = None,
) -> None:
    """Forget videos or photos.

    Nothing of them is left in the memory. The files stay.
    """
    from ..query.retention import removals, remove

    with _open(memory, write=True) as store:
        wanted = list(dict.fromkeys(removals(store, sources)))  # all are known before one is removed
        names = [row.uri if path is None else os.path.join(row.uri, path) for row, path in wanted]
        if not yes:
            if not _can_ask():
                raise UsageError("rm cannot ask here, no terminal is attached; add --yes")
            if not typer.confirm(f"Forget {printable(', '.join(names))}?", err=True):
                say("nothing was removed")
                raise typer.Exit(1)
        remove(store, wanted)
        for name in names:
            say(f"forgot {name}")


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _row(row: SourceRow) -> Row:
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
        "recorded": _iso(row.start_ns, row.recorded_by),
        "recorded_by": row.recorded_by or None,
        "added_ns": str(row.added_at),
        "stale": row.stale,
    }


def _source(store: Store, name: str) -> Row:
    row = store.source(name)
    tracks = len(store.source_tracks(row.id))
    return {**_row(row), "tracks": tracks, "fingerprint": row.fingerprint, "at_hand": row.address.exists()}


def _memory(store: Store) -> Row:
    stats, model = store.stats(), store.model()
    known = _known(model.encoder) if model else None
    row: Row = {
        "memory": str(store.folder),
        "sources": stats.sources,
        "duration_s": stats.duration_ns / NS,
        "duration_ns": str(stats.duration_ns),
        "frames": stats.frames,
        "photos": stats.pictures,
        "damaged": stats.damaged,
        "tracks": stats.tracks,
        "regions": stats.regions,
        "database_bytes": stats.database_bytes,
        "cache_bytes": stats.cache_bytes,
        "bytes_per_hour": stats.bytes_per_hour,
        "encoder": model.encoder if model else None,
        "knows": known,
        "weights": model.weights if model else None,
        "regions_weights": (model.regions or None) if model else None,
        "settings": dict(model.config) if model else None,
    }
    return row


def _known(encoder: str) -> str | None:
    """What an encoder knows; None for one of your own."""
    from ..encoders import knows

    try:
        return knows(encoder)[0]
    except ModelError:
        return None


def _source_told(row: Row) -> dict[str, str | None]:
    """Labels and cells for people; those that are None are left out. Each time says by which clock it is."""
    photos, unfinished = row["kind"] == "pictures", row["state"] == "open"
    reached, length = row["indexed_to_ns"], int(row["duration_ns"])
    return {
        "source": row["source"],
        "kind": KINDS.get(row["kind"], row["kind"]),
        "state": STATES[row["state"]],
        "length": None if photos else clock(length) if length else "-",
        "size": f"{row['width']}x{row['height']}" if row["width"] else None,
        "photos" if photos else "frames": f"{row['frames']:,}",
        "damaged": f"{row['damaged']:,}",
        # Of what is done that would only be the last frame that was sampled.
        "indexed to": f"{clock(int(reached))} in the video" if unfinished and reached and not photos else None,
        "recorded": EACH
        if photos
        else recording_date(None if row["start_ns"] is None else int(row["start_ns"]), row["recorded_by"] or ""),
        "added": f"{_wall(int(row['added_ns']))}, {_ago(int(row['added_ns']))}",
        "tracks": f"{row['tracks']:,}",
        "fingerprint": row["fingerprint"],
        "at hand": _yes(row["at_hand"]),
        "to reembed": _yes(row["stale"]),
    }


def _memory_told(row: Row) -> dict[str, str | None]:
    settings = row["settings"]
    return {
        "memory": row["memory"],
        "sources": f"{row['sources']:,}",
        "length of video": clock(int(row["duration_ns"])),
        "frames": f"{max(row['frames'] - row['photos'], 0):,}",
        "photos": f"{row['photos']:,}",
        "damaged": f"{row['damaged']:,}",
        "tracks": f"{row['tracks']:,}",
        "regions": f"{row['regions']:,}",
        "database": size(row["database_bytes"]),
        "cache": size(row["cache_bytes"]),
        "per hour of video": None if row["bytes_per_hour"] is None else size(row["bytes_per_hour"]),
        "encoder": row["encoder"] or "-",
        "knows": row["knows"],
        "weights": row["weights"],
        "weights of regions": row["regions_weights"],
        "settings": None if settings is None else _setting(settings),
    }


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_setting(v) if isinstance(v, Mapping) else f"{k} {_setting(v)}" for k, v in value.items())
    return _yes(value) if isinstance(value, bool) else str(value)


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _ago(ns: int) -> str:
    since = time.time_ns() - ns
    return f"{age(since)} ago" if since >= 0 else f"{age(-since)} ahead of this machine's clock"


def _wall(ns: int) -> str:
    """A date and time on the clock of this machine, with its zone."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(ns // NS))
    except (OverflowError, ValueError, OSError):  # no date: a log that counts from its start, or a damaged memory
        return f"{ns} ns"


def _iso(start_ns: int | None, by: str) -> str | None:
    return iso(start_ns) if start_ns is not None and is_wall_clock(start_ns, by) else None
