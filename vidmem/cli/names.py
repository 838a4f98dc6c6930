"""`vidmem names`: what an encoder knows by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from . import completing
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, say


@listing
def names(
    part: Annotated[
        str | None,
        typer.Argument(
            metavar="PART", help="Only names with this in them.", show_default=False, autocompletion=completing.name
        ),
    ] = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """List the names that the encoder knows.

    Those of the memory's encoder, or of tiny where there is no memory. Exit code 1 when no name has PART in it.
    """
    from ..encoders import find, load_text

    spec = encoder or _spec(memory)
    if find(spec).open_vocabulary:  # though its weights may not be here
        show(Listing([], (), {"encoder": spec, "open_vocabulary": True, "names": []}))
        say(f"`{spec}` takes any phrase; name things as you like")
        return 0
    text = load_text(spec, weights)
    known = text.names()
    wanted = " ".join((part or "").lower().split())
    rows: list[Row] = [
        {"name": name, "another_name_for": other or None} for name, other in sorted(known.items()) if wanted in name
    ]
    table: list[Sequence[str]] = [("name", "another name for")]
    table += [(row["name"], row["another_name_for"] or "") for row in rows]
    show(Listing(rows, table, {"encoder": spec, "open_vocabulary": False, "names": rows}))
    if not known:
        say(f"`{spec}` has no list of its names; it knows {text.info.knows}")
        return 0
    if rows:
        say(f"{len(rows)} of {len(known)} names of `{spec}`")
        return 0
    import difflib

    near = difflib.get_close_matches(wanted, known, 5, 0.5)
    say(f"no name of `{spec}` has {wanted[:40]!r} in it" + (f"; near: {', '.join(near)}" if near else ""))
    return 1


def _spec(memory: str | None) -> str:
    """The encoder that made the memory; the default one, where there is none yet."""
    from ..encoders import DEFAULT
    from ..memory import default_folder
    from ..store import Store
    from ..store.files import DATABASE_NAME

    folder = Path(memory or default_folder())
    if not (folder / DATABASE_NAME).exists():
        if memory:
            say(f"there is no memory here, so these are the names of `{DEFAULT}`: {folder}")
        return DEFAULT
    with Store.open(folder) as store:
        made = store.model()
    return made.encoder if made else DEFAULT
