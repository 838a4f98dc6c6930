"""`vidmem timeline`: all sightings of a thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..query.chronology import mixture
from ..query.documents import sighting_row, timeline_document
from .messages import say
from .output import Listing, Row, Show, listing
from .proof import exit_code, say_missed
from .question import FILTERS, OPENING, PICTURE, TESTS, TEXT, Question, asks, say_readings
from .saving import check_suffix, opens, say_not_saved, write_picture
from .sightings import place, sighting_cells

if TYPE_CHECKING:
    from ..query.answers import Thing


@listing
@opens("save")
@asks(TEXT, PICTURE, TESTS, FILTERS, OPENING)
def timeline(
    alike: Annotated[
        bool, typer.Option("--alike", help="Also print sightings that look like a thing that was found.")
    ] = False,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="PICTURE", help="Save the timeline as a picture (.png, .jpg, .webp)."),
    ] = None,
    *,
    question: Question,
    show: Show,
) -> int:
    """List all sightings of a thing, one group per instance.

    Instances are told apart by their looks: something that leaves the view and comes back is one instance. The exit
    code is 1 if nothing is found.

    \b
    Examples:
      vidmem timeline cup
      vidmem timeline cup --alike --save cups.png
    """

    check_suffix("--save", save)
    with question.memory() as m:
        things = m.timeline(**question.arguments, alike=alike)
        if question.arguments["text"] is not None:
            say_readings(m.text_encoder, [question.arguments["text"]], single=True)
        say_readings(m.text_encoder, question.arguments["near"])
        recorded_by = {
            (s.source, s.picture): None if s.recorded_ns is None else s.recorded_by
            for thing in things
            for s in thing.sightings
        }
        if note := mixture(recorded_by.values()):
            say(note)
        say_missed(things.proof)
        show(_listing(things))
        if not things:
            say("not found")
            say_not_saved(save)
            return exit_code(1, things.proof)
        for number, thing in enumerate(things, 1):
            last, sources = thing.sightings[0], {s.source for s in thing.sightings}
            times = "once" if len(thing.sightings) == 1 else f"{len(thing.sightings)} times"
            where = "" if len(sources) == 1 else f" in {len(sources)} videos"
            say(f"thing {number}: seen {times}{where}, last: {place(last, last.end_ns)}")
        if save is not None:
            write_picture(m.timeline_sheet(things, question.title or "timeline"), save)
    return exit_code(0, things.proof)


def _listing(things: Sequence[Thing]) -> Listing:
    numbered = [(number, s) for number, thing in enumerate(things, 1) for s in thing.sightings]
    rows: list[Row] = [{"thing": number, **sighting_row(s)} for number, s in numbered]
    header, *cells = sighting_cells([s for _, s in numbered])
    table: list[Sequence[str]] = [("thing", *header, "source")]
    table += [(str(number), *row, s.picture or s.source) for (number, s), row in zip(numbered, cells, strict=True)]
    return Listing(rows, table, timeline_document(things))
