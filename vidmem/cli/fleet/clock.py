"""`vidmem fleet clock`: say how the clock of a shard differs from the fleet's."""

from __future__ import annotations

from typing import Annotated

import typer

from ...timecode import NS, parse_time
from ..messages import say
from .choosing import CatalogueArgument, chosen, shard_argument

SETTINGS = {"ignore_unknown_options": True}
"""An offset may begin with a minus."""


def clock(
    catalogue: CatalogueArgument,
    shard: Annotated[str, shard_argument("The shard, by number, id, key or address.")],
    offset: Annotated[
        str,
        typer.Argument(
            metavar="OFFSET",
            help="What to add to its times, such as 2s, -1:30 or -250000000ns: 2s for a clock that is 2 s late.",
            show_default=False,
        ),
    ],
    error: Annotated[
        str, typer.Option("--error", metavar="TIME", help="How far the offset may be wrong, in either direction.")
    ] = "0",
) -> None:
    """Say how the clock of a shard differs from the fleet's.

    Machines that record have clocks of their own. Answers order sightings of different shards, and find those of a
    time, by the corrected times.

    \b
    Examples:
      vidmem fleet clock house.catalogue 3 2s
      vidmem fleet clock house.catalogue 3 -1:30 --error 0.5s
    """
    from ...fleet.catalogue import Catalogue

    sign = -1 if offset.startswith("-") else 1
    forms = "2s, -1:30 or -250000000ns"
    offset_ns = sign * parse_time(offset[1:] if offset[:1] in ("-", "+") else offset, forms)
    error_ns = parse_time(error)
    with Catalogue.open(catalogue) as opened:
        row = chosen(opened, shard)
        opened.set_clock(row.number, offset_ns, error_ns)
    say(f"{offset_ns / NS:+g} s are added to the times of shard {row.number}, right to {error_ns / NS:g} s")
