"""`vidmem seal`: make a memory immutable and portable, or undo that."""

from __future__ import annotations

from typing import Annotated

import typer

from ..address import shown
from ..errors import StoreError, UsageError
from ..timecode import iso
from .messages import say
from .output import Listing, Row, Show, listing, size


@listing
def seal(
    memory: Annotated[str, typer.Argument(metavar="MEMORY", help="Folder of the memory.", show_default=False)],
    undo: Annotated[bool, typer.Option("--undo", help="Make a sealed memory writable again.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also seal a memory with sources that are not indexed to their end.")
    ] = False,
    *,
    show: Show,
) -> int:
    """Make a memory immutable, with checksums, or undo that.

    The memory is shrunk and gets a manifest, seal.json, with what it holds and the checksum of every file. Nothing in
    its folder is written any more, so that it can be copied, put on a read-only disk or into an object store, and
    entered into a catalogue. Questions work as before. A memory that did not change gets the same id again. One that
    is sealed already is checked, as by `vidmem verify`.

    \b
    Examples:
      vidmem seal monday.memory
      vidmem seal monday.memory --undo
    """
    from ..fleet import checking, manifest, sealing
    from ..fleet.address import folder_of, is_fleet
    from ..store.files import sealed

    if not memory:
        raise UsageError("the name of the memory is empty; give its folder")
    if is_fleet(memory):
        raise UsageError(f"a fleet is not sealed, the memories in it are: {shown(memory)}")
    folder = folder_of(memory)
    if undo:
        if partial:
            raise UsageError("`undo` and `partial` exclude each other; give one of them")
        sealing.unseal(folder)
        say(f"the memory can be written to again: {folder}")
        return 0
    before = sealed(folder)
    found = sealing.seal(folder, partial=partial)
    if before and (problems := checking.verify(folder)):
        raise StoreError(f"the memory was changed after sealing ({problems[0]}); {manifest.RESTORE}: {folder}")
    row: Row = {
        "memory": str(folder),
        "id": found.id,
        "sources": len(found.sources),
        "tracks": found.tracks,
        "bytes": found.total_bytes,
        "encoder": found.model.encoder,
        "t_min": iso(found.t_min),
        "t_max": iso(found.t_max),
    }
    table = [("", ""), ("sealed", str(folder)), ("id", found.id), ("sources", f"{len(found.sources):,}")]
    table += [("tracks", f"{found.tracks:,}"), ("size", size(found.total_bytes)), ("encoder", found.model.encoder)]
    show(Listing([row], table, row))
    return 0
