"""`vidmem watch-list`: when each of many things was last seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..encoders.vocabulary import first_lines
from ..errors import UnknownWordError
from ..query.documents import plain, proved, sighting_row
from ..query.labels import load_labels
from .messages import say, warn
from .output import Listing, Row, Show, listing
from .proof import exit_code
from .question import OPENING, PROBABILITY, TIMES, Question, asks
from .sightings import sighting_cells

if TYPE_CHECKING:
    from ..query.answers import Answer

FIELDS = (
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
"""Fields of the newest sighting in a row."""


@listing
@asks(PROBABILITY, TIMES, OPENING, without=("device",))
def watch_list(
    names: Annotated[str, typer.Argument(metavar="FILE", help="Names to look for, one a line.", show_default=False)],
    *,
    question: Question,
    show: Show,
) -> int:
    """Find when each thing on a list was last seen.

    Prints one row for each name in FILE, found or not. The exit code is 1 if none was found, 3 if the encoder does not
    know some of the names, and 2 if it knows none of them.

    \b
    Examples:
      vidmem watch-list things.txt --after 1d
    """
    wanted = load_labels(names).names
    with question.memory() as m:
        answers = m.watch(wanted, **question.arguments)
    notes = [note for answer in answers if "unknown" not in answer.query for note in answer.notes]
    for note in first_lines(list(dict.fromkeys(notes))):
        warn(note)
    show(_listing(wanted, answers))
    found = sum(answer.found for answer in answers)
    unknown = sum("unknown" in answer.query for answer in answers)
    say(f"{found} of {len(wanted)} found" + (f", {unknown} not known" if unknown else ""))
    if unknown:
        return UnknownWordError.exit_code if unknown == len(wanted) else 3
    proof = next((answer.proof for answer in answers if answer.proof is not None), None)
    return exit_code(0 if found else 1, proof)


def _listing(names: Sequence[str], answers: Sequence[Answer]) -> Listing:
    rows: list[Row] = []
    header, *found = sighting_cells([answer[0] for answer in answers if answer])
    table: list[Sequence[str]] = [("name", "times", *header, "source")]
    cells = iter(found)
    for name, answer in zip(names, answers, strict=True):
        last = answer[0] if answer else None
        fields = {} if last is None else sighting_row(last)
        rows.append(
            {
                "name": name,
                "found": answer.found,
                "unknown": answer.query.get("unknown"),
                "times": answer.total,
                **plain(proved(answer.proof)),
                **{field: fields.get(field) for field in FIELDS},
            }
        )
        if last is None:
            table.append((name, "0", *("-" for _ in header), _reason(answer)))
        else:
            table.append((name, str(answer.total), *next(cells), last.picture or last.source))
    return Listing(rows, table)


def _reason(answer: Answer) -> str:
    """Why a name has no sighting."""
    word, near = answer.query.get("unknown"), answer.query.get("near")
    if word is None:
        return "not found"
    hint = f", near: {', '.join(near)}" if isinstance(near, list) and near else ""
    return f"unknown word {word!r}{hint}"
