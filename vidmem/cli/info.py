"""`vidmem info`: what a memory or one of its sources holds, and how it was made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from ..encoders import check_stranger, knows
from ..errors import ModelError
from ..fleet.address import is_fleet
from ..query.documents import plain
from ..query.source_documents import memory_document, source_details
from ..records import SourceKind
from ..timecode import NS, age, clock, recording_date
from .options import AskedMemoryOption, source_argument
from .output import Listing, Row, Show, listing, size
from .sources import OWN_DATES, STATES, open_store

if TYPE_CHECKING:
    from ..store import Store

KINDS = {
    SourceKind.PICTURES: "photos",
    SourceKind.IMAGES: "film of pictures",
    SourceKind.IMAGE: "film of one picture",
    SourceKind.LOG: "topic of a log",
    SourceKind.EPISODE: "episode of a dataset",
    SourceKind.LIVE: "camera, watched live",
}
"""Kinds of sources, for people."""


@listing
def info(
    source: Annotated[
        str | None,
        source_argument("A source in the memory, by path or name. Default: the memory itself."),
    ] = None,
    memory: AskedMemoryOption = None,
    *,
    show: Show,
) -> int:
    """Show what the memory, or one source, holds.

    Includes its size on disk, and the encoder and settings that made it.

    \b
    Examples:
      vidmem info
      vidmem info walk.mp4
    """
    with open_store(memory) as store:
        row = _document(store, source)
    cells = _memory_cells(row) if source is None else _source_cells(row)
    show(Listing([row], [("", ""), *((label, cell) for label, cell in cells.items() if cell is not None)], row))
    return 0


def _document(store: Store, source: str | None) -> Row:
    if source is not None:
        return dict(plain(source_details(store, store.source(source))))
    model = store.model()
    return dict(plain(memory_document(store, _knows(model.encoder) if model else None)))


def _knows(encoder: str) -> str | None:
    """What an encoder knows; None for one that is not installed."""

    try:
        check_stranger(encoder)
        return knows(encoder)[0]
    except ModelError:
        return None


def _source_cells(row: Row) -> dict[str, str | None]:
    """Labels and cells of a source; None is left out. Each time says which clock it is on."""
    photos, unfinished = row["kind"] == "pictures", row["state"] == "open"
    indexed_to, length = row["indexed_to_ns"], int(row["duration_ns"])
    start_ns = None if row["start_ns"] is None else int(row["start_ns"])
    return {
        "source": row["source"],
        "kind": KINDS.get(row["kind"], row["kind"]),
        "state": STATES[row["state"]],
        "length": None if photos else clock(length) if length else "-",
        "size": f"{row['width']}x{row['height']}" if row["width"] else None,
        "photos" if photos else "frames": f"{row['frames']:,}",
        "damaged": f"{row['damaged']:,}",
        # For a finished source this would only be the last frame that was sampled.
        "indexed to": f"{clock(int(indexed_to))} in the video" if unfinished and indexed_to and not photos else None,
        "recorded": OWN_DATES if photos else recording_date(start_ns, row["recorded_by"] or ""),
        "added": f"{_local_time(int(row['added_ns']))}, {_ago(int(row['added_ns']))}",
        "tracks": f"{row['tracks']:,}",
        "fingerprint": row["fingerprint"],
        "file present": _yes_no(row["at_hand"]),
        "to reembed": _yes_no(row["stale"]),
    }


def _memory_cells(row: Row) -> dict[str, str | None]:
    settings = row["settings"]
    return {
        "memory": row["memory"],
        "sealed": row["sealed"],
        "sources": f"{row['sources']:,}",
        "length of video": clock(int(row["duration_ns"])),
        "frames": f"{max(row['frames'] - row['photos'], 0):,}",
        "photos": f"{row['photos']:,}",
        "damaged": f"{row['damaged']:,}",
        "tracks": f"{row['tracks']:,}",
        # Only its shards know the regions of a fleet.
        "regions": None if is_fleet(row["memory"]) else f"{row['regions']:,}",
        "database" if not is_fleet(row["memory"]) else "shards": size(row["database_bytes"]),
        "cache": None if is_fleet(row["memory"]) else size(row["cache_bytes"]),
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
    return _yes_no(value) if isinstance(value, bool) else str(value)


def _yes_no(value: object) -> str:
    return "yes" if value else "no"


def _ago(ns: int) -> str:
    elapsed = time.time_ns() - ns
    return f"{age(elapsed)} ago" if elapsed >= 0 else f"{age(-elapsed)} ahead of this machine's clock"


def _local_time(ns: int) -> str:
    """A date and time on the clock of this machine, with its zone."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(ns // NS))
    except (OverflowError, ValueError, OSError):  # not a date: a log that counts from its start, or a damaged memory
        return f"{ns} ns"
