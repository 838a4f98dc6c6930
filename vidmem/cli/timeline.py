"""`vidmem timeline` and `vidmem watch-list`: all sightings of a thing, and the last ones of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UnknownWordError
from ..query.answers import sighting_row
from .asking import NARROWING, OPENING, PICTURE, PROBABILITY, TESTS, TEXT, TIMES, Question, asking, say_readings
from .opening import opens
from .output import Listing, Row, Show, listing, say, warn
from .where import PICTURES, check_suffix, place, seen_cells, unsaved, write_picture

if TYPE_CHECKING:
    from ..query.answers import Answer, Thing

TOLD = (
    "source",
    "start_s",
    "end_s",
    "start_ns",
    "end_ns",
    "recorded",
    "recorded_by",
    "picture",
    "score",
    "probability",
)
"""What a row of `watch-list` has of the newest sighting."""


@listing
@opens("save")
@asking(TEXT, PICTURE, TESTS, NARROWING, OPENING)
def timeline(
    alike: Annotated[
        bool, typer.Option("--alike", help="Also sightings of what looks like a thing that was found.")
    ] = False,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="PICTURE", help="Save the timeline as a picture (.png, .jpg, .webp)."),
    ] = None,
    *,
    question: Question,
    show: Show,
) -> int:
    """All sightings of a thing, told apart by its looks.

    What left the view and came back is one thing. Exit code 1 when it was not found.
    """
    from ..query.chronology import mixture

    check_suffix("--save", save, PICTURES)
    with question.memory() as m:
        things = m.timeline(**question.asked, alike=alike)
        if question.asked["text"] is not None:
            say_readings(m.text_encoder, [question.asked["text"]], alone=True)
        say_readings(m.text_encoder, question.asked["near"])
        ways = {
            (s.source, s.picture): None if s.recorded_ns is None else s.recorded_by
            for thing in things
            for s in thing.sightings
        }
        if weak := mixture(ways.values()):
            say(weak)
        show(_listing(things))
        if not things:
            say("not found")
            unsaved(save)
            return 1
        for number, thing in enumerate(things, 1):
            last, sources = thing.sightings[0], {s.source for s in thing.sightings}
            times = "once" if len(thing.sightings) == 1 else f"{len(thing.sightings)} times"
            where = "" if len(sources) == 1 else f" in {len(sources)} videos"
            say(f"thing {number}: seen {times}{where}, last: {place(last, last.end_ns)}")
        if save is not None:
            write_picture(m.timeline_sheet(things, question.title or "timeline"), save)
    return 0


@listing
@asking(PROBABILITY, TIMES, OPENING, without=("device",))
def watch_list(
    names: Annotated[str, typer.Argument(metavar="FILE", help="What to look for, a name a line.", show_default=False)],
    *,
    question: Question,
    show: Show,
) -> int:
    """Say of many things when each was last seen.

    One line for each name of a file, found or not. Exit code 1 when none was found, 3 when some have words that the
    encoder does not know and the others were looked for, 2 when all have.
    """
    from ..encoders.reading import first_few
    from ..query.labels import load_labels

    asked = load_labels(names).names
    with question.memory() as m:
        answers = m.watch(asked, **question.asked)
    every = [note for answer in answers if "unknown" not in answer.query for note in answer.notes]
    for note in first_few(list(dict.fromkeys(every))):
        warn(note)
    show(_names(asked, answers))
    found = sum(answer.found for answer in answers)
    strange = sum("unknown" in answer.query for answer in answers)
    say(f"{found} of {len(asked)} found" + (f", {strange} not known" if strange else ""))
    if strange:
        return UnknownWordError.exit_code if strange == len(asked) else 3
    return 0 if found else 1


def _listing(things: Sequence[Thing]) -> Listing:
    rows: list[Row] = [
        {"thing": number, **sighting_row(s)} for number, thing in enumerate(things, 1) for s in thing.sightings
    ]
    every = [(str(number), s) for number, thing in enumerate(things, 1) for s in thing.sightings]
    seen = seen_cells([s for _, s in every])
    table: list[Sequence[str]] = [("thing", *seen[0], "source")]
    table += [(number, *cells, s.picture or s.source) for (number, s), cells in zip(every, seen[1:], strict=True)]
    document = [
        {
            "thing": number,
            "seen": len(thing.sightings),
            "tracks": list(thing.tracks),
            "sightings": [sighting_row(s) for s in thing.sightings],
        }
        for number, thing in enumerate(things, 1)
    ]
    return Listing(rows, table, {"found": bool(things), "things": document})


def _nothing(answer: Answer) -> str:
    word, near = answer.query.get("unknown"), answer.query.get("near")
    if word is None:
        return "not found"
    told = f", near: {', '.join(near)}" if isinstance(near, list) and near else ""
    return f"unknown word {word!r}{told}"


def _names(names: Sequence[str], answers: Sequence[Answer]) -> Listing:
    rows: list[Row] = []
    heads, *found = seen_cells([answer[0] for answer in answers if answer])
    table: list[Sequence[str]] = [("name", "times", *heads, "source")]
    cells = iter(found)
    for name, answer in zip(names, answers, strict=True):
        last = answer[0] if answer else None
        plain = {} if last is None else sighting_row(last)
        rows.append(
            {
                "name": name,
                "found": answer.found,
                "unknown": answer.query.get("unknown"),
                "times": answer.total,
                **{k: plain.get(k) for k in TOLD},
            }
        )
        if last is None:
            table.append((name, "0", *("-" for _ in heads), _nothing(answer)))
        else:
            table.append((name, str(answer.total), *next(cells), last.picture or last.source))
    return Listing(rows, table)
