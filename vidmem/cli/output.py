"""What goes to stdout: results as a table, JSON, CSV or JSON lines."""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer

from ..address import shown, without_secrets
from ..errors import UsageError
from ..query.documents import public
from .signatures import parameter, parameters, set_parameters

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """Results in every format.

    rows: plain data, one row per result, for --csv and --nl.
    table: cells for people, the header first.
    document: what --json prints; the rows when None.
    """

    rows: Sequence[Row]
    table: Sequence[Sequence[str]]
    document: object = None


class Show(Protocol):
    """Prints a listing in the format that the user chose."""

    def __call__(self, listing: Listing) -> None: ...


def listing(command: Callable[..., int]) -> Callable[..., None]:
    """Add --json, --csv, --nl and --wide to a command.

    The command receives a keyword `show`, which prints a `Listing`, and returns its exit code.
    """

    @functools.wraps(command)
    def run(*args: Any, as_json: bool, as_csv: bool, as_lines: bool, wide: bool, **options: Any) -> None:
        if as_json + as_csv + as_lines > 1:
            raise UsageError("--json, --csv and --nl are three formats; give one of them")
        table = functools.partial(_print_table, width=None if wide else terminal_width())
        write = _print_json if as_json else _print_csv if as_csv else _print_lines if as_lines else table

        def show(listing: Listing) -> None:
            write(listing)
            sys.stdout.flush()  # a closed pipe is noticed here, not at exit

        if code := command(*args, show=show, **options):
            raise typer.Exit(code)

    formats = [
        parameter("as_json", Annotated[bool, typer.Option("--json", help="Print one JSON document.")]),
        parameter("as_csv", Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]),
        parameter("as_lines", Annotated[bool, typer.Option("--nl", help="Print one JSON object per line.")]),
        parameter("wide", Annotated[bool, typer.Option("--wide", help="Do not shorten cells to fit the terminal.")]),
    ]
    set_parameters(run, [*parameters(command, without=("show",)), *formats])
    return run


def size(n: float) -> str:
    """A number of bytes for people, such as 1.5 kB."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} GB"


def count(n: int, noun: str) -> str:
    """A number with its noun, such as 1 frame or 2 frames."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def box_cell(box: Sequence[float]) -> str:
    """A box as a table shows it, in whole pixels."""
    return ",".join(f"{v:.0f}" for v in box)


def _print_json(listing: Listing) -> None:
    print(json.dumps(public(listing.rows if listing.document is None else listing.document), indent=1))


def _print_lines(listing: Listing) -> None:
    for row in listing.rows:
        print(json.dumps(public(row)))


def _print_csv(listing: Listing) -> None:
    if not listing.rows:
        return
    out = csv.DictWriter(sys.stdout, list(listing.rows[0]), lineterminator="\n")
    out.writeheader()
    for row in listing.rows:
        out.writerow({k: _csv_cell(v) for k, v in row.items()})


_CONTROLS = {
    c: chr(c).encode("unicode_escape").decode("ascii")
    for c in (
        *(*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
        *(*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080)),
    )
}
"""Characters that control a terminal or change the direction of text. Unusual spaces stay: some file systems use them
in names, and a path in CSV must open."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of a text that spreadsheets run as a formula; some take the wide forms for the same."""


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def _csv_cell(value: Any) -> Any:
    """A value for CSV: lists joined by spaces, nested values as JSON, control characters escaped.

    A text that a spreadsheet would run gets a leading apostrophe; numbers stay numbers.
    """
    if isinstance(value, list):
        numbers = all(isinstance(each, int | float) for each in value)
        value = " ".join(map(str, value))
        if numbers:
            return value
    if isinstance(value, dict):
        return json.dumps(public(value))
    if not isinstance(value, str):
        return value
    text = without_secrets(value)
    guard = "'" if text.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(text) else ""
    return guard + text.translate(_CONTROLS)


def terminal_width() -> int | None:
    """Width for tables: COLUMNS, or the columns of the terminal; None when stdout is not a terminal."""
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def _print_table(listing: Listing, width: int | None) -> None:
    from .table import layout  # JSON and CSV do not need it

    cells = [[shown(cell) for cell in row] for row in listing.table]
    if len(cells) >= 2:
        print("\n".join(layout(cells, width)))
