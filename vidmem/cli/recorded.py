"""`vidmem recorded`: when a source was recorded, told without indexing it again."""

from __future__ import annotations

from typing import Annotated

import typer

from ..timecode import recording_date
from . import completing
from .options import MemoryOption
from .output import say


def recorded(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Path or name of a source in the memory, or of a picture in a folder of single pictures.",
            show_default=False,
            autocompletion=completing.source,
        ),
    ],
    when: Annotated[
        list[str],
        typer.Argument(
            metavar="WHEN...",
            help="When it began: 2026-01-31T08:30, yesterday 18:02; or what tells it: container (of a "
            "photo its EXIF), name, mtime (the time of the file); or none.",
            show_default=False,
        ),
    ],
    memory: MemoryOption = None,
) -> None:
    """Say when a video was recorded.

    Nothing is indexed again. By this clock answers tell what was last, and dates.
    """
    from ..indexer.dating import parse_choice, redate
    from ..memory import default_folder
    from ..store import Store

    chosen = parse_choice(" ".join(when))
    with Store.open(memory or default_folder(), write=True) as store:
        done = redate(store, source, chosen)
    if done.pictures > 1 or done.left:
        left = f", {done.left} left as {'it was' if done.left == 1 else 'they were'}" if done.left else ""
        say(f"{done.pictures} of its pictures dated by {chosen.method}{left}: {done.uri}")
    else:
        told = "without a date" if done.start_ns is None else f"recorded {recording_date(done.start_ns, done.by)}"
        say(f"{told}: {source if done.pictures else done.uri}")
