"""`vidmem forget` and `vidmem compact`: what a memory is to lose, told before it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..timecode import NS, clock
from . import completing
from .asking import say_readings
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, say, size

if TYPE_CHECKING:
    from ..query.retention import Forgetting


@listing
def forget(
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="TIME",
            help="Everything seen before: an age (30d, 12h, 90min, 4w), a date, a date with a "
            "time; with --source also a time in the video.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="Path or name of a video in the memory; may be given again.",
            autocompletion=completing.source,
        ),
    ] = None,
    thing: Annotated[
        str | None,
        typer.Option(
            "--object",
            metavar="THING",
            help="A thing in words, or the number of one of its tracks.",
            autocompletion=completing.name,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Forget what is old, videos, or a thing.

    Tells what would go, and does it only when asked to. Nothing of it is left in the memory; the videos stay.
    """
    from ..memory import Memory, default_folder
    from ..query.retention import carry_out, plan
    from ..store import Store
    from ..timecode import parse_moment

    if yes and dry_run:
        raise UsageError("--yes and --dry-run exclude each other; give one of them")
    moment = None if before is None else parse_moment(before)
    folder = memory or default_folder()
    if thing is None:  # works on every memory, whatever made it
        with Store.open(folder) as store:
            steps = plan(store, before=moment, sources=source or ())
    else:
        with Memory.open(folder, encoder=encoder, weights=weights, read_only=True) as m:
            steps = m.forget(before=moment, sources=source or (), thing=thing)
            if not thing.isdecimal():
                say_readings(m.text_encoder, [thing], alone=True)
    show(_listing(steps))
    if not steps:
        say("nothing to forget")
        return 1
    if dry_run or not (yes or _agreed()):
        say("nothing was removed" + ("" if dry_run else "; add --yes to do it"))
        return 0
    with Store.open(folder, write=True) as store:
        known = {row.id for row in store.sources()}
        carry_out(store, [step for step in steps if step.source.id in known])
        after = store.stats()
    say(
        f"forgotten; the memory holds {after.sources} sources and {after.tracks} tracks, "
        f"{size(after.database_bytes + after.cache_bytes)}"
    )
    return 0


@listing
def compact(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how much is free.")] = False,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Make the files of a memory as small as they can be.

    Gives back what forgetting and interrupted work left free. What is in the memory stays as it is.
    """
    from ..memory import default_folder
    from ..store import Store

    with Store.open(memory or default_folder(), write=not dry_run) as store:
        before, free = store.stats(), store.free_bytes()
        joined = 0 if dry_run else store.compact()
        after = store.stats()
    row: Row = {
        "memory": str(store.folder),
        "bytes_before": before.database_bytes + before.cache_bytes,
        "free_bytes": free,
        "bytes_after": None if dry_run else after.database_bytes + after.cache_bytes,
        "blobs_joined": joined,
    }
    table = [("before", "free", "after", "joined")]
    table += [(size(row["bytes_before"]), size(free), "-" if dry_run else size(row["bytes_after"]), str(joined))]
    show(Listing([row], table, row))
    if not dry_run:
        say("the vectors' cache was removed; the next question makes it again")
    return 0


def _agreed() -> bool:
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
    table = [("what", "tracks", "shortened", "frames", "regions", "source")]
    table += [
        (
            _what(step),
            str(step.loss.tracks),
            str(step.loss.shortened),
            str(step.loss.frames),
            str(step.loss.regions),
            step.source.uri,
        )
        for step in steps
    ]
    return Listing(rows, table)


def _what(step: Forgetting) -> str:
    if step.whole:
        return "all of it"
    return "the thing" if step.part.before_ns is None else f"before {clock(step.part.before_ns)}"
