"""`vidmem compact`: shrink the files of a memory."""

from __future__ import annotations

from typing import Annotated

import typer

from .messages import say
from .options import MemoryOption
from .output import Listing, Row, Show, listing, size
from .sources import open_store


@listing
def compact(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how much is free.")] = False,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Shrink the files of the memory.

    Gives back the space that forgetting and interrupted runs left free. The contents stay as they are.

    \b
    Examples:
      vidmem compact --dry-run
    """
    with open_store(memory, write=not dry_run) as store:
        before, free = store.stats(), store.free_bytes()
        joined = 0 if dry_run else store.compact()
        after = store.stats()
    row: Row = {
        "memory": str(store.folder),
        "bytes_before": before.database_bytes + before.cache_bytes,
        "free_bytes": free,
        "bytes_after": None if dry_run else after.database_bytes + after.cache_bytes,
        "blobs_joined": joined,
    }
    table = [("before", "free", "after", "joined")]
    table += [(size(row["bytes_before"]), size(free), "-" if dry_run else size(row["bytes_after"]), str(joined))]
    show(Listing([row], table, row))
    if not dry_run:
        say("the cache of vectors was removed; the next question rebuilds it")
    return 0
