"""Scores of tracks: cosines to a text, to a picture, or the product of both, exactly.

With both, a track's score is the product of its two cosines (T-REN, "Where"). Both factors are at most 1, so a
product >= t needs each factor >= t: one range search finds all candidates, the other factor is checked on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import VectorCache
from ..store.vectors import Kind

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Tracks that passed: rows `(n,)` of the cache, score `(n,)` float32, the factors asked for (None else), and how
    likely each is meant, where that was asked."""

    rows: Rows
    score: Float32
    text: Float32 | None = None
    visual: Float32 | None = None
    likely: Float32 | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Hits:
        text = None if self.text is None else self.text[index]
        visual = None if self.visual is None else self.visual[index]
        likely = None if self.likely is None else self.likely[index]
        return Hits(self.rows[index], self.score[index], text, visual, likely)


def joined(a: Hits, b: Hits) -> Hits:
    """The hits of both, none of which is in the two."""
    pairs = ((a.text, b.text), (a.visual, b.visual), (a.likely, b.likely))
    parts = (None if x is None or y is None else np.concatenate([x, y]) for x, y in pairs)
    return Hits(np.concatenate([a.rows, b.rows]), np.concatenate([a.score, b.score]), *parts)


def scored(
    cache: VectorCache, text: Float32 | None, visual: Float32 | None, least: float, may: NDArray[np.bool_] | None = None
) -> Hits:
    """All tracks with a score of at least `least`: the cosine, or with both the product of the two, each of which must
    reach it too. may: as in `find`."""
    if text is None or visual is None:
        kind: Kind = "visual" if text is None else "text"
        vector = visual if text is None else text
        assert vector is not None
        rows, scores = cache.range_search(kind, vector, least)
        hits = Hits(rows, scores, None if text is None else scores, None if visual is None else scores)
        return hits if may is None else hits.take(may[rows])
    rows, seen = cache.range_search("visual", visual, least)
    if may is not None:
        rows, seen = rows[may[rows]], seen[may[rows]]
    hits = hits_of(rows, cache.scores("text", text, rows), seen)
    assert hits.text is not None
    return hits.take((hits.score >= least) & (hits.text >= least))


def nearest(cache: VectorCache, text: Float32 | None, visual: Float32 | None, k: int, rows: Rows | None = None) -> Hits:
    """The k best tracks whatever their score, best first: near misses for an answer of "not found". rows: of these
    alone, None for all."""
    if rows is None and (text is None or visual is None):
        vector = visual if text is None else text
        kind: Kind = "visual" if text is None else "text"
        assert vector is not None
        near, scores = cache.top(kind, vector, k)
        return Hits(near, scores, scores if visual is None else None, scores if text is None else None)
    rows = np.arange(len(cache), dtype=np.int64) if rows is None else rows
    read = None if text is None else cache.scores("text", text, rows)
    seen = None if visual is None else cache.scores("visual", visual, rows)
    hits = hits_of(rows, read, seen)
    return hits.take(np.argsort(-hits.score, kind="stable")[:k])


def hits_of(rows: Rows, read: Float32 | None, seen: Float32 | None) -> Hits:
    """The score is the one factor asked for, or the product of both; of two negative ones it is negative, for neither
    is a match."""
    if read is None or seen is None:
        score = seen if read is None else read
        assert score is not None
        return Hits(rows, score, read, seen)
    return Hits(rows, np.where((seen < 0) & (read < 0), -seen * read, seen * read), read, seen)
