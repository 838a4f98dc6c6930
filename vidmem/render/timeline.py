"""A timeline: a lane for each thing, with its picture and a bar for each video that it was seen in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from ..query.answers import Thing
from ..records import Sighting
from ..timecode import clock, counted
from .captions import date_text, file_name, probability_text
from .drawing import (
    FAINT,
    INK,
    INNER,
    MARGIN,
    QUIET,
    SMALL,
    TEXT,
    TINY,
    Page,
    colours,
    fitted,
    fitted_path,
    heading_height,
    length,
    page,
    thumbnail,
    wrapped,
    write,
)
from .evidence import Evidence, evidence_of_each
from .originals import Originals

MAX_LANES = 24
"""Things in a picture: those seen last."""
MAX_BARS = 5
"""Videos in a lane: those with the newest sightings of the thing."""
MAX_PHOTOS = 4
"""Photos that are named in a lane."""
_THUMBNAIL = (144, 108)
_LEFT = MARGIN + _THUMBNAIL[0] + 14
_BAR, _ROW, _GAP = 14, 42, 18


def timeline_sheet(
    things: Sequence[Thing], lengths: Mapping[str, int], title: str, *, originals: Originals
) -> Image.Image:
    """Draw things, at most MAX_LANES.

    Args:
        things: What to draw, the one seen last first.
        lengths: Length of each video in ns, by source; 0 or missing if not known.
        title: First line.
        originals: The files that pictures are taken from.

    Returns:
        An RGB picture, 960 pixels wide.
    """
    shown = things[:MAX_LANES]
    pictures = evidence_of_each([_best(thing) for thing in shown], originals)
    lanes = [_bars(thing) for thing in shown]
    heights = [max(_THUMBNAIL[1], 26 + _ROW * len(bars) + (20 if more else 0)) + _GAP for bars, more in lanes]
    sightings = sum(len(thing.sightings) for thing in things)
    count = f"{counted(len(things), 'thing')}, {counted(sightings, 'sighting')}"
    details = wrapped([count, "most recently seen first"], TEXT, INNER)
    sheet = page(title, details, 34 + sum(heights) + (30 if len(things) > len(shown) else 0))
    _legend(sheet, heading_height(details))
    y = sheet.top + 34
    paint = [(int(red), int(green), int(blue)) for red, green, blue in colours(len(shown))]
    for number, (thing, picture, (bars, more), height) in enumerate(zip(shown, pictures, lanes, heights, strict=True)):
        _lane(sheet, y, number + 1, thing, picture, bars, more, lengths, paint[number])
        y += height
    if len(things) > len(shown):
        write(sheet.draw, (MARGIN, y), f"and {counted(len(things) - len(shown), 'more thing')}", TEXT)
    return sheet.image


def _best(thing: Thing) -> Sighting:
    return max(thing.sightings, key=lambda s: (s.probability or 0.0, s.score))


def _bars(thing: Thing) -> tuple[list[list[Sighting]], int]:
    """The sightings of each source that gets a bar, with all photos as one source, and the number of other sources."""
    by_source: dict[str, list[Sighting]] = {}
    for sighting in thing.sightings:
        by_source.setdefault("" if sighting.picture is not None else sighting.source, []).append(sighting)
    bars = list(by_source.values())
    return bars[:MAX_BARS], max(0, len(bars) - MAX_BARS)


def _legend(sheet: Page, y: int) -> None:
    x = float(MARGIN)
    for colour, text in ((INK, "in view (the colour of the thing)"), (FAINT, "the rest of the video")):
        sheet.draw.rectangle((x, y + 3, x + 26, y + 3 + 12), fill=colour)
        write(sheet.draw, (x + 34, y), text, SMALL, QUIET)
        x += 34 + length(text, SMALL) + 28


def _lane(
    sheet: Page,
    y: int,
    number: int,
    thing: Thing,
    picture: Evidence | str,
    bars: Sequence[Sequence[Sighting]],
    more: int,
    lengths: Mapping[str, int],
    colour: tuple[int, int, int],
) -> None:
    sheet.image.paste(thumbnail(picture, _THUMBNAIL, TINY), (MARGIN, y))
    sheet.draw.rectangle((MARGIN, y, MARGIN + _THUMBNAIL[0] - 1, y + _THUMBNAIL[1] - 1), outline=colour, width=4)
    n = len(thing.sightings)
    times = "once" if n == 1 else f"{n} times"
    head = f"thing {number}: seen {times}, {probability_text(_best(thing).probability)}"
    write(sheet.draw, (_LEFT, y), head, TEXT)
    y += 26
    for sightings in bars:
        if sightings[0].picture is not None:
            _photos(sheet, y, sightings)
        else:
            _bar(sheet.draw, y, sightings, lengths.get(sightings[0].source, 0), colour)
        y += _ROW
    if more:
        write(sheet.draw, (_LEFT, y), f"and in {counted(more, 'more video')}", SMALL, QUIET)


def _bar(
    draw: ImageDraw.ImageDraw, y: int, sightings: Sequence[Sighting], length_ns: int, colour: tuple[int, int, int]
) -> None:
    """The sightings of one thing in one video. They do not overlap in time."""
    inner = MARGIN + INNER - _LEFT
    whole = max(length_ns, *(sighting.end_ns for sighting in sightings), 1)
    end = clock(whole)
    date = date_text(sightings[0])
    name = fitted_path(file_name(sightings[0]), SMALL, inner * 0.55)
    last = f"last at {clock(sightings[0].end_ns)}"
    left = fitted(f"{name}   {f'{date}   ' if date else ''}{last}", SMALL, inner - length(end, SMALL) - 12)
    write(draw, (_LEFT, y), left, SMALL, QUIET)
    write(draw, (MARGIN + INNER, y), end, SMALL, QUIET, "ra")
    y += 20
    draw.rectangle((_LEFT, y, _LEFT + inner, y + _BAR), fill=FAINT)
    for sighting in sightings:
        x0 = min(_LEFT + inner * sighting.start_ns / whole, _LEFT + inner - 3)
        x1 = min(max(x0 + 3, _LEFT + inner * sighting.end_ns / whole), _LEFT + inner)
        draw.rectangle((x0, y, x1, y + _BAR), fill=colour)


def _photos(sheet: Page, y: int, sightings: Sequence[Sighting]) -> None:
    """The photos of one thing: they have a date, and no time in a video."""
    inner = MARGIN + INNER - _LEFT
    first = wrapped([counted(len(sightings), "photo"), date_text(sightings[0])], SMALL, inner)[0]
    names = ", ".join(fitted_path(file_name(photo), SMALL, 200) for photo in sightings[:MAX_PHOTOS])
    more = f" and {len(sightings) - MAX_PHOTOS} more" if len(sightings) > MAX_PHOTOS else ""
    write(sheet.draw, (_LEFT, y), first, SMALL, QUIET)
    write(sheet.draw, (_LEFT, y + 18), fitted(names + more, SMALL, inner), SMALL)
