"""Many pictures on one page, each with a few lines below it: all sightings of a thing, all things of a memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from PIL import Image

from ..query.inventory import KnownThing
from ..records import Sighting
from ..timecode import clock
from .drawing import INNER, MARGIN, QUIET, SMALL, TEXT, Page, close_up, fitted, fitted_path, page, wrapped, write
from .frames import Shot, date_of, likely, name_of, shots, span_of

MOST = 60
"""Pictures on a page; how many more there are is written below."""
COLUMNS = 4
_CELL = (INNER - (COLUMNS - 1) * MARGIN) // COLUMNS
_PICTURE = (_CELL, _CELL * 3 // 4)
_LINE = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """shot: the picture and the box in it, or why there is none. head: the first line below it; lines: more,
    smaller."""

    shot: Shot | str
    head: str
    lines: tuple[str, ...]


def grid(cells: Sequence[Cell], title: str, details: Sequence[str], more: int) -> Image.Image:
    """An RGB picture, 960 px wide. more: how many there are beside those in the cells."""
    lines = max((len(cell.lines) for cell in cells), default=0)
    tall = _PICTURE[1] + 8 + 24 + _LINE * lines + 14
    rows = -(-len(cells) // COLUMNS)
    sheet = page(title, wrapped(details, TEXT, INNER), rows * tall + (34 if more else 6))
    for number, cell in enumerate(cells):
        x, y = MARGIN + number % COLUMNS * (_CELL + MARGIN), sheet.top + number // COLUMNS * tall
        _fill(sheet, cell, x, y)
    if more:
        write(sheet.draw, (MARGIN, sheet.top + rows * tall), f"and {more} more", TEXT)
    return sheet.image


def _fill(sheet: Page, cell: Cell, x: int, y: int) -> None:
    if isinstance(cell.shot, str):
        sheet.image.paste(Image.new("RGB", _PICTURE, (236, 236, 232)), (x, y))
        write(sheet.draw, (x + _CELL / 2, y + _PICTURE[1] / 2), fitted(cell.shot, SMALL, _CELL - 8), SMALL, QUIET, "mm")
    else:
        sheet.image.paste(close_up(*cell.shot, _PICTURE), (x, y))
    y += _PICTURE[1] + 6
    write(sheet.draw, (x, y), fitted(cell.head, TEXT, _CELL), TEXT)
    for number, line in enumerate(cell.lines):
        write(sheet.draw, (x, y + 24 + _LINE * number), fitted(line, SMALL, _CELL), SMALL, QUIET)


def sightings_sheet(
    sightings: Sequence[Sighting], title: str, total: int, *, heading: str = "", live: Collection[str] = ()
) -> Image.Image:
    """All sightings on one page, in their order, MOST at the most; total: how many there are in all. heading: what to
    say of them, by default their number. live: as in `shots`."""
    told = sightings[:MOST]
    cells = []
    for one, shot in zip(told, shots(told, live), strict=True):
        lines = date_of(one), span_of(one), fitted_path(name_of(one), SMALL, _CELL)
        cells.append(Cell(shot, likely(one), tuple(line for line in lines if line)))
    count = f"{total} sighting{'' if total == 1 else 's'}, the newest first"
    return grid(cells, title, [heading or count], max(total - len(told), 0))


def things_sheet(things: Sequence[KnownThing], title: str, total: int, *, live: Collection[str] = ()) -> Image.Image:
    """The best view of each thing with what it is called, how sure that is, and when it was seen last. live: as in
    `shots`."""
    told = things[:MOST]
    cells = [_thing(one, shot) for one, shot in zip(told, shots([one.best for one in told], live), strict=True)]
    count = f"{total} thing{'' if total == 1 else 's'}"
    unsure = "?: not sure enough of the name in brackets" if any(not one.named for one in told) else ""
    return grid(cells, title, [count, unsure], max(total - len(told), 0))


def _thing(one: KnownThing, shot: Shot | str) -> Cell:
    sure = "not calibrated" if one.probability is None else f"probability {one.probability:.2f}"
    lines = sure, last_of(one), seen(one), fitted_path(name_of(one.last), SMALL, _CELL)
    return Cell(shot, one.title, tuple(line for line in lines if line))


def last_of(one: KnownThing) -> str:
    """When it was in view last, for people; empty where nothing is known of that."""
    end = "" if one.last.picture is not None else clock(one.last.end_ns)
    told = ", ".join(part for part in (date_of(one.last), end) if part)
    return f"last {told}" if told else ""


def seen(one: KnownThing) -> str:
    """How much of it was seen, for people."""
    if one.last.picture is not None:
        return f"in {one.frames} photo{'' if one.frames == 1 else 's'}"
    times = "once" if one.sightings == 1 else f"{one.sightings} times"
    return f"{one.seen_s:.0f} s, {times}" if one.seen_s >= 1 else times
