"""What every command prints: results on stdout in the format asked for, everything else on stderr."""

from __future__ import annotations

import csv
import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer

from .errors import UsageError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """Results in every form. rows: plain data, one per result, for --csv and --nl. table: cells for people, the header
    first. document: what --json prints, the rows when None."""

    rows: Sequence[Row]
    table: Sequence[Sequence[str]]
    document: object = None


class Show(Protocol):
    """Prints a listing in the format that was asked for."""

    def __call__(self, listing: Listing) -> None: ...


def listing(command: Callable[..., int]) -> Callable[..., None]:
    """Give a command the options --json, --csv and --nl, and a keyword `show` that prints a Listing accordingly. The
    command returns its exit code."""

    @functools.wraps(command)
    def run(*args: Any, as_json: bool, as_csv: bool, as_lines: bool, **options: Any) -> None:
        if as_json + as_csv + as_lines > 1:
            raise UsageError("--json, --csv and --nl are three formats; give one of them")
        write = _json if as_json else _csv if as_csv else _lines if as_lines else _table

        def show(listing: Listing) -> None:
            write(listing)
            sys.stdout.flush()  # a reader that went away is noticed here, not at exit

        if code := command(*args, show=show, **options):
            raise typer.Exit(code)

    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "show"]
    formats = [
        _flag("as_json", Annotated[bool, typer.Option("--json", help="Print one JSON document.")]),
        _flag("as_csv", Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]),
        _flag("as_lines", Annotated[bool, typer.Option("--nl", help="Print one JSON object per line.")]),
    ]
    parameters = [*own, *formats]
    run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return run


def _flag(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)


_ARGUMENTS = """
after anchor apart before between clock crop decoder device encoder fps image keep_views labels lr masks
min_probability near network pixels pose precision refine resume seconds seed target templates tensorboard text
text_start threshold top weights within
"""
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _ARGUMENTS.split()} | {
    "index_pictures": "--images", "sources": "--source", "thing": "--object", "topics": "--topic"
}  # fmt: skip
"""What an argument that a message names in backquotes is called here: below the commands nobody speaks of options."""


def say(message: str) -> None:
    """One line on stderr, in the words of the command line."""
    told = re.sub(r"`(\w+)`", lambda name: _OPTIONS.get(name[1], name[0]), message)
    print(printable(told), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """`text` on one line, without control characters that a file name may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def size(n: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} GB"


def _json(listing: Listing) -> None:
    print(json.dumps(listing.rows if listing.document is None else listing.document, indent=1))


def _lines(listing: Listing) -> None:
    for row in listing.rows:
        print(json.dumps(row))


def _csv(listing: Listing) -> None:
    if not listing.rows:
        return
    out = csv.DictWriter(sys.stdout, list(listing.rows[0]), lineterminator="\n")
    out.writeheader()
    for row in listing.rows:
        out.writerow({k: _plain(v) for k, v in row.items()})


def _plain(value: Any) -> Any:
    """A cell of CSV: lists joined by spaces, what is nested as JSON."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else value


def _table(listing: Listing) -> None:
    cells = [[printable(cell) for cell in row] for row in listing.table]
    if len(cells) < 2:
        return
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
