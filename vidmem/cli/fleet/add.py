"""`vidmem fleet add`: enter sealed memories into a catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from ...address import shown
from ...errors import VidmemError
from ..messages import warn
from ..output import Listing, Row, Show, listing
from .choosing import CatalogueArgument

SOME = 3


@listing
def add(
    catalogue: CatalogueArgument,
    shards: Annotated[
        list[str],
        typer.Argument(
            metavar="SHARD",
            help="Sealed memories, as folders or addresses such as s3://BUCKET/ID.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URI",
            help="First copy the shards there, each under its id: a folder, or s3://BUCKET/KEY. Default: they stay "
            "where they are.",
        ),
    ] = None,
    *,
    show: Show,
) -> int:
    """Enter sealed memories into a catalogue.

    The catalogue is made if there is none. All shards of a catalogue have the same encoder and settings. A shard that
    is there already stays, and gets its new address if it was moved. One that lies where another one lay, as after a
    change of its memory, replaces it. With several shards the others are entered if
    one cannot be, and the exit code is 3.

    \b
    Examples:
      vidmem fleet add house.catalogue monday.memory tuesday.memory
      vidmem fleet add house.catalogue *.memory --to s3://archive/shards
    """
    from ...fleet import checking, storage
    from ...fleet.catalogue import Catalogue

    rows: list[Row] = []
    sound: list[str] = []
    failed: list[tuple[str, VidmemError]] = []
    for given in shards:
        try:
            storage.read_manifest(given)
            sound.append(given)
        except VidmemError as error:
            failed.append((given, error))
    if not sound:  # before a catalogue is made
        raise failed[0][1]
    with Catalogue.open(catalogue, create=True) as opened:
        for given in sound:
            shard = given
            try:
                at = storage.place(shard)
                if to is not None:
                    shard = storage.upload(at.folder, to) if at.is_local else _moved(shard, to)
                elif at.is_local:
                    checking.check_shard(at.folder)
                found = opened.add(storage.read_manifest(shard), shard)
            except VidmemError as error:
                failed.append((given, error))
                continue
            rows.append({"shard": found.number, "id": found.sha256, "tracks": found.n_tracks, "uri": found.uri})
    if failed and not rows:
        raise failed[0][1]
    table = [("shard", "id", "tracks", "uri")]
    table += [(str(row["shard"]), row["id"][:16], f"{row['tracks']:,}", row["uri"]) for row in rows]
    show(Listing(rows, table))
    for name, cause in failed:
        warn(f"{shown(name)} was not entered: {cause}")
    return SOME if failed else 0


def _moved(shard: str, to: str) -> str:
    """Copy a shard from an object store to another place, by way of this machine."""
    import tempfile
    from pathlib import Path

    from ...fleet import storage

    with tempfile.TemporaryDirectory() as folder:
        found = storage.read_manifest(shard)
        storage.download(shard, Path(folder) / found.id, found.id)
        return storage.upload(Path(folder) / found.id, to)
