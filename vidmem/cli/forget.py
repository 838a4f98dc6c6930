"""`vidmem forget`: remove old sightings, videos or a thing from a memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import default_address
from ..errors import UsageError
from ..fleet.address import is_fleet, refusal
from ..memory import Memory
from ..query.retention import carry_out, plan
from ..store import Store
from ..timecode import NS, clock, parse_moment
from . import completion
from .messages import say
from .options import EncoderOption, MemoryOption, WeightsOption, source_option
from .output import Listing, Row, Show, listing, size
from .question import say_readings

if TYPE_CHECKING:
    from ..query.retention import Forgetting


@listing
def forget(
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="TIME",
            help="Remove what was seen before this time: an age (30d, 12h, 90min, 4w), a date, or a date with a time; "
            "with --source also a time in the video.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        source_option("A video in the memory, by path or name. Repeatable."),
    ] = None,
    thing: Annotated[
        str | None,
        typer.Option(
            "--object",
            metavar="THING",
            help="A thing in words, or the number of one of its tracks.",
            autocompletion=completion.names,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Remove what is old, whole videos, or a thing.

    Prints what would be removed, and asks for confirmation. It is erased from the memory; the files are not touched.

    \b
    Examples:
      vidmem forget --before 30d
      vidmem forget --source walk.mp4 --before 10:00 --yes
      vidmem forget --object "my passport" --dry-run
    """

    if yes and dry_run:
        raise UsageError("--yes and --dry-run exclude each other; give one of them")
    moment = None if before is None else parse_moment(before)
    folder = memory or default_address()
    if is_fleet(folder):
        raise refusal(str(folder))
    if not dry_run:
        _finish(folder)
    if thing is None:  # needs no encoder
        with Store.open(folder) as store:
            steps = plan(store, before=moment, sources=source or ())
    else:
        with Memory.open(folder, encoder=encoder, weights=weights, read_only=True) as m:
            steps = m.forget(before=moment, sources=source or (), thing=thing)
            if not thing.isdecimal():
                say_readings(m.text_encoder, [thing], single=True)
    show(_listing(steps))
    if not steps:
        say("nothing to forget")
        return 1
    if dry_run or not (yes or _confirmed()):
        say("nothing was removed" + ("" if dry_run else "; add --yes to remove it"))
        return 0
    with Store.open(folder, write=True) as store:
        known = {row.id for row in store.sources()}
        carry_out(store, [step for step in steps if step.source.id in known])
        stats = store.stats()
    say(
        f"forgotten; the memory now holds {stats.sources} sources and {stats.tracks} tracks, "
        f"{size(stats.database_bytes + stats.cache_bytes)}"
    )
    return 0


def _finish(folder: str | Path) -> None:
    """Finish what a run before this one was stopped in; what it removed cannot be named any more."""
    with Store.open(folder) as store:
        due = store.scrub_due()
    if due:
        Store.open(folder, write=True).close()


def _confirmed() -> bool:
    return sys.stdin.isatty() and typer.confirm("Forget this?", err=True)


def _listing(steps: Sequence[Forgetting]) -> Listing:
    rows: list[Row] = [
        {
            "source": step.source.uri,
            "whole": step.whole,
            "tracks": step.loss.tracks,
            "shortened": step.loss.shortened,
            "frames": step.loss.frames,
            "regions": step.loss.regions,
            "before_s": None if step.whole or step.part.before_ns is None else step.part.before_ns / NS,
            "before_ns": None if step.whole or step.part.before_ns is None else str(step.part.before_ns),
        }
        for step in steps
    ]
    counts = ("tracks", "shortened", "frames", "regions")
    table = [("part", *counts, "source")]
    table += [
        (_part(step), *(str(row[name]) for name in counts), row["source"])
        for step, row in zip(steps, rows, strict=True)
    ]
    return Listing(rows, table)


def _part(step: Forgetting) -> str:
    """The part of the source that goes."""
    if step.whole:
        return "all of it"
    return "the thing" if step.part.before_ns is None else f"before {clock(step.part.before_ns)}"
