"""`vidmem timeline` and `vidmem watch-list`: all sightings of a thing, and the last ones of many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..clock import clock
from ..errors import MediaError
from ..output import Listing, Row, Show, listing, say, warn
from .asking import NARROWING, OPENING, PICTURE, PROBABILITY, TESTS, TEXT, TIMES, Question, asking
from .opening import opens
from .where import PICTURES, check_suffix, likely, sighting_row

if TYPE_CHECKING:
    from ..query.where import Answer, Thing

MOST_NAMES = 5000


@listing
@opens("save")
@asking(TEXT, PICTURE, TESTS, NARROWING, OPENING)
def timeline(
    alike: Annotated[bool, typer.Option(
        "--alike", help="Also sightings of what looks like a thing that was found.")] = False,
    save: Annotated[str | None, typer.Option(
        "--save", metavar="PICTURE", help="Save the timeline as a picture (.png, .jpg, .webp).")] = None,
    *,
    question: Question,
    show: Show,
) -> int:  # fmt: skip
    """All sightings of a thing, told apart by its looks.

    What left the view and came back is one thing. Exit code 1 when it was not found.
    """
    check_suffix("--save", save, PICTURES)
    with question.memory() as m:
        things = m.timeline(**question.asked, alike=alike)
        lengths = {row.uri: row.duration_ns for row in m.sources()}
    show(_listing(things))
    if not things:
        say("not found")
        return 1
    for number, thing in enumerate(things, 1):
        last, sources = thing.sightings[0], {s.source for s in thing.sightings}
        times = "once" if len(thing.sightings) == 1 else f"{len(thing.sightings)} times"
        where = "" if len(sources) == 1 else f" in {len(sources)} videos"
        say(f"thing {number}: seen {times}{where}, last at {clock(last.end_ns)} in {Path(last.source).name}")
    if save is not None:
        from ..query.timeline_picture import timeline_picture

        try:
            timeline_picture(things, lengths, question.title or "timeline").save(save)
        except OSError as error:
            raise MediaError(
                f"the picture cannot be written ({error.strerror or error}); check the folder: {save}"
            ) from None
        say(f"saved {save}")
    return 0


@listing
@asking(PROBABILITY, TIMES, OPENING, without=("device",))
def watch_list(
    names: Annotated[str, typer.Argument(metavar="FILE", help="What to look for, a name a line.", show_default=False)],
    *,
    question: Question,
    show: Show,
) -> int:  # fmt: skip
    """Say of many things when each was last seen.

    One line for each name of a file, found or not. Exit code 1 when none was found.
    """
    from ..query.labels import load_labels

    asked = load_labels(names).names
    with question.memory() as m:
        answers = m.watch(asked, **question.asked)
    for note in dict.fromkeys(note for answer in answers for note in answer.notes):
        warn(note)
    show(_names(asked, answers))
    found = sum(answer.found for answer in answers)
    say(f"{found} of {len(asked)} found")
    return 0 if found else 1


def _listing(things: Sequence[Thing]) -> Listing:
    rows: list[Row] = [
        {"thing": number, **sighting_row(s)} for number, thing in enumerate(things, 1) for s in thing.sightings
    ]
    table: list[Sequence[str]] = [("thing", "from", "to", "score", "probability", "source")]
    table += [
        (str(number), clock(s.start_ns), clock(s.end_ns), f"{s.score:.3f}", likely(s.probability),
         s.picture or s.source)
        for number, thing in enumerate(things, 1) for s in thing.sightings
    ]  # fmt: skip
    document = [
        {"thing": number, "seen": len(thing.sightings), "tracks": list(thing.tracks),
         "sightings": [sighting_row(s) for s in thing.sightings]} for number, thing in enumerate(things, 1)
    ]  # fmt: skip
    return Listing(rows, table, {"found": bool(things), "things": document})


def _names(names: Sequence[str], answers: Sequence[Answer]) -> Listing:
    rows: list[Row] = []
    table: list[Sequence[str]] = [("name", "times", "from", "to", "score", "probability", "source")]
    for name, answer in zip(names, answers, strict=True):
        last = answer[0] if answer else None
        rows.append({
            "name": name, "found": answer.found, "times": answer.total,
            "source": last.source if last else None, "start_s": last.start_s if last else None,
            "end_s": last.end_s if last else None, "start_ns": str(last.start_ns) if last else None,
            "end_ns": str(last.end_ns) if last else None, "score": round(last.score, 6) if last else None,
            "probability": round(last.probability, 6) if last and last.probability is not None else None,
        })  # fmt: skip
        table.append(
            (name, str(answer.total), clock(last.start_ns), clock(last.end_ns), f"{last.score:.3f}",
             likely(last.probability), last.picture or last.source)
            if last else (name, "0", "-", "-", "-", "-", "not found")
        )  # fmt: skip
    return Listing(rows, table)
