"""`vidmem standing`: the names that every live session is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ..errors import UsageError
from ..memory import Memory
from ..timecode import iso
from .messages import say
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, count, listing


@listing
def standing(
    add: Annotated[list[str] | None, typer.Option("--add", metavar="TEXT", help="Keep this name. Repeatable.")] = None,
    add_list: Annotated[
        str | None, typer.Option("--add-list", metavar="FILE", help="Keep the names in this file, one a line.")
    ] = None,
    rm: Annotated[
        list[str] | None, typer.Option("--rm", metavar="TEXT", help="Keep this name no longer. Repeatable.")
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability",
            metavar="P",
            help="For the names that are added: tell only what is at least this probable. Default: what `vidmem watch` "
            "says.",
        ),
    ] = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Keep names in the memory that every `vidmem watch` tells of.

    Without --add and --rm, lists them.

    \b
    Examples:
      vidmem standing --add keys --add dog
      vidmem standing --rm dog
      vidmem standing
    """
    names = list(add or ())
    if add_list is not None:
        from ..query.labels import load_labels

        names += [name for name in load_labels(add_list).names if name not in names]
    if min_probability is not None and not names:
        raise UsageError("--min-probability is for names that are added; give --add")
    writes = bool(names or rm)
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=not writes) as m:
        if rm:
            m.remove_standing_questions(rm)
        if names:
            m.add_standing_questions(names, min_probability=min_probability)
        kept = m.standing_questions()
    rows: list[Row] = [
        {"text": row.text, "min_probability": row.min_probability, "added": iso(row.added_at)} for row in kept
    ]
    table: list[Sequence[str]] = [("name", "at least", "added")]
    table += [
        (row.text, "-" if row.min_probability is None else f"{row.min_probability:g}", (iso(row.added_at) or "-")[:16])
        for row in kept
    ]
    if writes:
        say(f"{count(len(kept), 'name')} kept")
    else:
        show(Listing(rows, table))
        if not kept:
            say("no names are kept; add some with --add")
    return 0
