"""`vidmem rm`: forget sources."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ..address import shown
from ..errors import UsageError
from ..query.retention import removals, remove
from .messages import say
from .options import MemoryOption, source_argument
from .sources import open_store


def rm(
    sources: Annotated[
        list[str],
        source_argument("Videos, photos or folders of photos in the memory, by path or name."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    memory: MemoryOption = None,
) -> None:
    """Remove videos or photos from the memory.

    Nothing of them remains in the memory. The files themselves stay.

    \b
    Examples:
      vidmem rm walk.mp4
      vidmem rm holiday/ --yes
    """

    with open_store(memory, write=True) as store:
        wanted = list(dict.fromkeys(removals(store, sources)))  # fails before anything is removed
        names = [row.uri if path is None else os.path.join(row.uri, path) for row, path in wanted]
        if not yes:
            if not _can_ask():
                raise UsageError("there is no terminal to ask for confirmation; add --yes")
            if not typer.confirm(f"Forget {shown(', '.join(names))}?", err=True):
                say("nothing was removed")
                raise typer.Exit(1)
        remove(store, wanted)
        for name in names:
            say(f"forgot {name}")


def _can_ask() -> bool:
    return sys.stdin.isatty()
