"""One progress bar on stderr with a true total, and nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..address import printable
from ..timecode import clock
from .output import is_quiet

Advance = Callable[[str, int], None]
"""Called with what is being worked on and the nanoseconds of media that are done in all."""


def wanted() -> bool:
    """Whether anybody would see a bar."""
    return sys.stderr.isatty() and not is_quiet()


@contextmanager
def progress_bar(total_ns: int, told: Callable[[int], str] = clock, *, mixed: bool = False) -> Iterator[Advance]:
    """A bar over `total_ns` of media, 0 when unknown. told: how an amount is written, for what is not counted in
    nanoseconds; mixed: the amounts are of several kinds, the share that is done is told. What is printed meanwhile
    appears above it."""
    if not wanted():
        yield lambda label, done_ns: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[position]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("opening", total=total_ns or None, position="")

        def advance(label: str, done_ns: int) -> None:
            position = f"{told(done_ns)} of {told(total_ns)}" if total_ns else told(done_ns)
            if mixed and total_ns:
                position = f"{min(done_ns / total_ns, 1):.0%}"
            bar.update(
                task, completed=min(done_ns, total_ns or done_ns), description=printable(label)[:40], position=position
            )

        yield advance
