"""`vidmem things`: what is in a memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..query import arguments
from ..query.answers import sighting_row
from ..timecode import clock
from . import completing
from .asking import OPENING, TIMES, Question, asking
from .opening import opens
from .output import Listing, Row, Show, listing, say
from .where import PICTURES, check_suffix, likely, unsaved, write_picture

if TYPE_CHECKING:
    from ..query.inventory import Inventory, KnownThing

TOP = 20
"""Things that are told where nobody says how many."""


@listing
@opens("save")
@asking(TIMES, OPENING, without=("device",))
def things(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Only in these videos, a path or file name each; all without.",
            autocompletion=completing.source,
        ),
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Those seen last first, not those longest in view.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All things, not the first alone.")] = False,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, help=f"The first N, {TOP} by default.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE|vspw|ade20k|coco",
            help="What things may be called, a name a line, or the classes of a data set.",
        ),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option("--min-probability", metavar="P", help="Only things whose name is at least so probable."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="SHEET", help="Save the best view of each on one page (.png, .jpg, .webp)."),
    ] = None,
    *,
    question: Question,
    show: Show,
) -> int:
    """Say what is in the memory.

    Its things, how long each was seen and when last, with a guess at its name. Exit code 1 when there is nothing.
    """
    if everything and top is not None:
        raise UsageError("--all and --top exclude each other; give one of them")
    arguments.share("min_probability", min_probability)
    check_suffix("--save", save, PICTURES)
    asked = dict(question.asked)
    asked.pop("sources")
    with question.memory() as m:
        named = tuple(dict.fromkeys([*(sources or ()), *question.asked["sources"]]))
        found = m.things(
            *named,
            **asked,
            newest=newest,
            labels=labels,
            min_probability=min_probability,
            top=None if everything else top or TOP,
        )
        for note in found.notes:
            say(note)
        show(_listing(found))
        if not found:
            unsaved(save)
            say(
                "nothing is that probable"
                if min_probability is not None and m.sources()
                else "nothing was seen there"
                if m.sources()
                else "the memory holds no video yet; `vidmem index` adds some"
            )
            return 1
        if found.total > len(found):
            say(f"{len(found)} of {found.total} things; --all tells the rest")
        if any(not one.named for one in found):
            say("?: not sure enough of the name in brackets; `vidmem where NAME` asks for one")
        if save is not None:
            write_picture(m.things_sheet(found, _title(named)), save)
    return 0


def _title(names: tuple[str, ...]) -> str:
    return "things in the memory" if not names else f"things in {', '.join(Path(name).name for name in names)}"


def _listing(found: Inventory) -> Listing:
    from ..render.frames import date_of
    from ..render.grid import seen

    rows = [_row(one) for one in found]
    dated = any(date_of(one.last) for one in found)
    table = [("thing", "probability", "seen", "last", *(("recorded",) if dated else ()), "source")]
    table += [
        (
            one.title,
            likely(one.probability),
            seen(one),
            "-" if one.last.picture else clock(one.last.end_ns),
            *((date_of(one.last),) if dated else ()),
            one.last.picture or one.last.source,
        )
        for one in found
    ]
    return Listing(rows, table, {"found": bool(found), "total": found.total, "things": rows})


def _row(one: KnownThing) -> Row:
    return {
        "name": one.name,
        "named": one.named,
        "probability": None if one.probability is None else round(one.probability, 6),
        "guesses": [{"name": name, "probability": None if p is None else round(p, 6)} for name, p in one.guesses],
        "seen_s": one.seen_s,
        "frames": one.frames,
        "sightings": one.sightings,
        "tracks": list(one.tracks),
        "last": sighting_row(one.last),
        "best": sighting_row(one.best),
    }
