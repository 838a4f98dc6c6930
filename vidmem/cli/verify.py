"""`vidmem verify`: check shards, and all shards of a catalogue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..address import shown
from ..errors import StoreError, VidmemError
from ..fleet.address import is_fleet
from .messages import warn
from .output import Listing, Row, Show, listing

if TYPE_CHECKING:
    from ..fleet.checking import Problem

SOME = 3
"""Exit code when some shards of a catalogue are sound and others are not."""


@listing
def verify(
    where: Annotated[
        str,
        typer.Argument(
            metavar="SHARD",
            help="A sealed memory, as a folder or an address such as s3://BUCKET/ID; or a catalogue, whose shards are "
            "all checked.",
            show_default=False,
        ),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Compare only names and sizes, not contents.")] = False,
    *,
    show: Show,
) -> int:
    """Check that shards are as they were sealed.

    Names every file that differs from the checksum in the manifest, is missing, or was added. Nothing is written. The
    exit code is 4 if the shard differs, and 3 if some shards of a catalogue do.

    \b
    Examples:
      vidmem verify monday.memory
      vidmem verify house.catalogue --quick
    """
    from ..fleet.manifest import RESTORE

    shards = [(where, None)] if _is_shard(where) else _shards(where)
    rows: list[Row] = []
    broken = 0
    for uri, expected in shards:
        found = _problems(uri, expected, quick)
        broken += bool(found)
        rows += [{"shard": uri, "ok": False, "file": p.name, "found": p.what} for p in found]
        if not found:
            rows.append({"shard": uri, "ok": True, "file": "", "found": "as it was sealed"})
    table = [("", "shard", "file", "found")]
    table += [("ok" if row["ok"] else "BROKEN", row["shard"], row["file"], row["found"]) for row in rows]
    show(Listing(rows, table))
    if not broken:
        return 0
    if len(shards) > 1:
        warn(
            f"{broken} of {len(shards)} shards are not as they were sealed; restore them, or undo their seals, seal "
            "them again and enter them again"
        )
    else:
        warn(f"do not use this shard: {RESTORE}")
    return SOME if broken < len(shards) else StoreError.exit_code


def _is_shard(where: str) -> bool:
    from ..fleet.storage import REMOTE

    return Path(where).is_dir() or where.partition("://")[0] in (*REMOTE, "file")


def _shards(where: str) -> Sequence[tuple[str, str | None]]:
    from ..fleet.catalogue import Catalogue

    if "://" not in where and not os.path.exists(where) and not is_fleet(where):
        raise StoreError(f"there is no shard and no catalogue here; check the path: {where}")

    with Catalogue.open(where) as catalogue:
        return [(row.uri, row.sha256) for row in catalogue.shards()]


def _problems(uri: str, expected: str | None, quick: bool) -> list[Problem]:
    from ..fleet import checking, storage

    try:
        at = storage.place(uri)
        if at.is_local:
            return checking.verify(at.folder, quick=quick, expected=expected)
        return storage.verify_remote(uri, quick=quick, expected=expected)
    except VidmemError as error:
        if expected is None:
            raise
        return [checking.Problem("", shown(str(error)))]
