"""What the commands of `vidmem eval` share: options, the encoder, the run and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ...encoders import DEFAULT, check, check_masks, load
from ..messages import progress_bar, say, warn
from ..options import PhotoEncoderOption
from ..output import Listing, Show, count

if TYPE_CHECKING:
    from ...encoders import Encoder
    from ...evaluation.journal import Journal
    from ...evaluation.report import Table
    from ...evaluation.run import Outcome

EncoderOption = PhotoEncoderOption
OutOption = Annotated[
    str,
    typer.Option(
        "--out", metavar="FOLDER", help="Folder of the run. The same command goes on there.", show_default=False
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Only the first N, for a trial.", show_default=False),
]
MOST_NAMED = 10
"""Items left out that are named on the terminal; the report names all."""

Item = TypeVar("Item")


def load_encoder(spec: str | None, device: str | None, weights: str | None, masks: str | None = None) -> Encoder:
    """The encoder that the options name. Errors come before anything slow."""
    spec = spec or DEFAULT
    check(spec, weights)
    if masks is not None:
        check_masks(spec)
    return load(spec, device, weights, masks=masks)


def encoder_settings(encoder: Encoder) -> dict[str, str]:
    """What the results depend on, for the settings of the journal."""
    info = encoder.info
    return {"encoder": info.name, "weights": info.weights, "regions": info.regions}


def run(
    journal: Journal,
    items: Sequence[Item],
    key: Callable[[Item], str],
    work: Callable[[Item], Any],
    noun: str,
    files: Callable[[Item], Iterable[Path]] | None = None,
) -> Outcome:
    """Run the items with a progress bar.

    Args:
        journal: See `run_items`.
        items: Likewise.
        key: Likewise.
        work: Likewise.
        noun: What an item is, such as "picture".
        files: See `run_items`.
    """
    from ...evaluation.run import run_items

    if journal.done:
        say(f"{count(len(journal.done), noun)} done before; going on")
    with progress_bar(len(items), lambda n: count(n, noun)) as advance:
        outcome = run_items(journal, items, key, work, advance, files=files)
    if outcome.changed:
        say(f"{count(len(outcome.changed), noun)} done again, since files have changed since: {outcome.changed[0]}")
    return outcome


def of_all(used: Sequence[Any], everything: Sequence[Any], noun: str) -> str:
    """How many items of how many, for the title of a table."""
    if len(used) == len(everything):
        return count(len(used), noun)
    return f"the first {len(used):,} of {count(len(everything), noun)}"


def conclude(
    out: str, document: Mapping[str, Any], tables: Sequence[Table], outcome: Outcome, noun: str, show: Show
) -> int:
    """Write the report and print the first table; the exit code of the command.

    document: The figures in full. The items that were left out are added under `skipped`.
    """
    from ...evaluation.report import without_nan, write_report

    full = without_nan({**document, "items": len(outcome.results), "skipped": outcome.skipped})
    write_report(out, full, tables)
    table = tables[0]
    rows = [
        {"method": method.name, **without_nan({column: method.figures.get(column) for column in table.columns})}
        for method in table.ours
    ]
    show(Listing(rows, table.cells(), full | {"tables": [each.plain() for each in tables]}))
    for note in table.notes:
        say(note)
    for name, reason in list(outcome.skipped.items())[:MOST_NAMED]:
        warn(f"left out, {name}: {reason}")
    if outcome.skipped:
        missing = len(outcome.skipped) - MOST_NAMED
        more = f"{missing:,} more were left out; " if missing > 0 else ""
        warn(f"{more}the figures are of {count(len(outcome.results), noun)}; the same command tries the rest again")
    say(f"the report is in {out}")
    return 3 if outcome.skipped else 0
