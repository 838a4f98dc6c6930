"""`vidmem recorded`: set when a source was recorded, without indexing it again."""

from __future__ import annotations

from typing import Annotated

import typer

from ..timecode import recording_date
from .messages import say
from .options import MemoryOption, source_argument
from .sources import open_store


def recorded(
    source: Annotated[
        str,
        source_argument("Path or name of a source in the memory, or of a photo in a folder of photos."),
    ],
    when: Annotated[
        list[str],
        typer.Argument(
            metavar="WHEN",
            help="When it began, such as 2026-01-31T08:30 or yesterday 18:02; or where to read that from: container "
            "(EXIF for a photo), name, mtime (time of the file), none.",
            show_default=False,
        ),
    ],
    memory: MemoryOption = None,
) -> None:
    """Set when a video or photo was recorded.

    Nothing is indexed again. Answers use this date to decide which sighting is the last.

    \b
    Examples:
      vidmem recorded walk.mp4 2026-01-31T08:30
      vidmem recorded walk.mp4 name
      vidmem recorded photos/cup.jpg yesterday 18:02
    """
    from ..indexer.dating import parse_choice, redate  # imports PyAV

    chosen = parse_choice(" ".join(when))
    with open_store(memory, write=True) as store:
        done = redate(store, source, chosen)
    if done.pictures > 1 or done.left:
        unchanged = f", {done.left} unchanged" if done.left else ""
        say(f"{done.pictures} of its photos dated by {chosen.method}{unchanged}: {done.uri}")
    else:
        date = "without a date" if done.start_ns is None else f"recorded {recording_date(done.start_ns, done.by)}"
        say(f"{date}: {source if done.pictures else done.uri}")
