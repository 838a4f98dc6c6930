"""Write the vectors of a memory, or of a fleet, to Milvus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines.milvus_collection import INDEXES, Rows, State, held, index_of, write
from ..engines.milvus_server import connect
from ..engines.tracks import batches
from ..errors import UsageError
from ..query.query import Query
from .parts import Parts, parts_of

INDEX_FROM = 100_000
"""Tracks from which the default index is HNSW. Below it is FLAT, which compares all vectors and misses none."""

Progress = Callable[[str, int], None]
"""Called with a shard and the number of tracks that are done in all."""


@dataclass(frozen=True, slots=True)
class MilvusReport:
    """What an export did.

    Attributes:
        collection: Its name. The alias vidmem_MEMORY leads to it.
        tracks: Rows in it.
        written: Rows that were written: all, or none if nothing has changed.
        index: The kind of its index.
        vectors: FLOAT16_VECTOR or FLOAT_VECTOR; empty if nothing was written.
    """

    collection: str
    tracks: int
    written: int
    index: str
    vectors: str


def to_milvus(
    query: Query, uri: str, *, index: str | None = None, replace: bool = False, progress: Progress | None = None
) -> MilvusReport:
    """Write all tracks to a new collection, and let it take the place of the former one when it is complete.

    Args:
        query: The memory or fleet, open.
        uri: http://HOST:PORT, https://HOST:PORT, or a file of milvus-lite that ends in .db.
        index: One of INDEXES; None for FLAT or, from INDEX_FROM tracks on, HNSW.
        replace: Write it though nothing has changed, as for another index.
        progress: Called after each batch.

    Raises:
        UsageError: nothing was indexed yet, a bad `uri`, or the server has no such index.
        ModelError: the library is not installed.
        StoreError: the server fails, or the memory is damaged. The former collection stays in use.
    """
    if index is not None and index not in INDEXES:
        raise UsageError(f"`index` is one of {', '.join(INDEXES)}; got {index[:40]}")
    client = connect(uri)
    try:
        with parts_of(query) as found:
            if found.model is None:
                raise UsageError("there is nothing to export; index a video first")
            wanted = State.of(found.id, found.model, found.generation, found.tracks)
            there = held(client, uri, wanted)
            chosen = index or ("FLAT" if found.tracks < INDEX_FROM else "HNSW")
            if there is not None and there[1] == wanted and not replace:
                return MilvusReport(there[0], wanted.tracks, 0, index_of(client, uri, there[0]), "")
            dims = found.model.visual_dim, found.model.text_dim
            name, kind = write(client, uri, wanted, dims, _rows(found, progress), chosen)
            return MilvusReport(name, wanted.tracks, wanted.tracks, chosen, kind)
    finally:
        client.close()


def _rows(found: Parts, progress: Progress | None) -> Iterator[Rows]:
    done = 0
    for opened in found.each():
        with opened as part:
            for batch in batches(part):
                tracks = [row.track for row in batch]
                sure = np.array([track.text_confidence for track in tracks], np.float32)
                fields: dict[str, list[Any]] = {
                    "shard": [part.shard] * len(batch),
                    "source": [row.source.uri for row in batch],
                    "start_ns": [track.start_ns for track in tracks],
                    "end_ns": [track.end_ns for track in tracks],
                }
                visual = np.array([track.visual for track in tracks], np.float32)
                text = np.array([track.text for track in tracks], np.float32) * sure[:, None]
                yield Rows(np.array([part.first + t.id for t in tracks], np.int64), fields, visual, text)
                done += len(batch)
                if progress is not None:
                    progress(part.shard, done)
