"""Write the tracks of a memory, or of a fleet, to one Lance table, which LanceDB, lance-ray and others search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..engines.tracks import Part, batches
from ..errors import UsageError
from ..query.asking import encoded
from ..query.naming import Naming, names_for
from ..query.query import Query
from ..store import ModelRecord
from .lance_rows import record_batch, schema
from .lance_table import LanceTable
from .parts import parts_of
from .thumbnails import thumbnails as thumbnails_of

INDEX_FROM = 100_000
"""Rows from which indexes are built. Below, a flat search reads every vector in some ms and is exact."""
PART_BYTES = 64 << 20
"""Bytes of rows that are held before they are written to a file."""

Progress = Callable[[str, int], None]
"""Called with a shard and the number of tracks that are done in all."""


@dataclass(frozen=True, slots=True)
class LanceReport:
    """What an export did.

    Attributes:
        tracks: Rows that were written.
        shards: Memories or shards that were written.
        unchanged: Those that were in the table as they are now.
        rows: Rows in the table.
        indexed: The table has indexes of vectors.
        without: Tracks that have no thumbnail though thumbnails were asked for.
    """

    tracks: int
    shards: int
    unchanged: int
    rows: int
    indexed: bool
    without: int


def to_lance(
    query: Query,
    uri: str,
    *,
    replace: bool = False,
    thumbnails: bool = False,
    names: bool = False,
    index: bool | None = None,
    progress: Progress | None = None,
) -> LanceReport:
    """Write all tracks to a table; its columns are those of `lance_rows.schema`.

    Each memory or shard is written whole, in one commit: rows of an earlier state of it are replaced, and one that is
    there as it is now is left alone. Rows of other memories stay.

    Args:
        query: The memory or fleet, open.
        uri: The table: a folder or an address that ends in .lance.
        replace: Drop everything that is in the table, in the commit that writes the new rows.
        thumbnails: Also write a JPEG of each track, from its video or photo.
        names: Also write what each track is called.
        index: Build indexes; None for INDEX_FROM rows or more.
        progress: Called after each batch.

    Raises:
        UsageError: nothing was indexed yet, or as `LanceTable.open`.
        ModelMismatchError: the table has vectors of another encoder.
        MediaError: the table is damaged, or cannot be written.
        StoreError: the memory is damaged.
    """
    with parts_of(query) as found:
        if found.model is None:
            raise UsageError("there is nothing to export; index a video first")
        table = LanceTable.open(uri, schema(found.model), replace=replace)
        writer = _Writer(table, found.model, _naming(query) if names else None, thumbnails, progress)
        known = {} if replace else table.held()
        shards = unchanged = 0
        fragments: list[Any] = []
        for opened in found.each():
            with opened as part:
                if known.get(part.shard) == {(part.generation, part.clock_ns)} or (
                    not len(part.ids) and part.shard not in known
                ):
                    unchanged += 1
                    continue
                written = writer.files(part)
                shards += 1
                if replace:
                    fragments += written
                else:
                    table.put(part.shard, written)
        if replace or not len(table):
            table.overwrite(fragments)
    rows = len(table)
    indexed = rows >= INDEX_FROM if index is None else index and rows > 0
    if indexed:
        table.index()
    table.tidy()
    return LanceReport(writer.tracks, shards, unchanged, rows, indexed, writer.without)


class _Writer:
    """Turns parts into files of the table."""

    def __init__(
        self,
        table: LanceTable,
        model: ModelRecord,
        naming: Naming | None,
        thumbnails: bool,
        progress: Progress | None,
    ) -> None:
        self._table, self._naming, self._thumbnails, self._progress = table, naming, thumbnails, progress
        self._columns = schema(model)
        self.tracks = self.without = 0

    def files(self, part: Part) -> list[Any]:
        """Write all tracks of a part; the files belong to no version yet."""
        held: list[Any] = []
        fragments: list[Any] = []
        for rows in batches(part):
            pictures = thumbnails_of(part, rows) if self._thumbnails else [None] * len(rows)
            self.without += pictures.count(None) if self._thumbnails else 0
            held.append(record_batch(self._columns, part, rows, self._naming, pictures))
            self.tracks += len(rows)
            if self._progress is not None:
                self._progress(part.shard, self.tracks)
            if sum(batch.nbytes for batch in held) >= PART_BYTES:
                fragments += self._table.write(held)
                held = []
        return fragments + (self._table.write(held) if held else [])


def _naming(query: Query) -> Naming:
    text = query.text_encoder
    fitted = query.calibration.probability
    names = names_for(text, None)
    return Naming(text, names, encoded(text, names), fitted.text if fitted else None)
