"""A Lance table that vidmem writes: what it may be written into, and commits that are complete or not there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from ..address import shown
from ..encoders.extras import needing
from ..errors import MediaError, ModelMismatchError, UsageError
from .lance_rows import FORMAT

VECTORS = ("visual", "text")
SCALARS = {"track": "BTREE", "start_time": "BTREE", "source": "BITMAP", "shard": "BITMAP"}
"""Indexes of other columns by their kind: ids and times in order, few values as bitmaps."""
ROWS_PER_FILE = 1 << 20


class LanceTable:
    """One table. Every commit is atomic: a reader, or the next export after a kill, sees all of it or nothing.

    Attributes:
        uri: Where it lies: a folder, or an address that Lance knows, such as s3://bucket/tracks.lance.
    """

    def __init__(self, uri: str, columns: Any, dataset: Any) -> None:
        """Use `LanceTable.open`."""
        self.uri, self._columns, self._dataset = uri, columns, dataset

    @classmethod
    def open(cls, uri: str, columns: Any, *, replace: bool = False) -> Self:
        """Open a table to write into; it need not exist.

        Args:
            uri: Where it lies; the name ends in .lance.
            columns: The schema of `lance_rows.schema`.
            replace: What is in it will be replaced, so it may be of another encoder.

        Raises:
            UsageError: the name does not end in .lance, or something else lies there.
            ModelMismatchError: another encoder made the vectors in it.
            MediaError: it is damaged, of another format, or cannot be reached.
            ModelError: the library is not installed.
        """
        with needing("lance", "a Lance table"):
            import lance
        if not uri.rstrip("/").endswith(".lance"):
            raise UsageError(f"the name of a Lance table ends in .lance, or LanceDB does not see it: {shown(uri)}")
        local = "://" not in uri
        if local and os.path.lexists(uri) and not _may_hold_a_table(uri):
            raise UsageError(f"something else lies here; give the name of a new table: {shown(uri)}")
        dataset = None
        with errors(uri, "read"):
            try:
                dataset = lance.dataset(uri)
            except ValueError as error:
                if "was not found" not in str(error):
                    raise
        table = cls(uri, columns, dataset)
        if dataset is not None:
            table._check(replace)
        return table

    def _check(self, replace: bool) -> None:
        about = {key.decode(): value.decode() for key, value in (self._dataset.schema.metadata or {}).items()}
        if "vidmem" not in about:
            raise UsageError(f"vidmem did not write this table; give the name of a new one: {shown(self.uri)}")
        if replace:
            return
        if about["vidmem"] != str(FORMAT):
            raise MediaError(f"the table is of another format; write it anew with `replace`: {shown(self.uri)}")
        wanted = {key.decode(): value.decode() for key, value in self._columns.metadata.items()}
        for name in ("encoder", "weights", "visual_dim", "text_dim"):
            if about.get(name) != wanted[name]:
                raise ModelMismatchError(
                    f"the table has vectors of another encoder ({name} {about.get(name, '')[:40]}, here "
                    f"{wanted[name][:40]}); give the name of a new table, or write it anew with `replace`: "
                    f"{shown(self.uri)}"
                )

    def held(self) -> dict[str, set[tuple[int, int]]]:
        """The shards in the table, each with the `generation` and the `clock_ns` of its rows: one pair, unless someone
        else has changed the table."""
        found: dict[str, set[tuple[int, int]]] = {}
        if self._dataset is None:
            return found
        with errors(self.uri, "read"):
            for batch in self._dataset.to_batches(columns=["shard", "generation", "clock_ns"]):
                columns = batch.to_pydict()
                for shard, *state in set(
                    zip(columns["shard"], columns["generation"], columns["clock_ns"], strict=True)
                ):
                    found.setdefault(shard, set()).add((state[0], state[1]))
        return found

    def write(self, batches: Sequence[Any]) -> list[Any]:
        """Write rows to files that belong to no version yet; `put` or `overwrite` makes them part of the table."""
        import pyarrow as pa
        from lance.fragment import write_fragments

        rows = pa.Table.from_batches(batches, schema=self._columns)
        mode = "append" if self._dataset is not None else "create"
        with errors(self.uri, "written"):
            return list(
                write_fragments(rows, self.uri, schema=self._columns, mode=mode, max_rows_per_file=ROWS_PER_FILE)
            )

    def put(self, shard: str, fragments: Sequence[Any]) -> None:
        """Replace the rows of a shard by those in `fragments`, or add them, in one commit."""
        import lance

        with errors(self.uri, "written"):
            if self._dataset is None:
                self._commit(lance.LanceOperation.Overwrite(self._columns, list(fragments)), 0)
                return
            condition = f"shard = '{_quoted(shard)}'"
            gone, changed = [], []
            for fragment in self._dataset.get_fragments():
                held = fragment.count_rows(condition)
                if held and held == fragment.count_rows():
                    gone.append(fragment.fragment_id)
                elif held:  # the files of several shards were joined
                    changed.append(fragment.delete(condition))
            operation = (
                lance.LanceOperation.Update(
                    removed_fragment_ids=gone, updated_fragments=changed, new_fragments=list(fragments)
                )
                if gone or changed
                else lance.LanceOperation.Append(list(fragments))
            )
            self._commit(operation, self._dataset.version)

    def overwrite(self, fragments: Sequence[Any]) -> None:
        """Replace all rows by those in `fragments`, in one commit."""
        import lance

        with errors(self.uri, "written"):
            version = 0 if self._dataset is None else self._dataset.version
            self._commit(lance.LanceOperation.Overwrite(self._columns, list(fragments)), version)

    def _commit(self, operation: Any, version: int) -> None:
        import lance

        self._dataset = lance.LanceDataset.commit(self.uri, operation, read_version=version)

    def index(self, metric: str = "dot") -> None:
        """Build the indexes, or bring those that are there up to date.

        Vectors get IVF_RQ. The metric is the inner product, which is the cosine of unit vectors: with Lance's own
        metric "cosine" a range of distances is compared with codes on another scale, and finds next to nothing.
        """
        with errors(self.uri, "indexed"):
            have = {name for index in self._dataset.describe_indices() for name in index.field_names}
            if have:
                self._dataset.optimize.optimize_indices()
            for name in VECTORS:
                size = self._columns.field(name).type.list_size
                if name not in have and size % 8 == 0:  # one bit a number, in whole bytes
                    self._dataset.create_index(name, "IVF_RQ", metric=metric, name=f"{name}_rq")
            for name, kind in SCALARS.items():
                if name not in have:
                    self._dataset.create_scalar_index(name, kind, name=f"{name}_{kind.lower()}")

    def tidy(self) -> None:
        """Delete the files of former versions, so that what was replaced is not kept."""
        if self._dataset is not None:
            with errors(self.uri, "written"):
                self._dataset.cleanup_old_versions(older_than=timedelta(0))

    def __len__(self) -> int:
        if self._dataset is None:
            return 0
        with errors(self.uri, "read"):
            return int(self._dataset.count_rows())


def _may_hold_a_table(path: str) -> bool:
    """Return True for an empty folder, a table, and what is left where the first export was killed."""
    return os.path.isdir(path) and {name for name in os.listdir(path) if name[0] not in "._"} <= {"data"}


@contextmanager
def errors(uri: str, what: str) -> Iterator[None]:
    """Turn what Lance raises into a MediaError that names the table and shows no secret."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        cause = re.split(r", /\S+\.rs:|\n", str(error))[0][:200]
        text = f"the table cannot be {what} ({cause}); check the place and its keys, or give another name"
        raise MediaError(f"{shown(text)}: {shown(uri)}") from None


def _quoted(text: str) -> str:
    return text.replace("'", "''")
