"""A timeline as a picture: a lane for each thing, with its face, and in it a bar for each video that it was seen in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from PIL import Image, ImageDraw

from ..query.answers import Thing
from ..records import Sighting
from ..timecode import clock
from .drawing import (
    FAINT,
    INK,
    INNER,
    MARGIN,
    QUIET,
    SMALL,
    TEXT,
    Page,
    close_up,
    colours,
    fitted,
    fitted_path,
    heading_height,
    length,
    page,
    wrapped,
    write,
)
from .frames import Shot, date_of, name_of, shots

LANES = 24
"""Things in a picture at the most: those seen last."""
BARS = 5
"""Videos in a lane at the most: those with the newest sightings of the thing."""
PHOTOS = 4
"""Single pictures that are named in a lane."""
_FACE = (144, 108)
_LEFT = MARGIN + _FACE[0] + 14
_BAR, _ROW, _GAP = 14, 42, 18


def timeline_picture(
    things: Sequence[Thing], lengths: Mapping[str, int], title: str, *, live: Collection[str] = ()
) -> Image.Image:
    """An RGB picture, 960 px wide. lengths: ns of each video, by source; 0 or missing when not known. live: as in
    `shots.shots`."""
    told = things[:LANES]
    faces = shots([_best(thing) for thing in told], live)
    rows = [_rows(thing) for thing in told]
    heights = [max(_FACE[1], 26 + _ROW * len(own) + (20 if rest else 0)) + _GAP for own, rest in rows]
    count = sum(len(thing.sightings) for thing in things)
    said = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((len(things), "thing"), (count, "sighting")))
    details = wrapped([said, "the one seen last first"], TEXT, INNER)
    sheet = page(title, details, 34 + sum(heights) + (30 if len(things) > len(told) else 0))
    _legend(sheet, heading_height(details))
    y = sheet.top + 34
    paint = [(int(red), int(green), int(blue)) for red, green, blue in colours(len(told))]
    for number, (thing, face, (own, rest), height) in enumerate(zip(told, faces, rows, heights, strict=True)):
        _lane(sheet, y, number + 1, thing, face, own, rest, lengths, paint[number])
        y += height
    if len(things) > len(told):
        more = len(things) - len(told)
        write(sheet.draw, (MARGIN, y), f"and {more} more thing{'' if more == 1 else 's'}", TEXT)
    return sheet.image


def _best(thing: Thing) -> Sighting:
    return max(thing.sightings, key=lambda s: (s.probability or 0.0, s.score))


def _rows(thing: Thing) -> tuple[list[list[Sighting]], int]:
    """The sightings of each source that is shown, photos together, and how many sources are not."""
    by_source: dict[str, list[Sighting]] = {}
    for one in thing.sightings:
        by_source.setdefault("" if one.picture is not None else one.source, []).append(one)
    rows = list(by_source.values())
    return rows[:BARS], max(0, len(rows) - BARS)


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
    face: Shot | str,
    own: Sequence[Sequence[Sighting]],
    rest: int,
    lengths: Mapping[str, int],
    colour: tuple[int, int, int],
) -> None:
    if isinstance(face, str):
        sheet.draw.rectangle((MARGIN, y, MARGIN + _FACE[0], y + _FACE[1]), fill=(236, 236, 232))
        write(sheet.draw, (MARGIN + _FACE[0] / 2, y + _FACE[1] / 2), fitted(face, 13, _FACE[0] - 6), 13, QUIET, "mm")
    else:
        sheet.image.paste(close_up(*face, _FACE), (MARGIN, y))
    sheet.draw.rectangle((MARGIN, y, MARGIN + _FACE[0] - 1, y + _FACE[1] - 1), outline=colour, width=4)
    n = len(thing.sightings)
    best = _best(thing).probability
    sure = "not calibrated" if best is None else f"probability {best:.2f}"
    write(sheet.draw, (_LEFT, y), f"thing {number}: seen {'once' if n == 1 else f'{n} times'}, {sure}", TEXT)
    y += 26
    for held in own:
        if held[0].picture is not None:
            _photos(sheet, y, held)
        else:
            _bar(sheet.draw, y, held, lengths.get(held[0].source, 0), colour)
        y += _ROW
    if rest:
        write(sheet.draw, (_LEFT, y), f"and in {rest} more video{'' if rest == 1 else 's'}", SMALL, QUIET)


def _bar(
    draw: ImageDraw.ImageDraw, y: int, held: Sequence[Sighting], length_ns: int, colour: tuple[int, int, int]
) -> None:
    """The sightings of one thing in one video: they do not overlap, so nothing lies on another."""
    inner = MARGIN + INNER - _LEFT
    whole = max(length_ns, *(one.end_ns for one in held), 1)
    end = clock(whole)
    dated = date_of(held[0])
    name = fitted_path(name_of(held[0]), SMALL, inner * 0.55)
    last = f"last at {clock(held[0].end_ns)}"
    left = fitted(f"{name}   {f'{dated}   ' if dated else ''}{last}", SMALL, inner - length(end, SMALL) - 12)
    write(draw, (_LEFT, y), left, SMALL, QUIET)
    write(draw, (MARGIN + INNER, y), end, SMALL, QUIET, "ra")
    y += 20
    draw.rectangle((_LEFT, y, _LEFT + inner, y + _BAR), fill=FAINT)
    for one in held:
        x0 = min(_LEFT + inner * one.start_ns / whole, _LEFT + inner - 3)
        x1 = min(max(x0 + 3, _LEFT + inner * one.end_ns / whole), _LEFT + inner)
        draw.rectangle((x0, y, x1, y + _BAR), fill=colour)


def _photos(sheet: Page, y: int, held: Sequence[Sighting]) -> None:
    """Single pictures have a date, and no time in a video."""
    inner = MARGIN + INNER - _LEFT
    count = f"{len(held)} photo{'' if len(held) == 1 else 's'}"
    first = wrapped([count, date_of(held[0])], SMALL, inner)[0]
    names = ", ".join(fitted_path(name_of(one), SMALL, 200) for one in held[:PHOTOS])
    more = f" and {len(held) - PHOTOS} more" if len(held) > PHOTOS else ""
    write(sheet.draw, (_LEFT, y), first, SMALL, QUIET)
    write(sheet.draw, (_LEFT, y + 18), fitted(names + more, SMALL, inner), SMALL)
