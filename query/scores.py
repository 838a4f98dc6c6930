"""Scores of tracks: the exact cosine to a text, to a picture, or the product of both.

With both, a track's score is the product of its two cosines (T-REN, "Where"). Both factors are at most 1, so a
product >= t needs each factor >= t: one range search finds all candidates, the other factor is checked on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import VectorCache
from ..store.vector_cache import Kind

Rows = NDArray[np.int64]
"""Rows of the cache, `(n,)`."""
Mask = NDArray[np.bool_]
"""Which rows of the cache may answer, `(n,)`."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Tracks with their scores.

    rows: of the cache, `(n,)`. score: `(n,)` float32. text, visual: the factors of the score, None for what was not
    asked for. probability: that each track is meant, None where it was not computed.
    """

    rows: Rows
    score: Float32
    text: Float32 | None = None
    visual: Float32 | None = None
    probability: Float32 | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ranking(self) -> Float32:
        """What hits are ranked by, `(n,)`: the probability, or the score where there is none."""
        return self.score if self.probability is None else self.probability

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Hits:
        """The hits at these positions."""
        text = None if self.text is None else self.text[index]
        visual = None if self.visual is None else self.visual[index]
        probability = None if self.probability is None else self.probability[index]
        return Hits(self.rows[index], self.score[index], text, visual, probability)


def joined(a: Hits, b: Hits) -> Hits:
    """The hits of both. No row may be in both."""
    pairs = ((a.text, b.text), (a.visual, b.visual), (a.probability, b.probability))
    parts = (None if x is None or y is None else np.concatenate([x, y]) for x, y in pairs)
    return Hits(np.concatenate([a.rows, b.rows]), np.concatenate([a.score, b.score]), *parts)


def scored(
    cache: VectorCache,
    text: Float32 | None,
    visual: Float32 | None,
    min_score: float,
    allowed: Mask | None = None,
) -> Hits:
    """All tracks with a score of at least `min_score`; with both vectors, each factor must reach it too.

    Args:
        cache: The vectors of the memory.
        text: Unit text vector `(Dt,)`.
        visual: Unit visual token `(Dv,)`. One of the two may be None.
        min_score: Minimum score.
        allowed: Which rows may answer; None for all.
    """
    if text is None or visual is None:
        kind, vector = _only_vector(text, visual)
        rows, scores = cache.range_search(kind, vector, min_score)
        hits = _single_factor(rows, scores, kind)
        return hits if allowed is None else hits.take(allowed[rows])
    rows, visual_scores = cache.range_search("visual", visual, min_score)
    if allowed is not None:
        rows, visual_scores = rows[allowed[rows]], visual_scores[allowed[rows]]
    text_scores = cache.scores("text", text, rows)
    hits = hits_of(rows, text_scores, visual_scores)
    return hits.take((hits.score >= min_score) & (text_scores >= min_score))


def nearest(cache: VectorCache, text: Float32 | None, visual: Float32 | None, k: int, rows: Rows | None = None) -> Hits:
    """The `k` tracks with the highest scores, best first, whatever their score.

    Args:
        cache: The vectors of the memory.
        text: Unit text vector `(Dt,)`.
        visual: Unit visual token `(Dv,)`. One of the two may be None.
        k: How many tracks.
        rows: Search these rows alone; None for all.
    """
    if rows is None and (text is None or visual is None):
        kind, vector = _only_vector(text, visual)
        found, scores = cache.top(kind, vector, k)
        return _single_factor(found, scores, kind)
    rows = np.arange(len(cache), dtype=np.int64) if rows is None else rows
    text_scores = None if text is None else cache.scores("text", text, rows)
    visual_scores = None if visual is None else cache.scores("visual", visual, rows)
    hits = hits_of(rows, text_scores, visual_scores)
    return hits.take(np.argsort(-hits.score, kind="stable")[:k])


def hits_of(rows: Rows, text: Float32 | None, visual: Float32 | None) -> Hits:
    """Hits from the cosines to a text and to a picture, `(n,)`; one of them may be None.

    The score is the one factor, or the product of both. The product of two negative factors counts as negative, since
    neither is a match.
    """
    if text is None or visual is None:
        score = visual if text is None else text
        assert score is not None
        return Hits(rows, score, text, visual)
    return Hits(rows, np.where((visual < 0) & (text < 0), -visual * text, visual * text), text, visual)


def _only_vector(text: Float32 | None, visual: Float32 | None) -> tuple[Kind, Float32]:
    """The one of the two vectors that is given, and its kind."""
    if text is not None:
        return "text", text
    assert visual is not None
    return "visual", visual


def _single_factor(rows: Rows, scores: Float32, kind: Kind) -> Hits:
    return Hits(rows, scores, scores if kind == "text" else None, scores if kind == "visual" else None)
