"""What goes to stderr: remarks, warnings, details, and a progress bar, as loud as the user asked."""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from ..address import shown
from ..errors import UsageError
from ..timecode import clock
from .signatures import parameter, parameters, set_parameters

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and important warnings.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print what is being done and how long it takes.")]

Advance = Callable[[str, int], None]
"""Takes the item being worked on and the amount done in total."""

AMBIGUOUS = ("clip",)
"""Words that messages put in backquotes for an encoder although an option has the same name."""

_loudness = logging.INFO
"""Messages below this level are dropped."""
_option_names: dict[str, str] = {}
"""Flags of the running command by the names that the library uses for its arguments."""


def audible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --quiet and --verbose to a command. They work like those before the command."""

    @functools.wraps(command)
    def run(*args: Any, quiet: bool, verbose: bool, **options: Any) -> Any:
        set_loudness(quiet=quiet or is_quiet(), verbose=verbose or is_verbose())
        return command(*args, **options)

    set_parameters(run, [*parameters(command), parameter("quiet", QuietOption), parameter("verbose", VerboseOption)])
    return run


def set_loudness(*, quiet: bool = False, verbose: bool = False) -> None:
    """Choose which messages are printed from now on.

    Args:
        quiet: Only errors and warnings that change the meaning of a result.
        verbose: Also what the loggers of vidmem report.

    Raises:
        UsageError: Both are given.
    """
    global _loudness
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other; give one of them")
    _loudness = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logger = logging.getLogger("vidmem")
    if not any(isinstance(handler, _MessageHandler) for handler in logger.handlers):
        logger.addHandler(_MessageHandler())
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


def is_quiet() -> bool:
    """Return True after --quiet."""
    return _loudness > logging.INFO


def is_verbose() -> bool:
    """Return True after --verbose."""
    return _loudness < logging.INFO


def say(message: str) -> None:
    """Print a remark, one line on stderr."""
    _print(message, logging.INFO)


def warn(message: str) -> None:
    """Print a line that --quiet keeps: an error, or a warning that changes the meaning of a result."""
    _print(message, logging.WARNING)


def detail(message: str) -> None:
    """Print a line that only --verbose shows."""
    _print(message, logging.DEBUG)


def set_option_names(params: Sequence[Any]) -> None:
    """Let messages use the flags of a command.

    The library names an argument in backquotes, such as `min_probability` or `sources`. A message shows the flag of
    the option with that name instead (`--min-probability`, `--source`). A repeatable option also answers to its plural.
    """
    _option_names.clear()
    for param in params:
        flag = next((name for name in param.opts if name.startswith("--")), None)
        if flag is None:
            continue
        for name in (param.name, flag.removeprefix("--").replace("-", "_")):
            if name not in AMBIGUOUS:
                _option_names[name] = flag
                if getattr(param, "multiple", False):
                    _option_names[f"{name}s"] = flag


def _print(message: str, level: int) -> None:
    if level >= _loudness:
        line = re.sub(r"`(\w+)`", lambda match: _option_names.get(match[1], match[0]), message)
        print(shown(line), file=sys.stderr, flush=True)


class _MessageHandler(logging.Handler):
    """Prints what the library logs: warnings always, the rest with --verbose."""

    def emit(self, record: logging.LogRecord) -> None:
        _print(record.getMessage(), logging.WARNING if record.levelno >= logging.WARNING else logging.DEBUG)


def shows_progress() -> bool:
    """Return True if stderr is a terminal and --quiet was not given."""
    return sys.stderr.isatty() and not is_quiet()


@contextmanager
def progress_bar(total: int, show: Callable[[int], str] = clock, *, mixed: bool = False) -> Iterator[Advance]:
    """A progress bar on stderr. What is printed meanwhile appears above it.

    Args:
        total: Total amount, in nanoseconds of media unless `show` says otherwise; 0 if unknown.
        show: Writes an amount for people.
        mixed: The amounts are of several kinds, so the bar shows a percentage.
    """
    if not shows_progress():
        yield lambda label, done: None
        return
    from rich.console import Console  # slow to import
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[position]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("opening", total=total or None, position="")

        def advance(label: str, done: int) -> None:
            position = f"{show(done)} of {show(total)}" if total else show(done)
            if mixed and total:
                position = f"{min(done / total, 1):.0%}"
            bar.update(task, completed=min(done, total or done), description=shown(label)[:40], position=position)

        yield advance
