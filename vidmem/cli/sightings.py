"""How tables and messages show sightings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..timecode import clock, relative_date

if TYPE_CHECKING:
    from ..records import Sighting

NO_VIDEO = "the memory holds no video yet; add some with `vidmem index`"
ANY_PHRASE = "for any phrase: `vidmem reembed --encoder clip` (its weights: `vidmem models pull clip`)"
"""What to do when the names that an encoder knows are not enough."""


def sighting_cells(sightings: Sequence[Sighting]) -> list[tuple[str, ...]]:
    """The first cells of a table of sightings, the header first.

    The columns are: when it was recorded, if any date is known; from and to in the video; the probability, or the
    score where no probability is known.
    """
    calibrated = all(s.probability is not None for s in sightings)
    header = ("from", "to", "prob" if calibrated else "score")
    rows = [
        (
            video_clock(s, s.start_ns),
            video_clock(s, s.end_ns),
            probability_or_score(s) if calibrated else f"{s.score:.3f}",
        )
        for s in sightings
    ]
    dates = [relative_date(s.recorded_ns, s.recorded_by) for s in sightings]
    if not any(dates):
        return [header, *rows]
    return [("when", *header), *((date or "-", *row) for date, row in zip(dates, rows, strict=True))]


def place(s: Sighting, t_ns: int) -> str:
    """A moment of a sighting, such as "yesterday 18:02, 0:12.0 into a.mp4"."""
    date = relative_date(s.recorded_ns, s.recorded_by)
    if s.picture:
        return f"{date}, {Path(s.picture).name}" if date else Path(s.picture).name
    name = Path(s.source).name
    return f"{date}, {clock(t_ns)} into {name}" if date else f"{clock(t_ns)} in {name}"


def video_clock(s: Sighting, t_ns: int) -> str:
    """A time in the video, or - for a single picture."""
    return "-" if s.picture else clock(t_ns)


def probability_cell(probability: float | None) -> str:
    """A probability with two digits, or "not calibrated"."""
    return "not calibrated" if probability is None else f"{probability:.2f}"


def probability_or_score(s: Sighting) -> str:
    """The probability of a sighting, or its score where none is known."""
    return f"{s.score:.3f}" if s.probability is None else probability_cell(s.probability)
