"""`vidmem fleet ls`: the shards in a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...address import shown
from ...timecode import NS, iso
from ..messages import say
from ..output import Listing, Row, Show, listing, size
from .choosing import CatalogueArgument

if TYPE_CHECKING:
    from ...fleet.rows import ShardRow, ShardSource


@listing
def ls(
    catalogue: CatalogueArgument,
    sources: Annotated[bool, typer.Option("--sources", help="List the sources of the shards instead.")] = False,
    *,
    show: Show,
) -> int:
    """List the shards in a catalogue.

    Tasks that make a shard are listed, too, with who works on them and what went wrong. Times are as the shards have
    them; what `vidmem fleet clock` set is in a column of its own.

    \b
    Examples:
      vidmem fleet ls house.catalogue
      vidmem fleet ls house.catalogue --sources --json
    """
    from ...fleet.catalogue import Catalogue

    with Catalogue.open(catalogue) as opened:
        if sources:
            rows = [_source(source) for source in opened.sources()]
            table: list[tuple[str, ...]] = [("shard", "source", "tracks", "from", "to")]
            table += [
                (str(r["shard"]), r["source"], str(r["tracks"]), r["t_min"] or "-", r["t_max"] or "-") for r in rows
            ]
        else:
            shards = opened.shards(ready=False)
            rows = [_shard(row) for row in shards]
            table = [("shard", "state", "tracks", "size", "from", "to", "clock", "where")]
            table += [_cells(row) for row in shards]
    show(Listing(rows, table))
    if not rows:
        say("the catalogue is empty; `vidmem fleet add` enters sealed memories")
    return 0


def _shard(row: ShardRow) -> Row:
    return {
        "shard": row.number,
        "id": row.sha256,
        "key": row.key,
        "state": row.state,
        "encoder": row.encoder or None,
        "tracks": row.n_tracks,
        "bytes": row.bytes,
        "t_min": iso(row.t_min),
        "t_max": iso(row.t_max),
        "t_min_ns": None if row.t_min is None else str(row.t_min),
        "t_max_ns": None if row.t_max is None else str(row.t_max),
        "clock_offset_ns": str(row.clock_offset_ns),
        "clock_error_ns": str(row.clock_error_ns),
        "uri": row.uri or None,
        "owner": row.lease_owner or None,
        "lease_until": iso(row.lease_until or None),
        "about": dict(row.about) or None,
        "tries": row.tries,
        "error": row.error or None,
    }


def _cells(row: ShardRow) -> tuple[str, ...]:
    clock = "-"
    if row.clock_offset_ns or row.clock_error_ns:
        clock = f"{row.clock_offset_ns / NS:+g}s"
        clock += f" ±{row.clock_error_ns / NS:g}s" if row.clock_error_ns else ""
    where = row.uri if row.state in ("ready", "replaced") else row.error or _task(row)
    return (
        str(row.number),
        row.state,
        f"{row.n_tracks:,}",
        size(row.bytes),
        iso(row.t_min) or "-",
        iso(row.t_max) or "-",
        clock,
        where,
    )


def _task(row: ShardRow) -> str:
    """What a task is about, and who has it."""
    names, count, name = row.about.get("sources"), row.about.get("count"), row.key
    if isinstance(names, list) and names and isinstance(count, int):
        name = shown(str(names[0])) + (f" and {count - 1:,} more" if count > 1 else "")
    return f"{name}, " + (
        f"with {row.lease_owner} until {iso(row.lease_until)}"
        if row.lease_until
        else f"given back by {row.lease_owner}"
    )


def _source(source: ShardSource) -> Row:
    return {
        "shard": source.shard,
        "source": source.row.uri,
        "kind": str(source.row.kind),
        "state": source.row.state,
        "tracks": source.tracks,
        "pictures": source.pictures,
        "duration_ns": str(source.row.duration_ns),
        "t_min": iso(source.t_min),
        "t_max": iso(source.t_max),
        "t_min_ns": None if source.t_min is None else str(source.t_min),
        "t_max_ns": None if source.t_max is None else str(source.t_max),
        "id": source.row.id,
    }
