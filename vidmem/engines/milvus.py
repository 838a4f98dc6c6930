"""Candidates from Milvus, scores from the memory: a `Vectors` that asks an approximate index.

Every answer is refined: the memory's own vectors decide what passes a threshold and in which order. So nothing is found
that should not be; but the index may leave out what should be, and gives no bound on that. Answers say `exact: false`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, UsageError
from ..geometry import unit
from ..records import Float32
from ..store import ModelRecord, Store
from ..store.vectors import Kind, Rows, Scored, Vectors
from ..store.within import Columns, Within, meeting
from .milvus_collection import State, check, index_of
from .milvus_server import check_uri, connect, errors

PREFIX = "milvus:"
MOST = 16_384
"""The most results that Milvus gives in one answer. Where there are more, the memory is searched instead."""
SPARE = 4
"""How many times as many candidates `top` asks for as it returns."""
FEWEST = 512
"""The fewest candidates that `top` asks for. HNSW finds .76 of the ten best of 100,000 tracks with 64."""
USUAL = 2048
"""Results that a range search asks for first. Only where there are so many it asks for MOST."""
MARGIN = 0.02
"""What the threshold of a range search is lowered by, for the rounding of vectors and codes of the index."""
NPROBE = 64
"""Lists of an IVF index that are looked at."""
TOGETHER = 16
"""Queries in one request."""


class MilvusVectors:
    """The vectors of a memory, searched by Milvus. Threads may share it."""

    @property
    def approximate(self) -> str:
        """What may miss tracks."""
        return "Milvus"

    def __init__(self, vectors: Vectors, client: Any, uri: str, model: ModelRecord) -> None:
        """Use `MilvusVectors.open`."""
        self._vectors, self._client, self._uri, self._model = vectors, client, uri, model
        memory, generation = vectors.state
        self._name = check(client, uri, State.of(memory, model, generation, len(vectors)))
        with errors(uri):
            client.load_collection(self._name)
        self._index = index_of(client, uri, self._name)

    @classmethod
    def open(cls, spec: str, vectors: Vectors, model: ModelRecord) -> MilvusVectors:
        """Search the vectors of a memory by the server at `milvus:URI`.

        Raises:
            UsageError: `spec` is not milvus:URI, or the URI is not one of Milvus.
            ModelError: the library is not installed.
            StoreError: the server is down, the memory is not in it, or has changed since it was exported.
            ModelMismatchError: another encoder made the vectors there.
        """
        uri = uri_of(spec)
        return cls(vectors, connect(uri), uri, model)

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        return f"MilvusVectors({len(self)} tracks, {self._index})"

    @property
    def state(self) -> tuple[str, int]:
        return self._vectors.state

    def refreshed(self) -> MilvusVectors:
        """Itself while the memory stays as it is. Raises StoreError when it has changed and Milvus has not."""
        now = self._vectors.refreshed()
        return self if now is self._vectors else MilvusVectors(now, self._client, self._uri, self._model)

    def dim(self, kind: Kind) -> int:
        return self._vectors.dim(kind)

    def columns_of(self, rows: Rows) -> Columns:
        return self._vectors.columns_of(rows)

    def rows_of(self, ids: NDArray[np.int64]) -> Rows:
        return self._vectors.rows_of(ids)

    def rows_of_source(self, source_id: int) -> Rows:
        return self._vectors.rows_of_source(source_id)

    def rows_within(self, within: Within | None) -> Rows:
        return self._vectors.rows_within(within)

    def scores(self, kind: Kind, query: Float32, rows: Rows) -> Float32:
        return self._vectors.scores(kind, query, rows)

    def reconstruct(self, kind: Kind, rows: Rows) -> Float32:
        return self._vectors.reconstruct(kind, rows)

    def narrowed(self, kind: Kind, query: Float32, found: Scored, threshold: float) -> Scored:
        return self._vectors.narrowed(kind, query, found, threshold)

    def top_product(self, text: Float32, visual: Float32, k: int, within: Within | None = None) -> Scored:
        """Searched in the memory: no index knows the product of two cosines."""
        return self._vectors.top_product(text, visual, k, within)

    def range_search(self, kind: Kind, query: Float32, threshold: float, within: Within | None = None) -> Scored:
        """The tracks that Milvus finds whose score is at least `threshold`: rows `(n,)`, ascending, and scores `(n,)`.

        Where it finds MOST, the memory is searched instead, so that none is cut off.
        """
        return self.range_search_many(kind, np.asarray(query)[None], threshold, within)[0]

    def range_search_many(
        self, kind: Kind, queries: Float32, threshold: float, within: Within | None = None
    ) -> list[Scored]:
        """`range_search` for each of `queries` `(n, D)`."""
        out: list[Scored] = []
        for start in range(0, len(queries), TOGETHER):
            part = np.asarray(queries[start : start + TOGETHER], np.float32)
            found = self._candidates(kind, part, USUAL, threshold - MARGIN)
            for query, rows in zip(part, found, strict=True):
                if len(rows) >= USUAL:
                    (rows,) = self._candidates(kind, query[None], MOST, threshold - MARGIN)
                if len(rows) >= MOST:
                    out.append(self._vectors.range_search(kind, query, threshold, within))
                    continue
                rows = self._allowed(rows, within)
                scores = self._vectors.scores(kind, query, rows)
                keep = scores >= np.float32(threshold)
                out.append((rows[keep], scores[keep]))
        return out

    def top(self, kind: Kind, query: Float32, k: int, within: Within | None = None) -> Scored:
        """The `k` best of the candidates that Milvus gives: rows and scores, best first, the older id on ties.

        With `within` they are searched in the memory: few of what Milvus gives might be of those sources and times.
        """
        k = min(k, len(self))
        if k > MOST // SPARE or within is not None:
            return self._vectors.top(kind, query, k, within)
        (rows,) = self._candidates(kind, np.asarray(query, np.float32)[None], max(FEWEST, SPARE * k), None)
        scores = self._vectors.scores(kind, query, rows)
        best = np.lexsort((rows, -scores))[: max(0, k)]
        return rows[best], scores[best]

    def _allowed(self, rows: Rows, within: Within | None) -> Rows:
        """Those of the rows that may answer."""
        if within is None or not len(rows):
            return rows
        rows = np.setdiff1d(rows, within.without)
        return rows if within.spans is None else rows[meeting(self._vectors.columns_of(rows), within.spans)]

    def _candidates(self, kind: Kind, queries: Float32, limit: int, above: float | None) -> list[Rows]:
        """Ascending rows for each query: the `limit` nearest, of those whose inner product is more than `above`."""
        for query in queries:  # refuses what has no direction, or another length
            self._vectors.scores(kind, query, np.empty(0, np.int64))
        if not len(self):
            return [np.empty(0, np.int64) for _ in queries]
        limit = min(limit, len(self))
        parameters: dict[str, float] = {}
        if self._index == "HNSW":
            parameters["ef"] = max(limit, FEWEST)
        elif self._index.startswith("IVF"):
            parameters["nprobe"] = NPROBE
        if above is not None:
            parameters["radius"] = float(above)  # a number of NumPy has no JSON
        with errors(self._uri):
            found = self._client.search(
                self._name,
                [list(map(float, query)) for query in unit(queries)],
                anns_field=kind,
                limit=limit,
                output_fields=["track"],  # none would mean all
                search_params={"metric_type": "IP", "params": parameters},
            )
        ids = [np.sort(np.array([hit["track"] for hit in hits], np.int64)) for hits in found]
        rows = [self._vectors.rows_of(some) for some in ids]
        return [some[some >= 0] for some in rows]


def searched_by(spec: str) -> Callable[[Callable[[Store], Vectors]], Callable[[Store], MilvusVectors]]:
    """What turns that which gives the vectors of a memory or fleet into that which has them searched by Milvus.

    The server at `milvus:URI` is asked at the first question.

    Raises:
        UsageError: `spec` is not milvus:URI, or the URI is not one of Milvus.
    """
    check_uri(uri_of(spec))

    def searched(vectors: Callable[[Store], Vectors]) -> Callable[[Store], MilvusVectors]:
        def opened(store: Store) -> MilvusVectors:
            model = store.model()
            if model is None:
                raise StoreError("the memory is empty; index a video first")
            return MilvusVectors.open(spec, vectors(store), model)

        return opened

    return searched


def uri_of(spec: str) -> str:
    """The URI in `milvus:URI`. Raises UsageError for anything else."""
    if not spec.startswith(PREFIX) or len(spec) == len(PREFIX):
        raise UsageError(f"an engine is milvus:URI, such as milvus:http://127.0.0.1:19530; got {spec[:60]!r}")
    return spec.removeprefix(PREFIX)
