"""What every command prints: results on stdout in the format asked for, everything else on stderr, as loud as asked."""

from __future__ import annotations

import csv
import functools
import inspect
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer

from ..address import printable
from ..errors import UsageError

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
    """Give a command the options --json, --csv, --nl and --wide, and a keyword `show` that prints a Listing
    accordingly. The command returns its exit code."""

    @functools.wraps(command)
    def run(*args: Any, as_json: bool, as_csv: bool, as_lines: bool, wide: bool, **options: Any) -> None:
        if as_json + as_csv + as_lines > 1:
            raise UsageError("--json, --csv and --nl are three formats; give one of them")
        table = functools.partial(_table, width=None if wide else terminal_width())
        write = _json if as_json else _csv if as_csv else _lines if as_lines else table

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
        _flag("wide", Annotated[bool, typer.Option("--wide", help="Print whole cells, however wide the table gets.")]),
    ]
    parameters = [*own, *formats]
    run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return run


def _flag(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)


_ARGUMENTS = """
after anchor apart ask before between clock crop decoder device encoder fps image keep_views labels lr masks
min_probability near network pixels pose precision refine resume seconds seed style target templates tensorboard text
text_start threshold top weights within
"""
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _ARGUMENTS.split()} | {
    "sources": "--source",
    "thing": "--object",
    "topics": "--topic",
}
"""What an argument that a message names in backquotes is called here: below the commands nobody speaks of options."""


QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no remarks, only errors and warnings.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Tell what is being done, and how long it takes.")]


def audible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --quiet and --verbose, which count as those before it do."""

    @functools.wraps(command)
    def run(*args: Any, quiet: bool, verbose: bool, **options: Any) -> Any:
        loudness(quiet=quiet or is_quiet(), verbose=verbose or is_verbose())
        return command(*args, **options)

    signature = inspect.signature(command, eval_str=True)
    more = [_flag("quiet", QuietOption), _flag("verbose", VerboseOption)]
    parameters = [*signature.parameters.values(), *more]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": signature.return_annotation}
    return run


_loudness = logging.INFO
"""The least level that is said."""


def loudness(*, quiet: bool = False, verbose: bool = False) -> None:
    """How much is said from now on. quiet: errors, and warnings that change the meaning of a result. verbose: what is
    being done, too, as vidmem's loggers tell it. Raises UsageError for both."""
    global _loudness
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other; give one of them")
    _loudness = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logger = logging.getLogger("vidmem")
    if not any(isinstance(handler, _Saying) for handler in logger.handlers):
        logger.addHandler(_Saying())
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


def is_quiet() -> bool:
    """Whether nothing but warnings is wanted: no progress either."""
    return _loudness > logging.INFO


def is_verbose() -> bool:
    """Whether all is told that is done."""
    return _loudness < logging.INFO


def say(message: str) -> None:
    """A remark: one line on stderr."""
    _tell(message, logging.INFO)


def warn(message: str) -> None:
    """One line on stderr that --quiet keeps: an error, or what changes the meaning of a result."""
    _tell(message, logging.WARNING)


def detail(message: str) -> None:
    """One line on stderr with --verbose alone."""
    _tell(message, logging.DEBUG)


def _tell(message: str, level: int) -> None:
    """In the words of the command line."""
    if level >= _loudness:
        told = re.sub(r"`(\w+)`", lambda name: _OPTIONS.get(name[1], name[0]), message)
        print(printable(told), file=sys.stderr, flush=True)


class _Saying(logging.Handler):
    """What the library logs, said: warnings always, the rest with --verbose."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell(record.getMessage(), logging.WARNING if record.levelno >= logging.WARNING else logging.DEBUG)


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


_CONTROLS = {
    c: chr(c).encode("unicode_escape").decode("ascii")
    for c in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""What a terminal obeys, or what turns the direction of writing. Odd spaces stay: file names of some systems have them,
and a path in CSV is to be opened."""


def _plain(value: Any) -> Any:
    """A cell of CSV: lists joined by spaces, what is nested as JSON, control characters written out, to a terminal as
    to a file."""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str):
        return value.translate(_CONTROLS)
    return json.dumps(value) if isinstance(value, dict) else value


def terminal_width() -> int | None:
    """Columns that a table may take: COLUMNS, or those of the terminal; None where stdout is none."""
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def _table(listing: Listing, width: int | None) -> None:
    from .table import layout

    cells = [[printable(cell) for cell in row] for row in listing.table]
    if len(cells) >= 2:
        print("\n".join(layout(cells, width)))
