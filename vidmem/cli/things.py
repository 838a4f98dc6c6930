"""`vidmem things`: what is in a memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..query import arguments
from ..query.documents import plain, things_document
from ..timecode import clock
from .messages import say
from .options import check_limits, labels_option, source_argument
from .output import Listing, Show, listing
from .proof import exit_code
from .question import OPENING, TIMES, Question, asks
from .saving import check_suffix, opens, say_not_saved, write_picture
from .sightings import NO_VIDEO, probability_cell

if TYPE_CHECKING:
    from ..query.inventory import Inventory

TOP = 20
"""Number of things that are printed by default."""


@listing
@opens("save")
@asks(TIMES, OPENING, without=("device", "engine"))
def things(
    sources: Annotated[
        list[str] | None,
        source_argument("Only in these videos, by path or file name. Default: all."),
    ] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="Sort by when things were last seen, not by how long they were in view.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Print all things.")] = False,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, help=f"Print the first N. Default: {TOP}.")
    ] = None,
    labels: Annotated[
        str | None,
        labels_option("Names to choose from: a file with one name a line, or the classes of a data set."),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option("--min-probability", metavar="P", help="Minimum probability of the name."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save", metavar="SHEET", help="Save a page with the best view of each thing (.png, .jpg, .webp)."
        ),
    ] = None,
    *,
    question: Question,
    show: Show,
) -> int:
    """List the things in the memory, with a guess at their names.

    For each thing: its probable name, how long it was in view, and when it was last seen. The exit code is 1 if there
    is nothing.

    \b
    Examples:
      vidmem things
      vidmem things walk.mp4 --newest --save things.png
      vidmem things --after 2d --min-probability 0.5 --all --json
    """
    check_limits(everything, top)
    arguments.share("min_probability", min_probability)
    check_suffix("--save", save)
    filters = dict(question.arguments)
    names = tuple(dict.fromkeys([*(sources or ()), *filters.pop("sources")]))
    with question.memory() as m:
        found = m.things(
            *names,
            **filters,
            newest=newest,
            labels=labels,
            min_probability=min_probability,
            top=None if everything else top or TOP,
        )
        for note in found.notes:
            say(note)
        show(_listing(found))
        if not found:
            say_not_saved(save)
            if not m.sources():
                say(NO_VIDEO)
            else:
                say("nothing was seen there" if min_probability is None else "nothing is that probable")
            return exit_code(1, found.proof)
        if found.total > len(found):
            say(f"{len(found)} of {found.total} things; --all prints the rest")
        if any(not thing.named for thing in found):
            say("?: too unsure of the name in brackets; ask with `vidmem where NAME`")
        if save is not None:
            write_picture(m.things_sheet(found, _title(names)), save)
    return exit_code(0, found.proof)


def _title(names: tuple[str, ...]) -> str:
    return "things in the memory" if not names else f"things in {', '.join(Path(name).name for name in names)}"


def _listing(found: Inventory) -> Listing:
    from ..render.captions import date_text, seen_text

    document = plain(things_document(found))
    dated = any(date_text(thing.last) for thing in found)
    table = [("thing", "probability", "seen", "last", *(("recorded",) if dated else ()), "source")]
    table += [
        (
            thing.title,
            probability_cell(thing.probability),
            seen_text(thing),
            "-" if thing.last.picture else clock(thing.last.end_ns),
            *((date_text(thing.last),) if dated else ()),
            thing.last.picture or thing.last.source,
        )
        for thing in found
    ]
    return Listing(document["things"], table, document)
