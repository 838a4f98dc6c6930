"""Find a source by what a user calls it: its path, the end of its path, or a name that a table has shortened."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import PurePath

from ..address import Address
from ..errors import UsageError
from . import picture_files, reader
from .rows import SourceRow

ELLIPSIS = "…"
"""Stands for the rest of a name that a table has shortened."""


def source_by_id(conn: sqlite3.Connection, source_id: int) -> SourceRow:
    """Return the source with this id. Raises UsageError when it is not in the memory (any more)."""
    row = reader.source_where(conn, "id = ?", source_id)
    if row is None:
        raise UsageError(f"no source has the id {source_id}")
    return row


def find_source(conn: sqlite3.Connection, name: str) -> SourceRow:
    """Return the source with the path `name`, or else the only one whose path ends with the folders and file in it.

    For part of a log or a dataset, the path without the part is enough.

    Raises:
        UsageError: no source has this name (the message gives similar ones), or several have it.
    """
    found = _named(conn, name)
    if len(found) > 1:
        raise ambiguous(name, [row.uri for row in found])
    return found[0]


def find_parts(conn: sqlite3.Connection, name: str) -> list[SourceRow]:
    """As `find_source`, but for a log or dataset that is named without a part return all its parts in the memory."""
    found = _named(conn, name)
    if len({row.address.path for row in found}) > 1:
        raise ambiguous(name, [row.uri for row in found])
    return found


def find_photo(conn: sqlite3.Connection, name: str) -> tuple[SourceRow, str] | None:
    """Return the source of the photo with this path, or end of a path, and the photo's path in it.

    None when there is no such photo, or several.
    """
    found = picture_files.named(conn, name)
    row = reader.source_where(conn, "id = ?", found[0][0]) if len(found) == 1 else None
    return None if row is None else (row, found[0][1])


def _named(conn: sqlite3.Connection, name: str) -> list[SourceRow]:
    """All sources that the name may mean, at least one."""
    absolute = str(Address.parse(name).absolute())
    exact = reader.source_where(conn, "uri = ?", name) or reader.source_where(conn, "uri = ?", absolute)
    return [exact] if exact is not None else named(name, reader.sources(conn), lambda: picture_files.named(conn, name))


def named(name: str, rows: Sequence[SourceRow], photos: Callable[[], list[tuple[int, str]]]) -> list[SourceRow]:
    """Return all sources that a name may mean, at least one.

    Args:
        name: What a user calls a source; it is not the whole path of one.
        rows: All sources.
        photos: Gives the sources and paths of the photos that the name may mean.

    Raises:
        UsageError: It means none.
    """
    address, wanted = Address.parse(name), PurePath(name).parts
    found = [
        row
        for row in rows
        if wanted and wanted in (PurePath(path).parts[-len(wanted) :] for path in (row.uri, row.address.path))
    ]
    found = found or [row for row in rows if ELLIPSIS in name and _matches_shortened(name, row.uri)]
    whole = [row for row in found if row.address.path == str(address.absolute())]
    if not found:
        held = {source for source, _ in photos()}
        if folder := next((row for row in rows if row.id in held), None):
            raise UsageError(f"{name!r} is a photo; the source is its folder, give that: {folder.uri}")
        if address.exists():
            raise UsageError(f"nothing of it is in the memory; run `vidmem index` on it first: {name}")
        raise UsageError(f"no source is called {name!r}; {_suggestion(name, [row.uri for row in rows])}")
    return whole or found


def _matches_shortened(name: str, path: str) -> bool:
    """Return True if `name` is `path`, or the end of it, with ELLIPSIS in place of some of it."""
    pattern = ".*".join(map(re.escape, name.split(ELLIPSIS)))
    return re.fullmatch(f"(.*[/\\\\])?{pattern}", path, re.DOTALL) is not None


def ambiguous(name: str, uris: list[str]) -> UsageError:
    """Return the error for a name that several sources have."""
    return UsageError(f"{len(uris)} sources are called {name!r}; give one of: {_first_few(uris)}")


def _suggestion(name: str, uris: list[str]) -> str:
    import difflib  # only a mistyped name needs it

    if not uris:
        return "the memory is empty, index a video first"
    names = {PurePath(uri).name.lower(): uri for uri in uris}
    close = difflib.get_close_matches(PurePath(name).name.lower(), names, n=3, cutoff=0.5)
    return f"near: {_first_few([names[c] for c in close])}" if close else f"there are: {_first_few(uris)}"


def _first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
