"""`vidmem names`: the names that an encoder knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated

import typer

from ..config import default_address
from ..encoders import DEFAULT, check_stranger, find, load_text
from ..fleet.address import folder_of, is_fleet
from ..fleet.opening import open_store
from ..query.documents import plain
from ..query.source_documents import names_document
from ..store import Store
from ..store.files import DATABASE_NAME
from . import completion
from .messages import say
from .options import AskedMemoryOption, EncoderOption, WeightsOption
from .output import Listing, Row, Show, listing


@listing
def names(
    part: Annotated[
        str | None,
        typer.Argument(
            metavar="PART", help="Only names that contain this.", show_default=False, autocompletion=completion.names
        ),
    ] = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    memory: AskedMemoryOption = None,
    *,
    show: Show,
) -> int:
    """List the names that the encoder knows.

    Uses the memory's encoder, or tiny if there is no memory yet. The exit code is 1 if no name contains PART.

    \b
    Examples:
      vidmem names
      vidmem names kettle
    """

    spec = encoder or _encoder_of(memory)
    if find(spec).open_vocabulary:  # known without its weights
        show(Listing([], (), plain(names_document(spec, None))))
        say(f"`{spec}` takes any phrase")
        return 0
    text = load_text(spec, weights)
    known = text.names()
    wanted = " ".join((part or "").lower().split())
    document: Row = plain(names_document(spec, known, part or ""))
    rows: list[Row] = document["names"]
    table: list[Sequence[str]] = [("name", "another name for")]
    table += [(row["name"], row["another_name_for"] or "") for row in rows]
    show(Listing(rows, table, document))
    if not known:
        say(f"`{spec}` has no list of names; it knows {text.info.knows}")
        return 0
    if rows:
        say(f"{len(rows)} of {len(known)} names of `{spec}`")
        return 0
    similar = difflib.get_close_matches(wanted, known, 5, 0.5)
    hint = f"; similar: {', '.join(similar)}" if similar else ""
    say(f"no name of `{spec}` contains {wanted[:40]!r}{hint}")
    return 1


def _encoder_of(memory: str | None) -> str:
    """The encoder that made the memory, or the default one if there is none yet."""

    address = memory or default_address()
    if is_fleet(address):
        with open_store(address) as fleet:
            made = fleet.model()
        return made.encoder if made else DEFAULT
    folder = folder_of(address)
    if not (folder / DATABASE_NAME).exists():
        if memory:
            say(f"there is no memory here, so these are the names of `{DEFAULT}`: {folder}")
        return DEFAULT
    with Store.open(folder) as store:
        made = store.model()
    if made is None:
        return DEFAULT
    check_stranger(made.encoder)
    return made.encoder
