"""What the commands of `vidmem fleet` share: their arguments, and how a shard is named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError

if TYPE_CHECKING:
    from ...fleet.catalogue import Catalogue
    from ...fleet.rows import ShardRow

CatalogueArgument = Annotated[
    str,
    typer.Argument(
        metavar="CATALOGUE",
        help="A file such as house.catalogue, or an address such as postgresql://HOST/NAME.",
        show_default=False,
    ),
]
LEAST_LETTERS = 6
"""Letters of the id of a shard that are enough to name it."""


def shard_argument(help: str) -> object:
    """A positional shard of the catalogue."""
    return typer.Argument(metavar="SHARD", help=help, show_default=False)


def chosen(catalogue: Catalogue, text: str) -> ShardRow:
    """Return the shard with this number, address or key, or the one whose id begins with these letters.

    Raises:
        UsageError: There is none, or there are several.
    """
    rows = catalogue.shards(ready=False)
    named = [row for row in rows if text in (str(row.number), row.uri, row.key)]
    found = named or [row for row in rows if row.uri == os.path.abspath(text)] or _beginning(rows, text)
    found = [row for row in found if row.state != "replaced"] or found
    if len(found) == 1:
        return found[0]
    remedy = "`vidmem fleet ls` lists them"
    if found:
        raise UsageError(f"{len(found)} shards begin with {text[:64]!r}; {remedy}")
    raise UsageError(f"there is no shard {text[:64]!r} in the catalogue; {remedy}: {catalogue.name}")


def _beginning(rows: Sequence[ShardRow], text: str) -> list[ShardRow]:
    return [row for row in rows if len(text) >= LEAST_LETTERS and (row.sha256 or "").startswith(text)]
