"""The vectors of a fleet: each search goes to the shards that may matter, and their answers are merged exactly.

A shard is left out when the sources and times asked for are not in it, or when its bounds (bounds.py) prove that no
score in it can be high enough. The rest are searched in parallel, each exactly. Nothing of the size of all tracks of a
fleet is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Float32
from ..store import Columns, Spans, Store, VectorCache, Within
from ..store.vectors import Kind, Rows, Scored, sum_margin, unit_query
from .bounds_table import BoundsTable
from .opened import OpenShard
from .state import Part

if TYPE_CHECKING:
    from .store import FleetStore

MOST_LISTED = 300_000
"""The most tracks of a fleet that are listed at once, as for all things of some sources."""
_Search = Callable[[VectorCache, Within | None], Scored]


class FleetVectors:
    """All tracks of one state of a fleet; see `store.vectors.Vectors`. Threads may share it."""

    def __init__(self, fleet: FleetStore, table: BoundsTable | None = None) -> None:
        """Use the state of the fleet that this thread is in. table: the bounds of its shards, if they are at hand."""
        self._fleet, self._state = fleet, fleet.state()
        self._table = fleet.bounds(self._state) if table is None else table
        self._held: tuple[Spans | None, list[Part]] | None = None
        """The spans of the last search, and the shards that hold some: a question searches several times."""

    @classmethod
    def of(cls, store: Store) -> FleetVectors:
        """The vectors of a fleet, from its store."""
        from .store import FleetStore

        assert isinstance(store, FleetStore)
        return cls(store)

    def __len__(self) -> int:
        return self._state.tracks

    def __repr__(self) -> str:
        return f"FleetVectors({len(self):,} tracks in {len(self._state.parts):,} shards)"

    @property
    def state(self) -> tuple[str, int]:
        """The id of the catalogue and its generation."""
        return self._state.id, self._state.generation

    @property
    def approximate(self) -> str:
        """Empty: searches are exact."""
        return ""

    def refreshed(self) -> FleetVectors:
        """The vectors of the state that this thread is in; itself when nothing has changed."""
        if self._fleet.state() is not self._state:
            return FleetVectors(self._fleet)
        return self

    def dim(self, kind: Kind) -> int:
        """Length of the vectors."""
        model = self._state.model
        return 0 if model is None else model.visual_dim if kind == "visual" else model.text_dim

    def columns_of(self, rows: Rows) -> Columns:
        """Ids, sources and times of tracks, in the order of `rows`."""
        out = Columns(*(np.zeros(len(rows), np.int64) for _ in range(6)))
        for part, positions, local in self._state.by_rows(rows):
            found = self._fleet.desk.must(part, partial(_columns, rows=local))
            out.ids[positions] = part.track_ids(found.ids)
            out.source_ids[positions] = part.source_id(0) | found.source_ids
            for name in ("ordinals", "start_ns", "end_ns", "frames"):
                getattr(out, name)[positions] = getattr(found, name)
        return out

    def rows_of(self, ids: NDArray[np.int64]) -> Rows:
        """The rows of tracks by id, -1 for unknown ids and for those of a shard that is down."""
        ids = np.asarray(ids, np.int64)
        out = np.full(len(ids), -1, np.int64)
        for part, positions, local in self._state.by_ids(ids):
            none = np.full(len(local), -1, np.int64)
            rows = self._fleet.desk.one(self._fleet.asked(), part, partial(_rows_of, ids=local), none)
            out[positions] = np.where(rows >= 0, rows + part.first, -1)
        return out

    def rows_of_source(self, source_id: int) -> Rows:
        """The rows of all tracks of a source, ascending."""
        part = self._state.part_of_source(source_id)
        none = np.empty(0, np.int64)
        if part is None:
            return none
        local = source_id - part.source_id(0)
        rows = self._fleet.desk.one(
            self._fleet.asked(), part, lambda opened: opened.cache.rows_of_source(local) + part.first, none
        )
        return rows

    def rows_within(self, within: Within | None) -> Rows:
        """The rows of all tracks that may answer, ascending.

        Raises:
            UsageError: there are more than MOST_LISTED of them.
        """
        parts = self._holding(within)
        if within is None or within.spans is None:
            self._check_listed(sum(map(len, parts)))
        out: list[Rows] = []
        for start in range(0, len(parts), 16):  # so that too many are refused before all of them are there
            some = self._fleet.each(
                parts[start : start + 16], lambda part, opened: opened.cache.rows_within(part.within(within))
            )
            out += [rows + part.first for part, rows in some]
            self._check_listed(sum(map(len, out)))
        return np.concatenate(out) if out else np.empty(0, np.int64)

    def _check_listed(self, count: int) -> None:
        if count > MOST_LISTED:
            raise UsageError(
                f"more than {MOST_LISTED:,} tracks of the fleet would have to be compared with each other; give "
                "`sources`, or a shorter time by `after` and `before`"
            )

    def range_search(self, kind: Kind, query: Float32, threshold: float, within: Within | None = None) -> Scored:
        """Every track with a score of at least `threshold`: rows, ascending, and scores."""
        unit = self._unit(kind, query)
        parts = self._holding(within)
        uppers = self._uppers(kind, unit, parts)
        parts = [part for part in parts if uppers[part.place] >= threshold]
        found = self._fleet.each(
            parts, lambda part, opened: opened.cache.range_search(kind, query, threshold, part.within(within))
        )
        return _joined([(rows + part.first, scores) for part, (rows, scores) in found])

    def narrowed(self, kind: Kind, query: Float32, found: Scored, threshold: float) -> Scored:
        """What `range_search` finds, from what it `found` with a lower threshold."""
        rows, scores = found[0], found[1].copy()
        near = np.flatnonzero(np.abs(scores - np.float32(threshold)) <= sum_margin(self.dim(kind)))
        if len(near):
            scores[near] = self.scores(kind, query, rows[near])
        keep = scores >= np.float32(threshold)
        return rows[keep], scores[keep]

    def range_search_many(
        self, kind: Kind, queries: Float32, threshold: float, within: Within | None = None
    ) -> list[Scored]:
        """A `range_search` for each of `queries` `(n, D)`; each shard is gone through once."""
        units = [self._unit(kind, query) for query in queries]
        parts = self._holding(within)
        may = np.array([self._uppers(kind, unit, parts) >= threshold for unit in units], np.bool_)
        wanted = {part.number: np.flatnonzero(may[:, part.place]) for part in parts} if len(units) else {}
        found = self._fleet.each(
            [part for part in parts if len(wanted.get(part.number, ()))],
            lambda part, opened: opened.cache.range_search_many(
                kind, queries[wanted[part.number]], threshold, part.within(within)
            ),
        )
        out: list[list[Scored]] = [[] for _ in units]
        for part, answers in found:
            for number, (rows, scores) in zip(wanted[part.number].tolist(), answers, strict=True):
                out[number].append((rows + part.first, scores))
        return [_joined(one) for one in out]

    def top(self, kind: Kind, query: Float32, k: int, within: Within | None = None) -> Scored:
        """The `k` best tracks: rows and scores, best first, the older id on ties."""
        parts = self._holding(within)
        uppers = self._uppers(kind, self._unit(kind, query), parts)
        return self._best(k, within, parts, uppers, lambda cache, own: cache.top(kind, query, k, own))

    def top_product(self, text: Float32, visual: Float32, k: int, within: Within | None = None) -> Scored:
        """As `top`, by the product of the cosines to a text and to a picture."""
        parts = self._holding(within)
        by_text = self._uppers("text", self._unit("text", text), parts)
        by_visual = self._uppers("visual", self._unit("visual", visual), parts)
        # Of two factors of which one is negative, and of two negative ones, the product counts as negative.
        uppers = np.where((by_text > 0) & (by_visual > 0), by_text * by_visual, 0.0)
        return self._best(k, within, parts, uppers, lambda cache, own: cache.top_product(text, visual, k, own))

    def _best(
        self, k: int, within: Within | None, parts: Sequence[Part], uppers: NDArray[np.float64], search: _Search
    ) -> Scored:
        """The `k` best of all shards, which are asked in the order of their bounds, until none can have a better one.

        Args:
            k: How many.
            within: Which tracks may answer.
            parts: The shards that may hold some.
            uppers: What no score of each shard is above `(shards,)`.
            search: Gives the best of one shard.
        """
        best: Scored = (np.empty(0, np.int64), np.empty(0, np.float32))
        if k <= 0:
            return best
        todo = sorted(parts, key=lambda part: -uppers[part.place])
        while todo:
            # A shard whose bound is the score of the worst may hold an equal score of an older id.
            if len(best[0]) == k and uppers[todo[0].place] < best[1][-1]:
                break
            wave, todo = todo[: self._fleet.workers], todo[self._fleet.workers :]
            if len(best[0]) == k:
                wave = [part for part in wave if uppers[part.place] >= best[1][-1]]
            found = self._fleet.each(wave, lambda part, opened: search(opened.cache, part.within(within)))
            rows, scores = _joined([best, *((rows + part.first, scores) for part, (rows, scores) in found)])
            order = np.lexsort((rows, -scores))[:k]
            best = rows[order], scores[order]
        return best

    def scores(self, kind: Kind, query: Float32, rows: Rows) -> Float32:
        """The scores `(n,)` of the tracks in `rows`."""
        self._unit(kind, query)
        out = np.zeros(len(rows), np.float32)
        for part, positions, local in self._state.by_rows(rows):
            work = partial(_scores, kind=kind, query=query, rows=local)
            out[positions] = self._fleet.desk.must(part, work)
        return out

    def reconstruct(self, kind: Kind, rows: Rows) -> Float32:
        """The vectors of `rows`, `(n, D)` float32."""
        out = np.zeros((len(rows), self.dim(kind)), np.float32)
        for part, positions, local in self._state.by_rows(rows):
            out[positions] = self._fleet.desk.must(part, partial(_vectors, kind=kind, rows=local))
        return out

    def _holding(self, within: Within | None) -> list[Part]:
        """The shards whose sources and times do not prove that nothing in them may answer."""
        spans = None if within is None else within.spans
        known = self._held
        if known is not None and known[0] is spans:
            return known[1]
        parts = self._state.holding(within, self._table.first_ns)
        self._held = spans, parts
        return parts

    def _uppers(self, kind: Kind, unit: Float32, parts: Sequence[Part]) -> NDArray[np.float64]:
        """What no score of each shard is above `(shards,)`; only of these shards."""
        return self._table.uppers(kind, unit, [part.place for part in parts])

    def _unit(self, kind: Kind, query: Float32) -> Float32:
        return unit_query(kind, query, self.dim(kind) if len(self) else None)


def _columns(opened: OpenShard, rows: Rows) -> Columns:
    return opened.cache.columns_of(rows)


def _rows_of(opened: OpenShard, ids: NDArray[np.int64]) -> Rows:
    return opened.cache.rows_of(ids)


def _scores(opened: OpenShard, kind: Kind, query: Float32, rows: Rows) -> Float32:
    return opened.cache.scores(kind, query, rows)


def _vectors(opened: OpenShard, kind: Kind, rows: Rows) -> Float32:
    return opened.cache.reconstruct(kind, rows)


def _joined(found: Sequence[Scored]) -> Scored:
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])
