"""`vidmem timeline` and `vidmem watch-list`: all sightings of a thing, and the last ones of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..clock import clock
from ..errors import MediaError, UsageError
from ..output import Listing, Row, Show, listing, say
from .conditions import (
    AfterOption,
    ApartOption,
    BeforeOption,
    BetweenOption,
    NearOption,
    SourceOption,
    WithinOption,
    conditions,
)
from .options import DeviceOption, EncoderOption, MemoryOption, WeightsOption
from .where import PICTURES, check_suffix, parse_crop, sighting_row

if TYPE_CHECKING:
    from ..query.where import Answer, Thing

MOST_NAMES = 5000


@listing
def timeline(
    text: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="What to look for, in words.")] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="PICTURE", help="A picture of the thing.")] = None,
    crop: Annotated[str | None, typer.Option(
        "--crop", metavar="VIDEO@TIME:X,Y,W,H", help="The thing in a box of an indexed video, in pixels.")] = None,
    alike: Annotated[bool, typer.Option(
        "--alike", help="Also sightings of what looks like a thing that was found.")] = False,
    save: Annotated[str | None, typer.Option(
        "--save", metavar="PICTURE", help="Save the timeline as a picture (.png, .jpg, .webp).")] = None,
    source: SourceOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    between: BetweenOption = None,
    near: NearOption = None,
    within: WithinOption = "2s",
    apart: ApartOption = None,
    threshold: Annotated[float | None, typer.Option(
        "--threshold", metavar="SCORE", help="Least score that counts as found, not the calibrated test.")] = None,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:  # fmt: skip
    """All sightings of a thing, told apart by its looks.

    What left the view and came back is one thing. Exit code 1 when it was not found.
    """
    from ..memory import Memory

    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"--threshold is a score between 0 and 1; got {threshold}")
    check_suffix("--save", save, PICTURES)
    box = None if crop is None else parse_crop(crop)
    phrase = " ".join(text) if text else None
    narrowed = conditions(source, after, before, between, near, within, apart)
    with Memory.open(memory, encoder=encoder, device=device, read_only=True, weights=weights) as m:
        things = m.timeline(phrase, image=image, crop=box, threshold=threshold, alike=alike, **narrowed)
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
            timeline_picture(things, lengths, phrase or "timeline").save(save)
        except OSError as error:
            raise MediaError(
                f"the picture cannot be written ({error.strerror or error}); check the folder: {save}"
            ) from None
        say(f"saved {save}")
    return 0


@listing
def watch_list(
    names: Annotated[str, typer.Argument(metavar="FILE", help="What to look for, a name a line.", show_default=False)],
    source: SourceOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    between: BetweenOption = None,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:  # fmt: skip
    """Say of many things when each was last seen.

    One line for each name of a file, found or not. Exit code 1 when none was found.
    """
    from ..memory import Memory
    from ..query.labels import load_labels

    narrowed = conditions(source, after, before, between, None, "0", 0)
    asked = load_labels(names).names
    with Memory.open(memory, encoder=encoder, read_only=True, weights=weights) as m:
        answers = m.watch(asked, sources=narrowed["sources"], after=narrowed["after"], before=narrowed["before"])
    for note in dict.fromkeys(note for answer in answers for note in answer.notes):
        say(note)
    show(_names(asked, answers))
    found = sum(answer.found for answer in answers)
    say(f"{found} of {len(asked)} found")
    return 0 if found else 1


def _listing(things: Sequence[Thing]) -> Listing:
    rows: list[Row] = [
        {"thing": number, **sighting_row(s)} for number, thing in enumerate(things, 1) for s in thing.sightings
    ]
    table: list[Sequence[str]] = [("thing", "from", "to", "score", "source")]
    table += [
        (str(number), clock(s.start_ns), clock(s.end_ns), f"{s.score:.3f}", s.picture or s.source)
        for number, thing in enumerate(things, 1) for s in thing.sightings
    ]  # fmt: skip
    document = [
        {"thing": number, "seen": len(thing.sightings), "tracks": list(thing.tracks),
         "sightings": [sighting_row(s) for s in thing.sightings]} for number, thing in enumerate(things, 1)
    ]  # fmt: skip
    return Listing(rows, table, {"found": bool(things), "things": document})


def _names(names: Sequence[str], answers: Sequence[Answer]) -> Listing:
    rows: list[Row] = []
    table: list[Sequence[str]] = [("name", "times", "from", "to", "score", "source")]
    for name, answer in zip(names, answers, strict=True):
        last = answer[0] if answer else None
        rows.append({
            "name": name, "found": answer.found, "times": answer.total,
            "source": last.source if last else None, "start_s": last.start_s if last else None,
            "end_s": last.end_s if last else None, "start_ns": str(last.start_ns) if last else None,
            "end_ns": str(last.end_ns) if last else None, "score": round(last.score, 6) if last else None,
        })  # fmt: skip
        table.append(
            (name, str(answer.total), clock(last.start_ns), clock(last.end_ns), f"{last.score:.3f}", last.source)
            if last else (name, "0", "-", "-", "-", "not found")
        )  # fmt: skip
    return Listing(rows, table)
