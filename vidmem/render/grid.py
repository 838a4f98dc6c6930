"""Many pictures on one page, each with a few lines below it: all sightings of a thing, or all things of a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..query.inventory import KnownThing
from ..records import Sighting
from ..timecode import counted
from .captions import (
    confidence_text,
    date_text,
    file_name,
    last_seen_text,
    probability_text,
    seen_text,
    span_text,
)
from .drawing import INNER, MARGIN, QUIET, SMALL, TEXT, Page, fitted, fitted_path, page, thumbnail, wrapped, write
from .evidence import Evidence, evidence_of_each
from .originals import Originals

MAX_PICTURES = 60
"""Pictures on a page; the number of the others is written below them."""
COLUMNS = 4
_CELL = (INNER - (COLUMNS - 1) * MARGIN) // COLUMNS
_PICTURE = (_CELL, _CELL * 3 // 4)
_LINE = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture on a page.

    Attributes:
        evidence: The picture and the box in it, or why there is none.
        head: The first line below it.
        lines: More lines, in smaller letters.
    """

    evidence: Evidence | str
    head: str
    lines: tuple[str, ...]


def sightings_sheet(
    sightings: Sequence[Sighting], title: str, total: int, *, heading: str = "", originals: Originals
) -> Image.Image:
    """Draw sightings in their order, at most MAX_PICTURES.

    Args:
        sightings: What to draw.
        title: First line.
        total: Number of sightings there are in all.
        heading: Second line; by default the number of sightings.
        originals: The files that pictures are taken from.

    Returns:
        An RGB picture, 960 pixels wide.
    """
    shown = sightings[:MAX_PICTURES]
    cells = []
    for sighting, evidence in zip(shown, evidence_of_each(shown, originals), strict=True):
        lines = date_text(sighting), span_text(sighting), fitted_path(file_name(sighting), SMALL, _CELL)
        cells.append(Cell(evidence, confidence_text(sighting), tuple(line for line in lines if line)))
    heading = heading or f"{counted(total, 'sighting')}, newest first"
    return _grid(cells, title, [heading], max(total - len(shown), 0))


def things_sheet(things: Sequence[KnownThing], title: str, total: int, *, originals: Originals) -> Image.Image:
    """Draw the best view of each thing with its name, its probability, and when it was last seen.

    total, originals: as in `sightings_sheet`.
    """
    shown = things[:MAX_PICTURES]
    pictures = evidence_of_each([thing.best for thing in shown], originals)
    cells = [_cell(thing, evidence) for thing, evidence in zip(shown, pictures, strict=True)]
    unsure = "?: not sure enough of the name in brackets" if any(not thing.named for thing in shown) else ""
    return _grid(cells, title, [counted(total, "thing"), unsure], max(total - len(shown), 0))


def _cell(thing: KnownThing, evidence: Evidence | str) -> Cell:
    name = fitted_path(file_name(thing.last), SMALL, _CELL)
    lines = probability_text(thing.probability), last_seen_text(thing), seen_text(thing), name
    return Cell(evidence, thing.title, tuple(line for line in lines if line))


def _grid(cells: Sequence[Cell], title: str, details: Sequence[str], more: int) -> Image.Image:
    """A page of cells. more: how many there are besides."""
    lines = max((len(cell.lines) for cell in cells), default=0)
    height = _PICTURE[1] + 8 + 24 + _LINE * lines + 14
    rows = -(-len(cells) // COLUMNS)
    sheet = page(title, wrapped(details, TEXT, INNER), rows * height + (34 if more else 6))
    for number, cell in enumerate(cells):
        _fill(sheet, cell, MARGIN + number % COLUMNS * (_CELL + MARGIN), sheet.top + number // COLUMNS * height)
    if more:
        write(sheet.draw, (MARGIN, sheet.top + rows * height), f"and {more} more", TEXT)
    return sheet.image


def _fill(sheet: Page, cell: Cell, x: int, y: int) -> None:
    sheet.image.paste(thumbnail(cell.evidence, _PICTURE), (x, y))
    y += _PICTURE[1] + 6
    write(sheet.draw, (x, y), fitted(cell.head, TEXT, _CELL), TEXT)
    for number, line in enumerate(cell.lines):
        write(sheet.draw, (x, y + 24 + _LINE * number), fitted(line, SMALL, _CELL), SMALL, QUIET)
