"""`vidmem fleet rm`: take shards out of a catalogue."""

from __future__ import annotations

from typing import Annotated

from ..messages import say
from .choosing import CatalogueArgument, chosen, shard_argument


def rm(
    catalogue: CatalogueArgument,
    shards: Annotated[list[str], shard_argument("Shards or tasks, by number, id, key or address.")],
) -> None:
    """Take shards out of a catalogue.

    Questions no longer ask them. Their files stay where they are. The number of a shard is not given to another.

    \b
    Examples:
      vidmem fleet rm house.catalogue 3
    """
    from ...fleet.catalogue import Catalogue

    with Catalogue.open(catalogue) as opened:
        rows = [chosen(opened, shard) for shard in dict.fromkeys(shards)]  # fails before anything is removed
        for row in rows:
            opened.remove(row.number)
            say(f"removed shard {row.number}" + (f", which stays at: {row.uri}" if row.uri else ""))
